"""A log that has been caught up, workers, and a sweep, in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from processors.slots import Slots
from producers.changelog import ChangelogProducer, ProducerSettings
from producers.sweep import SWEEP_KEY, cursor_of
from producers.sweeper import Sweeper
from pypistream.run.processing import Means, Processing
from schemas import codec
from schemas.records import Ask, Reason, State, Sweep
from schemas.topics import Topic
from streams.assignment import Everything
from streams.log import TopicPartition
from streams.memory_log import MemoryLog
from streams.progress import read_progress
from streams.watching import plain_place
from tests.support import virtual_time
from tests.support.history import records_of
from tests.support.schema_check import ValidatingLog
from tests.support.scripted_upstream import ScriptedUpstream, document
from tests.support.virtual_time import WarpClock

PARTITIONS = 4
PROJECTS = 200
RATE = 10.0  # fetches per second
PERIOD = 400.0  # seconds of a round


class PacedUpstream(ScriptedUpstream):
    """Answers in 50 ms, and permits come at the rate."""

    def __init__(self) -> None:
        super().__init__()
        self.delay_seconds = 0.05
        self._turn = asyncio.Lock()

    async def permit(self) -> None:
        async with self._turn:
            await asyncio.sleep(1 / RATE)


@dataclass
class World:
    """PROJECTS published projects, and workers at the rate."""

    log: ValidatingLog
    upstream: PacedUpstream
    clock: WarpClock
    producer: ChangelogProducer
    serial: int = 0
    tasks: list[asyncio.Task[object]] = field(default_factory=list)

    async def rows(self, *names: str) -> None:
        """A row for each, in the log at once; their documents are as new."""
        for name in names:
            self.serial += 1
            self.upstream.row(self.serial, name, "new release", "1.0")
            self.upstream.script(name, document(name, self.serial))
        await self.producer.poll()

    async def published(self, count: int) -> None:
        """Wait until so many records of `metadata` are there."""
        while sum((await self.log.ends(Topic.METADATA)).values()) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    def silently(self, name: str, *, etag: str = "") -> None:
        """Another document at the same serial; `etag` "" = with one of its own."""
        [now] = self.upstream.steps[name]
        other = document(name, now.serial or 0, summary="silent")  # type: ignore[union-attr]
        self.upstream.script(name, other._replace(etag=etag or other.etag))

    def sweep(self, every: float = PERIOD, rate: float = RATE) -> Sweeper:
        """One at work."""
        sweeper = Sweeper(self.log, self.clock, every, rate)
        self.tasks.append(asyncio.create_task(sweeper.run()))
        return sweeper

    async def until(self, wanted: Callable[[], Awaitable[bool]], seconds_max: float) -> None:
        async with asyncio.timeout(seconds_max):
            while not await wanted():  # noqa: ASYNC110
                await asyncio.sleep(0.5)

    async def summaries(self) -> dict[str, str]:
        """What is published of each name, by its last record."""
        records = await records_of(self.log, Topic.METADATA)
        return {r.key or "": json.loads(r.value or b"")["info"]["summary"] for r in records}

    async def silent(self) -> set[str]:
        return {name for name, text in (await self.summaries()).items() if text == "silent"}

    async def cursor(self) -> Sweep:
        rows = (await self.log.table(plain_place(self.log))).rows
        found = cursor_of(rows.get(SWEEP_KEY))
        assert found is not None
        return found

    async def states(self) -> dict[str, State]:
        found: dict[str, State] = {}
        for partition in range(PARTITIONS):
            rows = (await self.log.table(TopicPartition(Topic.STATE, partition))).rows
            found |= {name: codec.decode(row.value or b"", State) for name, row in rows.items()}
        return found

    async def swept(self) -> int:
        """Changes found, as the cuts count them, since the present round began."""
        cuts = (await read_progress(self.log)).cuts
        return sum(cut.swept for cut in cuts if cut) - (await self.cursor()).before

    async def asks(self) -> list[tuple[str, Reason]]:
        records = await records_of(self.log, Topic.REFETCH)
        return [(r.key or "", codec.decode(r.value or b"", Ask).reason) for r in records]


@asynccontextmanager
async def made() -> AsyncIterator[World]:
    clock = WarpClock()
    log = ValidatingLog(MemoryLog(PARTITIONS, now_ms=clock.now_ms))
    upstream = PacedUpstream()
    producer = ChangelogProducer(log, upstream, clock, ProducerSettings(base=0))
    config = await producer.begin()
    means = Means(log, upstream, clock, Slots(8), config, settle_seconds=0)
    processing = Processing(means, Everything(PARTITIONS))
    world = World(log, upstream, clock, producer)
    world.tasks.append(asyncio.create_task(processing.run()))
    try:
        await world.rows(*(f"project-{number}" for number in range(PROJECTS)))
        await world.published(PROJECTS)
        upstream.asked.clear()
        yield world
    finally:
        for task in world.tasks:
            task.cancel()
        await asyncio.gather(*world.tasks, return_exceptions=True)


def simulated(play: Callable[[World], Awaitable[None]]) -> None:
    """In virtual time."""

    async def whole() -> None:
        async with made() as world:
            await play(world)

    virtual_time.run(whole())
