"""Workers that come and go with their partitions, in virtual time on the in-memory log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import pytest
from structlog.testing import capture_logs

from processors.metadata import Worker
from processors.slots import Slots
from producers.changelog import ChangelogProducer, ProducerSettings
from producers.rows import marker_records
from pypistream.restarts import first_of
from pypistream.run.processing import Means, Processing
from pypistream.watchdog import PATIENCE_SECONDS, TRIES_MAX
from schemas.errors import NoProgress
from schemas.names import NormalizedName
from schemas.records import Ask, Config, Reason, Status
from schemas.topics import Topic, partition_of
from streams.asks import ask_record
from streams.assignment import Everything
from streams.log import Closing, LogUnavailable, Outgoing, Writer
from streams.memory_log import MemoryLog
from streams.progress import read_progress
from tests.support import virtual_time
from tests.support.history import assert_history, records_of
from tests.support.scripted_upstream import ScriptedUpstream, document
from tests.support.virtual_time import WarpClock

PARTITIONS = 4
ALL = frozenset(range(PARTITIONS))


class Assigned(Everything):
    """What the test says is assigned."""

    def __init__(self, partitions: frozenset[int] = ALL) -> None:
        super().__init__(PARTITIONS)
        self._partitions = partitions
        self._news = asyncio.Event()
        self.member = True

    def assign(self, *partitions: int) -> None:
        self._partitions = frozenset(partitions)
        self._news.set()

    def share(self) -> float:
        return len(self._partitions) / PARTITIONS if self.member else 0.0

    async def changed(self, known: frozenset[int]) -> frozenset[int]:
        while known == self._partitions:
            self._news.clear()
            await self._news.wait()
        return self._partitions


class HangingLog(MemoryLog):
    """Commits of workers never come back while `hangs`."""

    hangs = False

    async def writer(self, writer_id: str) -> Writer:  # type: ignore[override]
        inner = await super().writer(writer_id)
        return _HangingWriter(inner, self) if writer_id.startswith("worker") else inner


class _HangingWriter:
    def __init__(self, inner: Writer, log: HangingLog) -> None:
        self._inner, self._log = inner, log

    async def commit(
        self, records: Sequence[Outgoing], closing: Closing | None = None
    ) -> Sequence[Any]:
        if self._log.hangs:
            await asyncio.get_running_loop().create_future()
        return await self._inner.commit(records, closing)

    async def close(self) -> None:
        await self._inner.close()


@dataclass
class World:
    """A log with some journal, and processes that work on it."""

    log: HangingLog
    upstream: ScriptedUpstream = field(default_factory=ScriptedUpstream)
    clock: WarpClock = field(default_factory=WarpClock)
    rows: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def news(self, count: int) -> Config:
        """So many more projects change."""
        for number in range(self.rows + 1, self.rows + count + 1):
            name = f"project-{number}"
            self.upstream.row(number, name, "new release", "1.0")
            self.upstream.script(name, document(name, number))
        self.rows += count
        settings = ProducerSettings(base=0)
        producer = ChangelogProducer(self.log, self.upstream, self.clock, settings)
        config = await producer.begin()
        await producer.poll()
        await producer.close()
        return config

    def start(self, config: Config, assigned: Assigned) -> Processing:
        means = Means(self.log, self.upstream, self.clock, Slots(4), config, settle_seconds=0)
        processing = Processing(means, assigned)
        self.tasks.append(asyncio.create_task(processing.run()))
        return processing

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def all_published(self, seconds_max: float = 30) -> None:
        async with asyncio.timeout(seconds_max):
            while len(await records_of(self.log, Topic.METADATA)) < self.rows:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def journal(self) -> list[list[object]]:
        return [[r.name, r.version, r.time, r.action, r.serial] for r in self.upstream.journal]


def simulated(play: Callable[[World], Awaitable[None]]) -> None:
    """Let it happen in virtual time, and hold the whole history against the rules."""

    async def whole() -> None:
        clock = WarpClock()
        world = World(HangingLog(PARTITIONS, now_ms=clock.now_ms), clock=clock)
        try:
            await play(world)
        finally:
            await world.stop()
        await assert_history(world.log, await world.journal())

    run: Coroutine[Any, Any, None] = whole()
    virtual_time.run(run)


def test_two_processes_share_the_partitions() -> None:
    """Each works on its own, and together they publish everything once."""

    async def play(world: World) -> None:
        config = await world.news(40)
        first = world.start(config, Assigned(frozenset({0, 1})))
        second = world.start(config, Assigned(frozenset({2, 3})))
        await world.all_published()
        assert [w.settings.partition for w in first.workers] == [0, 1]
        assert [w.settings.partition for w in second.workers] == [2, 3]
        ok = [each.counts()[Status.OK] for each in (first, second)]
        assert sum(ok) == 40
        assert all(ok)

    simulated(play)


def test_a_partition_that_stays_is_not_begun_anew() -> None:
    """What is lost ends, what is gained begins, what stays keeps its state."""

    async def play(world: World) -> None:
        config = await world.news(40)
        assigned = Assigned(frozenset({0, 1}))
        processing = world.start(config, assigned)
        other = world.start(config, Assigned(frozenset({2, 3})))
        await world.all_published()
        kept = processing.worker(1)
        assert kept is not None
        session = kept.session

        assigned.assign(1, 2)
        other.assignment.assign(0, 3)  # type: ignore[attr-defined]
        await world.news(40)
        await world.all_published()

        assert processing.worker(1) is kept
        assert kept.session is session
        assert processing.worker(0) is None
        assert processing.worker(2) is not None

    simulated(play)


def test_a_partition_that_comes_and_goes_has_one_worker_at_a_time() -> None:
    """However often that is while the first one is still closing its writer."""
    running, most = 0, 0

    async def life(worker: Worker) -> None:
        nonlocal running, most
        del worker
        running += 1
        most = max(most, running)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(5)
            running -= 1

    async def play(world: World) -> None:
        assigned = Assigned(frozenset({0}))
        world.start(await world.news(1), assigned)
        await asyncio.sleep(1)
        for partitions in ((), (0,), (), (0,)):
            assigned.assign(*partitions)
            await asyncio.sleep(0.1)
        assert (running, most) == (1, 1), "the first one is closing"

        await asyncio.sleep(10)
        assert (running, most) == (1, 1), "the last one works"

    with mock.patch.object(Worker, "run", life):
        simulated(play)


def test_nothing_assigned_is_nothing_done() -> None:
    """And the next assignment finds it ready."""

    async def play(world: World) -> None:
        config = await world.news(10)
        assigned = Assigned(frozenset())
        processing = world.start(config, assigned)
        await asyncio.sleep(60)
        assert not processing.workers
        assert not processing.restored
        assert not await records_of(world.log, Topic.METADATA)

        assigned.assign(0, 1, 2, 3)
        await world.all_published()
        assert processing.restored

    simulated(play)


def test_a_partition_that_went_to_another_is_left_to_it() -> None:
    """The older one is fenced, goes on with the rest, and does not take the id back in doubt."""

    async def play(world: World) -> None:
        config = await world.news(40)
        old = Assigned()
        first = world.start(config, old)
        await world.all_published()
        old.member = False  # stopped for so long that the group has put it out; it does not know
        second = world.start(config, Assigned(frozenset({0, 1})))
        await asyncio.sleep(5)
        await world.news(40)
        await world.all_published()
        await asyncio.sleep(30)

        sessions = [worker.session for worker in second.workers]
        await asyncio.sleep(60)
        assert [worker.session for worker in second.workers] == sessions
        assert not world.tasks[0].done()

        old.assign(2, 3)
        old.member = True
        await world.news(40)
        await world.all_published()
        assert [w.settings.partition for w in first.workers] == [2, 3]

    simulated(play)


def test_a_partition_that_is_still_ours_is_taken_again() -> None:
    """Somebody took the id for a moment; the process neither ends nor leaves it alone."""

    async def play(world: World) -> None:
        config = await world.news(40)
        world.start(config, Assigned())
        await world.all_published()
        for partition in range(PARTITIONS):
            await world.log.writer(f"worker-{partition}")
        await world.news(40)
        await world.all_published()

    simulated(play)


def test_an_error_at_the_end_of_what_was_lost_does_not_bring_it_back() -> None:
    """A worker that is cancelled amid an error must not be begun anew: it would fence its heir."""

    async def play(world: World) -> None:
        config = await world.news(20)
        assigned = Assigned()
        processing = world.start(config, assigned)
        await world.all_published()
        worker = processing.worker(0)
        assert worker is not None
        assert worker.session is not None
        closing = mock.AsyncMock(side_effect=LogUnavailable("no answer"))
        with mock.patch.object(worker.session.intake, "close", closing):
            assigned.assign(1, 2, 3)
            await asyncio.sleep(60)
        assert closing.await_count == 1
        assert processing.worker(0) is None
        epochs = dict(world.log._store.epochs)
        await asyncio.sleep(60)
        assert world.log._store.epochs == epochs
        assert not world.tasks[0].done()

        other = world.start(config, Assigned(frozenset({0})))
        await world.news(20)
        await world.all_published()
        assert other.restored

    simulated(play)


def test_a_worker_that_hangs_is_begun_anew() -> None:
    """After two minutes, and where it hung is told; that is over then, and all goes on."""

    async def play(world: World) -> None:
        config = await world.news(20)
        world.start(config, Assigned())
        await world.all_published()
        world.log.hangs = True
        await world.news(20)
        await asyncio.sleep(PATIENCE_SECONDS - 10)
        world.log.hangs = False
        assert len(await records_of(world.log, Topic.METADATA)) == 20
        await world.all_published(60)

    with capture_logs() as logged:
        simulated(play)
    told = [line["at"] for line in logged if line["event"] == "no progress: begun anew"]
    assert told
    assert all("Transactions.run at" in at for at in told)


def test_what_hangs_again_and_again_ends_the_process() -> None:
    """Whoever supervises it is told first: what hangs need not end when it is cancelled."""
    told: list[float] = []

    async def play(world: World) -> None:
        loop = asyncio.get_running_loop()
        config = await world.news(20)
        processing = world.start(config, Assigned())
        processing.on_hopeless = lambda: told.append(loop.time())
        await world.all_published()
        world.log.hangs = True
        await world.news(20)
        begun = loop.time()
        [task] = world.tasks
        await asyncio.wait([task])
        with pytest.raises(BaseExceptionGroup) as caught:
            task.result()
        assert isinstance(first_of(caught.value), NoProgress)
        assert told[0] - begun == pytest.approx(TRIES_MAX * PATIENCE_SECONDS, abs=30)

    simulated(play)


@pytest.mark.parametrize("held", [True, False])
def test_a_hold_is_no_worker_that_stands_still(held: bool) -> None:
    """A marker waits for an ask that nobody may serve; where nobody was told to wait it counts."""

    async def play(world: World) -> None:
        config = await world.news(4)
        world.upstream.script("gone", document("gone", 1))
        allowed = asyncio.Event()
        world.upstream.permit = allowed.wait  # type: ignore[method-assign, assignment]
        processing = world.start(config, Assigned())
        processing.means = replace(processing.means, held=lambda: held)
        ask = ask_record(NormalizedName("gone"), Ask("gone", Reason.RECONCILE, 1, 9), 0)
        await world.log.append([ask])
        ends = await world.log.ends(Topic.REFETCH)
        asked = [ends[at] for at in sorted(ends)]
        await world.log.append(marker_records(0, 9, world.clock.now_ms(), asked))
        await asyncio.sleep(5 * TRIES_MAX * PATIENCE_SECONDS)
        assert world.tasks[0].done() is not held
        if held:
            allowed.set()
            async with asyncio.timeout(60):
                while len(await records_of(world.log, Topic.METADATA)) < 5:  # noqa: ASYNC110
                    await asyncio.sleep(1)
            await asyncio.sleep(5)
            assert [(cut and cut.serial) for cut in (await read_progress(world.log)).cuts] == [
                9
            ] * 4

    with capture_logs() as logged:
        virtual_time.run(played(play))
    assert held is not any(line["event"] == "no progress: begun anew" for line in logged)


def test_asks_that_expire_are_passed_over() -> None:
    """Retention took them while the worker waited: it goes on with those that are left."""

    async def play(world: World) -> None:
        config = await world.news(1)
        allowed = asyncio.Event()
        world.upstream.permit = allowed.wait  # type: ignore[method-assign, assignment]
        processing = world.start(config, Assigned())
        names = [NormalizedName(f"old-{number}") for number in range(2_000)]
        for name in names:
            world.upstream.script(name, document(name, 1))
        asks = [ask_record(name, Ask(name, Reason.BACKFILL, 1, 1), 0) for name in names]
        await world.log.append(asks)
        await asyncio.sleep(10)
        cleaned = await world.log.clean(world.clock.now_ms() + 8 * 86_400_000)
        assert cleaned > 1_000
        allowed.set()
        await asyncio.sleep(60)
        assert not world.tasks[0].done()
        last = {partition_of(name, PARTITIONS): name for name in names}
        there = {record.key for record in await records_of(world.log, Topic.METADATA)}
        assert set(last.values()) <= there
        assert all(worker.session is not None for worker in processing.workers)

    virtual_time.run(played(play))


async def played(play: Callable[[World], Awaitable[None]]) -> None:
    """Let it happen in a world whose history follows no journal."""
    clock = WarpClock()
    world = World(HangingLog(PARTITIONS, now_ms=clock.now_ms), clock=clock)
    try:
        await play(world)
    finally:
        await world.stop()
