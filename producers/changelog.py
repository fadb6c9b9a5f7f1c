"""PyPI's journal into `changelog`: every row once, in order, with markers between them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog
from msgspec.structs import replace

from producers.founding import PRODUCE_ID, found
from producers.history import (
    CALL_SECONDS,
    RETRY_SECONDS,
    HistoryWatch,
    history_of,
    next_serial,
    no_further,
)
from producers.index_changes import (
    Checks,
    change_record,
    changes_of,
    read_to,
    shown_by_index,
    vanished,
)
from producers.presence import sign_record
from producers.reconcile import made
from producers.rows import bad_row_record, entry_record, marker_records
from schemas.errors import (
    JournalGone,
    Retriable,
    SerialJumped,
    UpstreamUnavailable,
)
from schemas.records import Alive, Config, EventSource, Filter, Head, History
from schemas.topics import Topic
from streams.clock import Clock
from streams.log import (
    Closing,
    Log,
    LogUnavailable,
    NextOffsets,
    Outgoing,
    TopicPartition,
    Writer,
)
from streams.progress import HEAD_KEY, check_loaded, progress_record, read_progress
from upstream.source import BadRow, JournalPage, SerialMap, Upstream

# Some 300 KB: far below every broker's limit; a commit is 13 ms whatever its size.
TRANSACTION_ROWS_MAX = 1_000
MARKER_MS_MIN = (
    10_000  # a marker costs a record in every partition and a transaction in every worker
)
SERIAL_JUMP_MAX = 10_000_000  # two years of journal: more at once is a wrong upstream, not news
RETRY_SECONDS_MAX = 60.0  # the longest wait between two tries that upstream did not ask for
RETRY_POLLS_MAX = 8  # and never more than so many poll periods
INDEX_POLLS = 6  # poll periods between two looks at the index: 8 MB, if it has changed
BELOW_CHECK_MS = 300_000  # how often to ask whether upstream's serial fell below ours

T = TypeVar("T")
log_ = structlog.get_logger("produce")


@dataclass(frozen=True)
class ProducerSettings:
    """`base`: where a new log starts, None = at upstream's present serial. `wanted` None = any."""

    poll_seconds: float = 10.0
    base: int | None = None
    wanted: Filter | None = None
    releases: str | None = None
    leave_out: tuple[str, ...] = ()  # of a new log; another one has to have the same, if any
    gone_seconds: float = 300.0  # without XML-RPC before the index takes its place
    xmlrpc: bool = True  # False = the index from the beginning


