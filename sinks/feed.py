"""Feeds one sink from the log, cut after cut, and publishes what it has reached.

A cut names the next offset of every topic per partition. The sink takes in what lies before it, in
bounded batches, and then stands exactly there; while it takes one batch in, the next is read.
Reading up to a cut must not take longer than the log keeps replaced records: after
CUT_AGE_SECONDS_MAX the newest cut is used instead. A sink that was away for so long that a
tombstone may be gone (`sinks.away`) is rebuilt. `sinks.publisher` decides how and when to publish.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, Self, TypeVar

import structlog

from schemas.errors import LogTruncated, Retriable
from schemas.records import Config
from schemas.topics import Offset
from sinks.ahead import Ahead, Elsewhere, Next
from sinks.away import as_of_by_log, away_too_long
from sinks.publisher import Publication, Publisher
from sinks.sink import (
    DAMAGED,
    Batch,
    Positions,
    Published,
    Reached,
    RecordsWanted,
    Rewound,
    Sink,
    Standing,
    Vector,
    positions_of,
)
from streams.cleaning import COMPACTION_LAG_MS
from streams.clock import Clock, unix_ms
from streams.log import Log, TopicPartition
from streams.masking import MaskedLog
from streams.progress import ProgressWatch

APPLY_SECONDS = 1.0  # between two cuts: records within this time share a transaction
RETRY_SECONDS = 5.0  # after a full disk, or when the log did not answer
CUT_AGE_SECONDS_MAX = COMPACTION_LAG_MS / 1000 / 2  # half of that time; the other half is a reserve

P = ParamSpec("P")
T = TypeVar("T")
log_ = structlog.get_logger("sinks.feed")


class _OtherLog(Exception):
    """The sink was filled from another log."""


class _Away(Exception):
    """Tombstones that the sink has not seen may be gone from the log."""


class _Redacted(Exception):
    """The sink's files may still hold what a rule leaves out."""


_REBUILD = (*DAMAGED, LogTruncated, _OtherLog, _Away, _Redacted)
_NO_FAILURE = (_Away, _Redacted)  # an empty sink is neither


@dataclass
class FeedCounters:
    """What a feed has done since it started, for people. Times in Unix milliseconds."""

    records: int = 0
    cuts: int = 0
    resets: int = 0
    trouble: str = ""  # what it is waiting for; "" = nothing
    published: Published | None = None
    published_ms: int = 0


