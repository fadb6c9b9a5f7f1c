"""The journal from before the log began, read in afterwards: who asks for it, and how far it is.

Its rows come into `changelog` marked as late: workers, markers and the ordered feed skip them, and
nothing is fetched for them. One page at a time, between polls, by the holder of the `produce` id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from schemas import codec
from schemas.errors import LogCorrupt, UpstreamUnavailable
from schemas.records import Head, HistoryAsked
from streams.log import Log, Outgoing
from streams.progress import progress_record
from streams.watching import TableWatch, plain_place
from upstream.source import BadRow, JournalPage, JournalRow

HISTORY_KEY = "history"
CALL_SECONDS = 1.0  # between two calls: PyPI's own request for the journal
RETRY_SECONDS = 60.0  # after a page that upstream did not give: the live journal goes first


def history_request(log: Log, now_ms: int) -> Outgoing:
    """The record by which any process asks for it."""
    asked = HistoryAsked(now_ms // 1000)
    return progress_record(plain_place(log).partition, HISTORY_KEY, asked, now_ms)


class HistoryWatch:
    """Hears whether somebody has asked, also before. To be closed."""

    def __init__(self, log: Log) -> None:
        self._at = plain_place(log)
        self._watch = TableWatch(log, [self._at])

    async def asked(self) -> bool:
        """Whether it was asked for up to now. Raises LogUnavailable."""
        await self._watch.look()
        row = self._watch.rows[self._at].get(HISTORY_KEY)
        if row is None or row.value is None:
            return False
        try:
            codec.decode(row.value, HistoryAsked)
        except LogCorrupt:
            return False  # any process may write here: what is no request asks for nothing
        return True

    async def close(self) -> None:
        """Let go of the log; it may be asked again."""
        await self._watch.__aexit__()


def next_serial(head: Head, *, asked: bool) -> int | None:
    """After which serial to read on; None = nothing is owed. Pure."""
    read = head.history.serial if head.history is not None else 0
    begun = asked or head.history is not None
    return read if begun and read < head.base else None


class Part(NamedTuple):
    """Of a page what is history: rows at or below the log's start, and how far it is read then."""

    rows: Sequence[JournalRow]
    bad: Sequence[BadRow]
    reached: int


def history_of(page: JournalPage, since: int, base: int) -> Part:
    """Pure. Raises UpstreamUnavailable for a full page that leads no further."""
    rows = [row for row in page.rows if row.serial <= base]
    bad = [row for row in page.bad if row.serial <= base]
    serials = [row.serial for row in page.rows] + [row.serial for row in page.bad]
    newest = max(serials, default=since)
    reached = min(base, newest) if page.full else base
    if reached <= since:
        raise no_further(since)
    return Part(rows, bad, reached)


def no_further(since: int) -> UpstreamUnavailable:
    """What is said of a full page that leads no further."""
    return UpstreamUnavailable(f"the journal's page after serial {since} leads no further")
