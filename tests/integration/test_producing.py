"""One live `produce` and no more: who may begin, who has to end, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from producers.changelog import ChangelogProducer, ProducerSettings
from producers.presence import SIGN_SECONDS, SILENT_SECONDS
from pypistream.restarts import RESTART_SECONDS
from pypistream.run.producing import Producing
from schemas import codec
from schemas.errors import WriterFenced
from schemas.records import Head
from schemas.topics import Topic
from streams.log import Log, TopicPartition
from streams.memory_log import MemoryLog
from streams.progress import CONFIG_KEY, HEAD_KEY
from tests.support import virtual_time
from tests.support.history import assert_history, records_of
from tests.support.schema_check import ValidatingLog
from tests.support.scripted_upstream import ScriptedUpstream
from tests.support.virtual_time import WarpClock

POLL_SECONDS = 5.0


@dataclass
class World:
    """A log and a journal that grows by a row a second."""

    log: Log
    clock: WarpClock
    upstream: ScriptedUpstream = field(default_factory=ScriptedUpstream)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def produce(self, *, take_over: bool = False) -> Producing:
        settings = ProducerSettings(poll_seconds=POLL_SECONDS, base=0)
        producer = ChangelogProducer(self.log, self.upstream, self.clock, settings)
        return Producing(self.log, producer, self.clock, apart=True, take_over=take_over)

    async def begun(self, *, take_over: bool = False) -> asyncio.Task[None]:
        """One that runs."""
        one = self.produce(take_over=take_over)
        await one.begin()
        task = asyncio.create_task(one.run())
        self.tasks.append(task)
        return task

    async def killed(self) -> None:
        """One that ran, and was ended without being able to say so."""
        one = self.produce()
        await one.begin()
        task = asyncio.create_task(one.run())
        await asyncio.sleep(10)
        one.apart = False  # no last sign
        task.cancel()
        await asyncio.wait([task])

    async def live(self) -> None:
        """The journal grows."""
        serial = 0
        while True:
            serial += 1
            self.upstream.row(serial, f"project-{serial % 50}", "new release", "1.0")
            await asyncio.sleep(1)

    async def head(self) -> int:
        at = TopicPartition(Topic.PROGRESS, self.log.partitions)
        rows = (await self.log.table(at)).rows
        assert CONFIG_KEY in rows
        return codec.decode(rows[HEAD_KEY].value or b"", Head).serial


def simulated(play: Callable[[World], Awaitable[None]]) -> None:
    """In virtual time; at the end every journal row must be in the log exactly once."""

    async def whole() -> None:
        clock = WarpClock()
        world = World(ValidatingLog(MemoryLog(4, now_ms=clock.now_ms)), clock)
        living = asyncio.create_task(world.live())
        try:
            await play(world)
        finally:
            for task in (living, *world.tasks):
                task.cancel()
            await asyncio.gather(living, *world.tasks, return_exceptions=True)
        journal = [[r.name, r.version, r.time, r.action, r.serial] for r in world.upstream.journal]
        await assert_history(world.log, journal)

    virtual_time.run(whole())


def test_a_second_one_sees_that_the_first_is_alive_and_ends() -> None:
    """It says who, and what to do; the first never notices."""

    async def play(world: World) -> None:
        first = await world.begun()
        await asyncio.sleep(20)
        second = world.produce()
        begun = asyncio.get_running_loop().time()
        with pytest.raises(WriterFenced, match=r"another `produce` is alive: process \d+ on") as no:
            await second.begin()

        assert "--take-over" in no.value.hint
        assert asyncio.get_running_loop().time() - begun <= SIGN_SECONDS + 0.1
        before = await world.head()
        await asyncio.sleep(20)
        assert not first.done()
        assert await world.head() >= before + 15

    simulated(play)


def test_after_a_kill_the_next_one_waits_for_silence_and_takes_over() -> None:
    """A supervisor that starts it again at once need not do so twice, and 15 s are enough."""

    async def play(world: World) -> None:
        await world.killed()
        begun = asyncio.get_running_loop().time()
        await world.begun()
        waited = asyncio.get_running_loop().time() - begun

        assert SILENT_SECONDS <= waited < SILENT_SECONDS + 1
        await asyncio.sleep(20)
        assert await world.head() >= 20

    simulated(play)


def test_after_a_clean_end_nobody_waits() -> None:
    """The last sign says that it was the last one."""

    async def play(world: World) -> None:
        first = await world.begun()
        await asyncio.sleep(9)  # between two signs: amid one the last would be lost
        first.cancel()
        await asyncio.wait([first])
        begun = asyncio.get_running_loop().time()
        await world.begun()

        assert asyncio.get_running_loop().time() - begun < 0.1
        await asyncio.sleep(10)

    simulated(play)


def test_whoever_is_taken_over_says_so_and_ends() -> None:
    """It notices with its next sign, also when the journal is quiet."""

    async def play(world: World) -> None:
        first = await world.begun()
        await asyncio.sleep(10)
        second = await world.begun(take_over=True)
        await asyncio.wait([first], timeout=SIGN_SECONDS + SILENT_SECONDS)

        assert first.done()
        with pytest.raises(WriterFenced, match="another process has taken `produce`"):
            first.result()
        await asyncio.sleep(20)
        assert not second.done()

    simulated(play)


def test_an_id_that_was_only_lost_is_taken_again() -> None:
    """A broker gives up an id whose transaction took too long: nobody else is there."""

    async def play(world: World) -> None:
        first = await world.begun()
        await asyncio.sleep(10)
        await world.log.writer("produce")
        await asyncio.sleep(SILENT_SECONDS + RESTART_SECONDS + 3 * POLL_SECONDS)

        assert not first.done()
        assert await world.head() >= 25

    simulated(play)


def test_on_one_machine_a_lock_does_it_and_no_sign_is_written() -> None:
    """The embedded log grows by nothing that nobody reads."""

    async def play(world: World) -> None:
        settings = ProducerSettings(poll_seconds=POLL_SECONDS, base=0)
        producer = ChangelogProducer(world.log, world.upstream, world.clock, settings)
        one = Producing(world.log, producer, world.clock)
        await one.begin()
        world.tasks.append(asyncio.create_task(one.run()))
        await asyncio.sleep(30)
        keys = {record.key for record in await records_of(world.log, Topic.PROGRESS)}
        assert keys == {CONFIG_KEY, HEAD_KEY}

        await world.log.writer("produce")
        await asyncio.wait(world.tasks, timeout=60)
        with pytest.raises(WriterFenced, match="another process has taken the writer id"):
            world.tasks[0].result()

    simulated(play)