class Feed:
    """Runs one sink; used as `async with`. See the module's docstring.

    `on_published` is called, on the loop, after each publication. The sink's methods run in a
    thread of the feed's own, one at a time; cancelling `run` waits for the call in progress.
    `clock` sets the pace; `wall_ms` tells how long a sink was away, also while the machine was
    suspended.
    """

    def __init__(
        self,
        log: Log,
        sink: Sink,
        clock: Clock,
        *,
        publish_every_seconds: float,
        apply_every_seconds: float = APPLY_SECONDS,
        on_published: Callable[[Published], None] = lambda _: None,
        wall_ms: Callable[[], int] = unix_ms,
    ) -> None:
        self.counters = FeedCounters()
        self._log = MaskedLog.of(log)
        self._sink = sink
        self._clock = clock
        self._apply_every_seconds = apply_every_seconds
        self._wall_ms = wall_ms
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"sink-{sink.name}")
        self._watch = ProgressWatch(log)
        self._ahead = Ahead(self._log, sink)
        self._standing: Standing | None = None  # None = the sink has to be asked
        self._reached: Vector | None = None
        self._on_published = on_published
        copier = ThreadPoolExecutor(1, thread_name_prefix=f"copy-{sink.name}")
        self._publisher = Publisher(
            sink, self._call, copier, clock, publish_every_seconds * 1000, self._note
        )
        self._cuts_at_reset = self._rules_count = 0
        self._reset_due = False
        self._turn = asyncio.Lock()  # `run` and `finish` may meet

    def helped_by(self, elsewhere: Elsewhere) -> Self:
        """Let processes prepare batches whenever the sink is far behind."""
        self._ahead.elsewhere = elsewhere
        return self

    async def __aenter__(self) -> Self:
        await self._watch.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._watch.__aexit__()
        await self._ahead.close()
        await self._log.leave()
        await self._publisher.end()
        await self._call(self._sink.close)
        self._thread.shutdown()

    async def run(self) -> None:
        """Follow the log until cancelled. Raises errors that neither waiting nor a reset mends."""
        while True:
            try:
                async with self._turn:
                    await self._publisher.settle()
                    if await self._catch_up() and self._publisher.due(self._reached):
                        await self._publisher.begin(self._reached)
            except Retriable as error:
                self._wait_for(error)
                await asyncio.sleep(RETRY_SECONDS)
            except _REBUILD as error:
                self._start_over(error)
            else:
                self.counters.trouble = ""
                await asyncio.sleep(self._apply_every_seconds)

    async def finish(self) -> Published | None:
        """Catch up with the newest cut and publish it now; None if the log has no progress yet.

        Raises Retriable errors (nothing is lost, call it again) and what `run` raises.
        """
        while True:
            try:
                publication = await self._begin_to_publish()
                if publication is None:
                    return None
                published = await self._publisher.outcome(publication, self._turn)
                if published is not None:
                    return published
            except Retriable as error:
                self._wait_for(error)
                raise
            except _REBUILD as error:
                self._start_over(error)

    async def _begin_to_publish(self) -> Publication | None:
        """Begin to publish the newest cut; None if there is none."""
        while True:
            await self._publisher.idle()
            async with self._turn:
                await self._publisher.settle()
                if self._publisher.busy:  # `run` was quicker
                    continue
                if not await self._catch_up():
                    return None
                return await self._publisher.begin(self._reached)

    def _note(self, published: Published, ended_ms: int) -> None:
        self.counters.published, self.counters.published_ms = published, ended_ms
        self._on_published(published)

    def _wait_for(self, error: Retriable) -> None:
        """Note what the feed waits for; the next round asks the sink where it stands."""
        if self.counters.trouble != str(error):
            log_.warning("a sink waits", sink=self._sink.name, why=str(error), hint=error.hint)
        self.counters.trouble = str(error)
        self._standing = None

    def _start_over(self, error: Exception) -> None:
        """Have the sink reset in the next round; raises the error if the last reset was in vain."""
        helped = not self.counters.resets or self.counters.cuts > self._cuts_at_reset
        if not helped and not isinstance(error, _NO_FAILURE):
            raise error
        log_.warning("a sink is built anew", sink=self._sink.name, why=str(error))
        self.counters.resets += 1
        self._cuts_at_reset = self.counters.cuts
        self._reset_due = True
        self._standing = None

    async def _catch_up(self) -> bool:
        """Bring the sink to a cut, read quickly enough; False if there is no cut yet."""
        while True:
            try:
                return await self._reach_newest()
            except Rewound:
                self._standing = None

    async def _reach_newest(self) -> bool:
        """Bring the sink to the newest cut. Raises also Rewound."""
        standing = await self._stand()
        while True:
            looked_ms = self._wall_ms()
            progress = await self._watch.look()
            config = progress.config
            if config is None or not any(progress.cuts) or progress.loading:
                return False
            vector = Vector(config.log_id, progress.cuts)
            await self._check_rules(standing)
            if self._reached == vector:
                return True
            if standing.log_id not in ("", config.log_id):
                raise _OtherLog("it was built from another log")
            taken_ms = self._clock.now_ms()
            standing = await self._nothing_missed(standing, looked_ms)
            standing = await self._read_up_to(config, vector, standing)
            taking_ms = max(self._clock.now_ms() - taken_ms, self._wall_ms() - looked_ms)
            if taking_ms <= CUT_AGE_SECONDS_MAX * 1000:
                break
        reached = Reached(vector, config, progress.head, looked_ms)
        await self._call(self._sink.reached, reached)
        self._standing = standing._replace(as_of_ms=looked_ms)
        self._reached = vector
        self.counters.cuts += 1
        return True

    async def _stand(self) -> Standing:
        """Where the sink stands.

        After an error it is asked, and reading begins again from there.
        """
        if self._standing is None:
            await self._ahead.start_afresh()
            self._reached = None
            if self._reset_due:
                await self._publisher.give_up()
                await self._call(self._sink.reset)
                self._reset_due = False
            standing = await self._call(self._sink.standing)
            self._publisher.published = await self._call(self._sink.published)
            self._standing = standing
        return self._standing

    async def _check_rules(self, standing: Standing) -> None:
        """Raise _Redacted if the sink was filled under fewer rules than there are now."""
        count = (await self._log.look()).count
        if standing.log_id and standing.rules is not None and standing.rules < count:
            raise _Redacted("a rule says that something may not stay in it")

    async def _nothing_missed(self, standing: Standing, looked_ms: int) -> Standing:
        """`standing` with a time up to which nothing was missed; for an empty sink now.

        Raises _Away.
        """
        if not standing.log_id:
            return standing._replace(as_of_ms=looked_ms)
        if away_too_long(standing, self._wall_ms()):
            as_of_ms = await as_of_by_log(self._log, standing.positions, looked_ms)
            standing = standing._replace(as_of_ms=as_of_ms)
            if away_too_long(standing, self._wall_ms()):
                raise _Away("it was away for so long that what was removed may not be known")
        return standing

    async def _read_up_to(self, config: Config, vector: Vector, standing: Standing) -> Standing:
        due = positions_of(vector, self._sink.topics)
        positions = await self._begin(due, standing.positions)
        if any(positions[at] > place for at, place in due.items()):
            raise _OtherLog("it stands beyond the end of this log")
        # The first batch sets the rules under which the sink is filled: those before it was read.
        self._rules_count = self._log.rules.count
        await self._ahead.begin(config, due, positions)
        following = await self._ahead.following(config, due, positions)
        while following is not None or not standing.log_id:
            taken = following or Next([], positions, None, 0)
            reading = asyncio.create_task(self._ahead.following(config, due, taken.positions))
            try:
                done = await self._take_in(config, taken, standing)
            except BaseException:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
                raise
            following = await reading
            standing = done or await self._take_in_here(config, taken, positions, standing)
            positions = taken.positions
        return standing

    async def _take_in(self, config: Config, taken: Next, standing: Standing) -> Standing | None:
        """Where the sink stands after that batch; None = it needs the records themselves."""
        rules = (standing.rules or 0) if standing.log_id else self._rules_count
        place = (taken.records, taken.positions, standing.as_of_ms, rules, taken.ready)
        try:
            await self._call(self._sink.apply, Batch(config, *place))
        except RecordsWanted:
            return None
        self.counters.records += taken.number
        if not standing.log_id:
            standing = await self._call(self._sink.standing)  # whether rules matter to it
        self._standing = standing._replace(log_id=config.log_id, positions=taken.positions)
        return self._standing

    async def _take_in_here(
        self, config: Config, taken: Next, positions: Positions, standing: Standing
    ) -> Standing:
        """Take in, with its records, a batch from `positions` on that was made elsewhere."""
        while (
            piece := await self._ahead.read_here(config, taken.positions, positions)
        ) is not None:
            done = await self._take_in(config, piece, standing)
            assert done is not None
            standing, positions = done, piece.positions
        return standing

    async def _begin(self, due: Positions, positions: Positions) -> Positions:
        """The positions for everything that is due; the log's start for what was never read."""
        starts: dict[TopicPartition, Offset] = {}
        for topic in {at.topic for at in due if at not in positions}:
            starts.update(await self._log.starts(topic))
        return {
            at: positions[at] if at in positions else min(starts[at], place)
            for at, place in due.items()
        }

    async def _call(self, function: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Call it in the sink's thread.

        A cancellation waits for its end: calls must never overlap.
        """
        work = asyncio.wrap_future(self._thread.submit(function, *given, **named))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])
            if not work.cancelled() and work.exception() is not None:
                log_.warning("a sink failed while it was stopped", why=str(work.exception()))
            raise
