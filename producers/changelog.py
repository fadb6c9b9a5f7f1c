"""Writes PyPI's journal into `changelog`: every row once, in order, with markers between them."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import structlog

from producers.by_index import IndexFollower
from producers.head_writer import HeadWriter, in_transactions
from producers.history import CALL_SECONDS, HistoryReader, no_further
from producers.index_changes import read_to
from producers.markers import LastMarker
from producers.presence import sign_record
from producers.rows import bad_row_record, entry_record, marker_records
from schemas.errors import JournalGone, Retriable, UpstreamUnavailable
from schemas.records import Alive, Config, EventSource, Filter, Head
from streams.clock import Clock
from streams.log import Log, LogUnavailable
from upstream.source import BadRow, JournalPage, SerialMap, Upstream

RETRY_SECONDS_MAX = 60.0  # the longest wait between two attempts, unless upstream asks for more
RETRY_POLLS_MAX = 8  # and at most this many poll periods
INDEX_POLLS = 6  # poll periods between two looks at the index: 8 MB, if it has changed
BELOW_CHECK_MS = 300_000  # how often to ask whether upstream's serial fell below ours

log_ = structlog.get_logger("produce")


@dataclass(frozen=True)
class ProducerSettings:
    """`base`: where a new log starts, None = at upstream's present serial. `wanted` None = any."""

    poll_seconds: float = 10.0
    base: int | None = None
    wanted: Filter | None = None
    releases: str | None = None
    leave_out: tuple[str, ...] = ()  # of a new log; another one has to have the same, if any
    gone_seconds: float = 300.0  # without XML-RPC before the index is followed instead
    xmlrpc: bool = True  # False = the index from the beginning


class ChangelogProducer:
    """Holder of the `produce` id. `begin()`, then `run()`; after an error a new one is made.

    It polls the journal, or the index by an `IndexFollower` once the journal is gone; in between
    `HistoryReader` uses the time that is left. All three write through one `HeadWriter`.
    """

    def __init__(
        self, log: Log, upstream: Upstream, clock: Clock, settings: ProducerSettings
    ) -> None:
        self._log = log
        self._upstream = upstream
        self._clock = clock
        self._settings = settings
        self._writer = HeadWriter(log, clock)
        self._marker = LastMarker()
        self._index = IndexFollower(log, upstream, clock, self._writer, self._marker)
        self.history = HistoryReader(log, upstream, clock, self._writer)
        self._below_ms = 0
        self._bad_before: frozenset[BadRow] = frozenset()
        self._config: Config | None = None
        self._by_index = not settings.xmlrpc
        self._gone_since: float | None = None  # the loop's time
        self.reached: int | None = None  # upstream's head as the last complete poll saw it
        self.trouble = ""  # why the last poll failed, for people
        self.rows = 0  # read so far
        self.polled_ms: int | None = None  # when the last complete poll ended

    @property
    def head(self) -> Head | None:
        """The position in upstream's journal, as stored in the log; None before `begin()`."""
        return self._writer.known

    async def begin(self) -> Config:
        """Take the writer id, then read the log or found it. Raises Retriable, LogMismatch."""
        await self.close()
        await self._writer.take()
        base = self._settings.base
        if self.head is None and base is None:
            # First of all, so that no log is founded for a mistyped upstream, with a filter for
            # ever.
            base = await self._newest_serial()
        now_ms = self._clock.now_ms()
        given = self._settings
        config = self._config = await self._writer.found(
            now_ms, given.wanted, given.releases, given.leave_out
        )
        if self.head is None and base is not None:
            await self._writer.start_at(base, now_ms)
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
        await self._writer.write([sign_record(self._log, sign, self._clock.now_ms())])

    async def run(self) -> None:
        """Poll until an error of the log or SerialJumped; upstream's errors are waited out."""
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
                    wait = await self.history.serve(wait)
                failures, self.trouble = 0, ""
            except LogUnavailable:
                raise  # the writer cannot be used again: the caller makes a new producer
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
        """Read pages up to a short one, publish each, then a marker if one is due; rows read."""
        count = 0
        while True:
            head = self._writer.head
            page = await self._upstream.journal_since(head.serial)
            serials = [row.serial for row in page.rows[-1:]] + [row.serial for row in page.bad]
            self._writer.check_jump(max(serials, default=0))
            count += len(page.rows)
            self.rows += len(page.rows)
            await self._publish(page, reached=not page.full)
            if not page.full:
                self._arrived()
                break
            if self._writer.head.serial <= head.serial:
                # Asked for again it would come again, as fast as the pace allows.
                raise no_further(head.serial)
        if count == 0:
            await self._check_below()
        return count

    def _gone_for_good(self) -> bool:
        """Whether the journal has been gone for long enough, or was when this process began."""
        now = asyncio.get_running_loop().time()
        self._gone_since = now if self._gone_since is None else self._gone_since
        known = self._writer.head.source is EventSource.INDEX
        return known or now - self._gone_since >= self._settings.gone_seconds

    async def poll_index(self) -> int:
        """One look at the index in place of the journal. Rows written."""
        if self._config is None:
            raise AssertionError("begin() comes first")
        count = await self._index.look(self._config)
        self._arrived()
        self.rows += count
        return count

    def _arrived(self) -> None:
        self.reached, self.polled_ms = self._writer.head.serial, self._clock.now_ms()

    async def _check_below(self) -> None:
        """Warn if upstream's serial is below ours; keep polling, never rewind."""
        now_ms = self._clock.now_ms()
        if now_ms - self._below_ms < BELOW_CHECK_MS:
            return
        self._below_ms = now_ms
        theirs, ours = await self._upstream.last_serial(), self._writer.head.serial
        if theirs < ours:
            log_.warning(
                "upstream's serial is below ours: waiting for it", theirs=theirs, ours=ours
            )

    async def _publish(self, page: JournalPage, *, reached: bool) -> None:
        now_ms = self._clock.now_ms()
        bad = [bad_row_record(row, now_ms) for row in page.bad if row not in self._bad_before]
        for rows, last in in_transactions(page.rows):
            head = self._writer.head
            serial = rows[-1].serial if rows else head.serial
            if last:
                serial = max([serial, *(row.serial for row in page.bad)])
            records = [entry_record(row, now_ms) for row in rows] + (bad if last else [])
            marker = reached and last and self._marker_due(serial)
            if marker:
                none = [0] * self._log.partitions
                records += marker_records(head.base, serial, now_ms, none)
            if records:
                await self._writer.commit(records, read_to(head, serial))
            if marker:
                self._marker.written(serial, self._clock.now_ms())
        self._bad_before = frozenset(page.bad)  # a row without a serial comes again with every poll

    def _marker_due(self, serial: int) -> bool:
        return self._marker.precedes(serial) and self._marker.is_old(self._clock.now_ms())

    async def close(self) -> None:
        """Give the id up."""
        await self.history.close()
        await self._writer.close()


def _backoff(error: Exception, failures: int, poll_seconds: float) -> float:
    """Upstream's own wait if it named one, else doubling from the poll period, with jitter."""
    named = error.retry_after_seconds if isinstance(error, Retriable) else None
    if named is not None:
        return max(named, CALL_SECONDS)  # it may say 0, or a time that is past by our clock
    factor = min(RETRY_POLLS_MAX, 1 << min(failures - 1, RETRY_POLLS_MAX))
    longest = max(poll_seconds, min(RETRY_SECONDS_MAX, poll_seconds * factor))
    return random.uniform(0.5, 1.0) * longest  # jitter, no secret