class ChangelogProducer:
    """Holder of the `produce` id. `begin()`, then `run()`; after an error a new one is made."""

    def __init__(
        self, log: Log, upstream: Upstream, clock: Clock, settings: ProducerSettings
    ) -> None:
        self._log = log
        self._upstream = upstream
        self._clock = clock
        self._settings = settings
        self._writer: Writer | None = None
        self._turn = asyncio.Lock()  # a page and a sign of life may come at the same time
        self._spent = False  # an error or a cancel left the writer in a state unknown
        self._marker_serial: int | None = None  # of the last marker this producer wrote
        self._marker_ms = 0
        self._below_ms = 0
        self._bad_before: frozenset[BadRow] = frozenset()
        self._asks = HistoryWatch(log)
        self._config: Config | None = None
        self._by_index = not settings.xmlrpc
        self._gone_since: float | None = None  # the loop's time
        self._etag = ""  # of the index that was published last
        self._checks = Checks()
        self._history_not_before = 0.0  # of the loop's time
        self.head: Head | None = None
        self.reached: int | None = None  # upstream's head as the last complete poll saw it
        self.trouble = ""  # why the last poll failed, for people to look at
        self.rows = 0  # read so far
        self.polled_ms: int | None = None  # when the last complete poll ended

    async def begin(self) -> Config:
        """Take the id, read or found the log. Raises Retriable, LogMismatch."""
        await self.close()
        # Before the id is taken: that would end a load that is under way.
        check_loaded((await read_progress(self._log)).bootstrap)
        self._writer, self._spent = await self._log.writer(PRODUCE_ID), False
        self.head = (await read_progress(self._log)).head
        base = self._settings.base
        if self.head is None and base is None:
            # First of all: a mistyped upstream founds no log, with a filter that binds for ever.
            base = await self._newest_serial()
        now_ms = self._clock.now_ms()
        given = self._settings
        config = self._config = await found(
            *(self._log, self._writer, now_ms),
            *(given.wanted, given.releases, given.leave_out),
        )
        if self.head is None and base is not None:
            ends = await self._log.ends(Topic.CHANGELOG)
            offsets = tuple(ends[at] for at in sorted(ends))
            self.head = Head(base, base, now_ms // 1000, offsets)
            await self._write([progress_record(self._log.partitions, HEAD_KEY, self.head, now_ms)])
        return config

    async def _newest_serial(self) -> int:
        if not self._by_index:
            return await self._upstream.last_serial()
        answer = await self._upstream.serial_map()
        if isinstance(answer, SerialMap):
            return answer.last_serial
        raise UpstreamUnavailable("the index answered 304, and no ETag was sent")

    async def sign(self, sign: Alive) -> None:
        """Write a sign of life. Raises as every write does."""
        await self._write([sign_record(self._log, sign, self._clock.now_ms())])

    async def run(self) -> None:
        """Poll for ever. Waits out upstream's errors; those of the log and SerialJumped end it."""
        failures = 0
        while True:
            wait = self._settings.poll_seconds
            try:
                if self._by_index:
                    await self.poll_index()
                    wait *= INDEX_POLLS
                else:
                    await self.poll()
                    self._gone_since = None
                    wait = await self._serve_history(wait)
                failures, self.trouble = 0, ""
            except LogUnavailable:
                raise  # the writer is spent: whoever runs us takes the id anew
            except (Retriable, JournalGone) as error:
                if isinstance(error, JournalGone) and self._gone_for_good():
                    log_.warning("the index is followed from now on", error=str(error))
                    self._by_index = True
                    continue
                failures += 1
                self.trouble = str(error)
                log_.warning("the journal could not be read", error=str(error), tries=failures)
                wait = _backoff(error, failures, self._settings.poll_seconds)
            await asyncio.sleep(wait)

    async def poll(self) -> int:
        """Read until a short page, publish every page, then a marker if one is due. Rows read."""
        count = 0
        while True:
            head = self._head()
            page = await self._upstream.journal_since(head.serial)
            serials = [row.serial for row in page.rows[-1:]] + [row.serial for row in page.bad]
            self._check_jump(max(serials, default=0), head)
            count += len(page.rows)
            self.rows += len(page.rows)
            await self._publish(page, reached=not page.full)
            if not page.full:
                self.reached, self.polled_ms = self._head().serial, self._clock.now_ms()
                break
            if self._head().serial <= head.serial:
                # Asked for again at once it would come again, as fast as the pace allows.
                raise no_further(head.serial)
        if count == 0:
            await self._check_below()
        return count

    def _gone_for_good(self) -> bool:
        """Whether the journal was gone for long enough, or before this process began."""
        now = asyncio.get_running_loop().time()
        self._gone_since = now if self._gone_since is None else self._gone_since
        known = self._head().source is EventSource.INDEX
        return known or now - self._gone_since >= self._settings.gone_seconds

    async def poll_index(self) -> int:
        """Publish what an index shows that the log does not know, then a marker. Rows written.

        Removals are asks, and the marker waits for them: see Marker.
        """
        answer = await self._upstream.serial_map(self._etag)
        count = 0
        if isinstance(answer, SerialMap):
            count = await self._publish_index(answer)
            self._etag = answer.etag
        self.reached, self.polled_ms = self._head().serial, self._clock.now_ms()
        self.rows += count
        return count

    async def _publish_index(self, index: SerialMap) -> int:
        changes = await made(lambda: changes_of(index, self._head()), len(index.projects))
        self._check_jump(changes[-1].serial if changes else 0, self._head())
        if self._config is None:
            raise AssertionError("begin() comes first")
        now_ms = self._clock.now_ms()
        gone = await vanished(self._log, self._config, index)
        for asks in _chunks(self._checks.new(gone, index.last_serial, now_ms)):
            await self._log.append(asks)
        ends = await self._log.ends(Topic.REFETCH)
        reached = max(index.last_serial, self._head().serial)
        chunks = list(_chunks(changes)) or [()]
        for number, chunk in enumerate(chunks):
            last = number == len(chunks) - 1
            records = [change_record(project, now_ms) for project in chunk]
            if last and (self._marker_serial is None or reached > self._marker_serial):
                asked = [ends[at] for at in sorted(ends)]
                records += marker_records(self._head().base, reached, now_ms, asked)
            head = shown_by_index(self._head(), chunk, reached, last=last)
            if records or head.serial > self._head().serial:
                await self._commit(records, head)
        self._marker_serial, self._marker_ms = reached, now_ms
        return len(changes)

    async def _serve_history(self, seconds: float) -> float:
        """Read in what was asked for until the next poll is due; the seconds left until then."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        rest = 0.0
        while rest == 0.0 or end - loop.time() >= CALL_SECONDS:
            since = await self._history_owed()
            if since is None or loop.time() < self._history_not_before:
                break
            rest = CALL_SECONDS  # after the poll's own call, too
            await asyncio.sleep(rest)
            try:
                await self.read_history(since)
            except LogUnavailable:
                raise
            except (Retriable, JournalGone) as error:
                # The live journal has been read just now: nothing is the matter with that.
                self._history_not_before = loop.time() + RETRY_SECONDS
                log_.warning("a page of the history could not be read", error=str(error))
        return max(rest, end - loop.time())

    async def _history_owed(self) -> int | None:
        head = self._head()
        asked = head.history is None and head.base > 0 and await self._asks.asked()
        return next_serial(head, asked=asked)

    async def read_history(self, since: int) -> None:
        """One page of what was before the log began, each transaction with its position."""
        page = await self._upstream.journal_since(since)
        part = history_of(page, since, self._head().base)
        now_ms = self._clock.now_ms()
        chunks = list(_chunks(part.rows)) or [()]
        for number, rows in enumerate(chunks):
            last = number == len(chunks) - 1
            records = [entry_record(row, now_ms, late=True) for row in rows]
            records += [bad_row_record(row, now_ms) for row in part.bad] if last else []
            await self._commit(records, self._head(), part.reached if last else rows[-1].serial)

    def _head(self) -> Head:
        if self.head is None:
            raise AssertionError("begin() comes first")
        return self.head

    def _check_jump(self, newest: int, head: Head) -> None:
        if newest - head.serial > SERIAL_JUMP_MAX:
            raise SerialJumped(
                f"upstream's next serial is {newest}, ours is {head.serial}: "
                f"a jump of more than {SERIAL_JUMP_MAX}",
                hint="check --upstream; for another upstream use a new --data directory",
            )

    async def _check_below(self) -> None:
        """A serial below ours: warn, keep polling, never rewind."""
        now_ms = self._clock.now_ms()
        if now_ms - self._below_ms < BELOW_CHECK_MS:
            return
        self._below_ms = now_ms
        theirs, ours = await self._upstream.last_serial(), self._head().serial
        if theirs < ours:
            log_.warning(
                "upstream's serial is below ours: waiting for it", theirs=theirs, ours=ours
            )

    async def _publish(self, page: JournalPage, *, reached: bool) -> None:
        now_ms = self._clock.now_ms()
        chunks = list(_chunks(page.rows)) or [()]
        bad = [bad_row_record(row, now_ms) for row in page.bad if row not in self._bad_before]
        for number, rows in enumerate(chunks):
            last = number == len(chunks) - 1
            serial = rows[-1].serial if rows else self._head().serial
            if last:
                serial = max([serial, *(row.serial for row in page.bad)])
            records = [entry_record(row, now_ms) for row in rows] + (bad if last else [])
            marker = reached and last and self._marker_due(serial)
            if marker:
                none = [0] * self._log.partitions
                records += marker_records(self._head().base, serial, now_ms, none)
            if records:
                await self._commit(records, read_to(self._head(), serial))
            if marker:
                self._marker_serial, self._marker_ms = serial, self._clock.now_ms()
        self._bad_before = frozenset(page.bad)  # one without a serial comes again with every poll

    def _marker_due(self, serial: int) -> bool:
        if self._marker_serial is None:
            return True  # the first poll always writes one
        waited = self._clock.now_ms() - self._marker_ms >= MARKER_MS_MIN
        return serial > self._marker_serial and waited

    async def _commit(self, records: Sequence[Outgoing], head: Head, history: int = 0) -> None:
        """Write rows and where they bring us, in one transaction. `history` 0 = nothing of it."""
        now_ms = self._clock.now_ms()

        def closing(ends: NextOffsets) -> list[Outgoing]:
            nonlocal head
            offsets = tuple(
                ends[TopicPartition(Topic.CHANGELOG, partition)]
                for partition in range(self._log.partitions)
            )
            head = replace(head, changelog=offsets)
            if history:
                head = replace(head, history=History(history, offsets))
            else:
                head = replace(head, time=now_ms // 1000)
            return [progress_record(self._log.partitions, HEAD_KEY, head, now_ms)]

        await self._write(records, closing)
        self.head = head

    async def _write(self, records: Sequence[Outgoing], closing: Closing | None = None) -> None:
        """One transaction. Raises WriterFenced, LogUnavailable; then the writer is spent."""
        async with self._turn:
            if self._writer is None:
                raise AssertionError("begin() comes first")
            if self._spent:
                raise LogUnavailable("the last write failed: the writer id has to be taken anew")
            self._spent = True
            await self._writer.commit(records, closing)
            self._spent = False

    async def close(self) -> None:
        """Give the id up."""
        await self._asks.close()
        if self._writer is not None:
            await self._writer.close()


def _chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), TRANSACTION_ROWS_MAX):
        yield rows[start : start + TRANSACTION_ROWS_MAX]


def _backoff(error: Exception, failures: int, poll_seconds: float) -> float:
    """Upstream's own wait if it named one, else doubling from the poll period, with jitter."""
    named = error.retry_after_seconds if isinstance(error, Retriable) else None
    if named is not None:
        return max(named, CALL_SECONDS)  # it may say 0, or a moment that is past by our clock
    factor = min(RETRY_POLLS_MAX, 1 << min(failures - 1, RETRY_POLLS_MAX))
    longest = max(poll_seconds, min(RETRY_SECONDS_MAX, poll_seconds * factor))
    return random.uniform(0.5, 1.0) * longest  # jitter, no secret
