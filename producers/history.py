"""Reads the journal from before the log began: requests for it, and how far it was read.

Its rows come into `changelog` marked as late: workers, markers and the ordered feed skip them, and
nothing is fetched for them. One page at a time, between polls, by the holder of the `produce` id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import structlog
from msgspec.structs import replace

from producers.head_writer import HeadWriter, in_transactions
from producers.rows import bad_row_record, entry_record
from schemas import codec
from schemas.errors import JournalGone, LogCorrupt, Retriable, UpstreamUnavailable
from schemas.records import Head, History, HistoryAsked
from streams.clock import Clock
from streams.log import Log, LogUnavailable, Outgoing
from streams.progress import progress_record
from streams.watching import TableWatch, plain_place
from upstream.source import BadRow, JournalPage, JournalRow, Upstream

HISTORY_KEY = "history"
CALL_SECONDS = 1.0  # between two calls: PyPI's own request for the journal
RETRY_SECONDS = 60.0  # after a page that failed: the live journal goes first

log_ = structlog.get_logger("produce")


def history_request(log: Log, now_ms: int) -> Outgoing:
    """The record by which any process asks for the history."""
    asked = HistoryAsked(now_ms // 1000)
    return progress_record(plain_place(log).partition, HISTORY_KEY, asked, now_ms)


class HistoryWatch:
    """Watches for requests, earlier ones included. To be closed."""

    def __init__(self, log: Log) -> None:
        self._at = plain_place(log)
        self._watch = TableWatch(log, [self._at])

    async def asked(self) -> bool:
        """Whether somebody has asked for the history. Raises LogUnavailable."""
        await self._watch.look()
        row = self._watch.rows[self._at].get(HISTORY_KEY)
        if row is None or row.value is None:
            return False
        try:
            codec.decode(row.value, HistoryAsked)
        except LogCorrupt:
            return False  # any process may write here, so what cannot be decoded is ignored
        return True

    async def close(self) -> None:
        """Release the log; it may be used again."""
        await self._watch.__aexit__()


def next_serial(head: Head, *, asked: bool) -> int | None:
    """The serial after which to read on; None = nothing to read. Pure.

    The gap between a dump's journal and the log's beginning, an hour of rows at most, is read
    without being asked for. What came before the dump's journal is read only if somebody asked.
    """
    held = head.history
    if held is None:
        return 0 if asked and head.base > 0 else None
    if held.serial < head.base:
        return held.serial
    return held.earlier if held.since and (asked or held.earlier) else None


def end_of(head: Head) -> int:
    """The serial up to which to read, from `next_serial` on. Pure."""
    held = head.history
    return head.base if held is None or held.serial < head.base else held.since


def read_up_to(head: Head, reached: int) -> History:
    """The history held after that, its offsets still to be filled in. Pure."""
    held = head.history
    if held is None:
        return History(reached, ())
    if held.serial < head.base:
        return replace(held, serial=reached)
    whole = reached >= held.since
    return replace(held, since=0 if whole else held.since, earlier=0 if whole else reached)


class Part(NamedTuple):
    """The part of a page that is history: its rows, and how far it is read with them."""

    rows: Sequence[JournalRow]
    bad: Sequence[BadRow]
    reached: int


def history_of(page: JournalPage, since: int, base: int) -> Part:
    """Rows up to `base`. Pure. Raises UpstreamUnavailable for a full page that leads no further."""
    rows = [row for row in page.rows if row.serial <= base]
    bad = [row for row in page.bad if row.serial <= base]
    serials = [row.serial for row in page.rows] + [row.serial for row in page.bad]
    newest = max(serials, default=since)
    reached = min(base, newest) if page.full else base
    if reached <= since:
        raise no_further(since)
    return Part(rows, bad, reached)


def no_further(since: int) -> UpstreamUnavailable:
    """The error for a full page that leads no further."""
    return UpstreamUnavailable(f"the journal's page after serial {since} leads no further")


class HistoryReader:
    """Reads the history while there is nothing else to do. To be closed; may be used again."""

    def __init__(self, log: Log, upstream: Upstream, clock: Clock, writer: HeadWriter) -> None:
        self._upstream = upstream
        self._clock = clock
        self._writer = writer
        self._asks = HistoryWatch(log)
        self._not_before = 0.0  # of the loop's time

    async def serve(self, seconds: float) -> float:
        """Read what was asked for until the next poll is due; returns the seconds left until then.

        Raises LogUnavailable, WriterFenced. After an error of upstream it pauses.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        rest = 0.0
        while rest == 0.0 or end - loop.time() >= CALL_SECONDS:
            since = await self._owed()
            if since is None or loop.time() < self._not_before:
                break
            rest = CALL_SECONDS  # also after the poll's own call
            await asyncio.sleep(rest)
            try:
                await self.read(since)
            except LogUnavailable:
                raise
            except (Retriable, JournalGone) as error:
                # The live journal was read just now, so it is well.
                self._not_before = loop.time() + RETRY_SECONDS
                log_.warning("a page of the history could not be read", error=str(error))
        return max(rest, end - loop.time())

    async def read(self, since: int) -> None:
        """One page of what was before the log began, each transaction with its position."""
        page = await self._upstream.journal_since(since)
        part = history_of(page, since, end_of(self._writer.head))
        now_ms = self._clock.now_ms()
        for rows, last in in_transactions(part.rows):
            records = [entry_record(row, now_ms, late=True) for row in rows]
            records += [bad_row_record(row, now_ms) for row in part.bad] if last else []
            reached = part.reached if last else rows[-1].serial
            head = self._writer.head
            await self._writer.commit(records, head, read_up_to(head, reached))

    async def close(self) -> None:
        """Release the log."""
        await self._asks.close()

    async def _owed(self) -> int | None:
        head = self._writer.head
        waits = head.base > 0 if head.history is None else head.history.since > 0
        asked = waits and await self._asks.asked()
        return next_serial(head, asked=asked)
