"""A reconcile against workers on the in-memory log: what it repairs, and what it never claims."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from processors.decide import Patience
from processors.metadata import Worker, WorkerSettings
from processors.slots import Slots
from producers import reconcile
from producers.changelog import ChangelogProducer, ProducerSettings
from producers.difference import Order, Scope
from producers.reconcile import Reconciler
from schemas import codec
from schemas.records import Ask, Config, Filter, Reason, State, Status
from schemas.topics import Topic
from streams.memory_log import MemoryLog
from streams.progress import read_progress
from tests.support import virtual_time
from tests.support.history import records_of
from tests.support.schema_check import ValidatingLog
from tests.support.scripted_upstream import ScriptedUpstream, document
from tests.support.virtual_time import WarpClock
from upstream.source import NotFound, Page, ProjectSerial, SerialMap

QUICK = Patience(
    schedule_seconds=(1, 2, 4),
    missing_proof_seconds=3,
    arrival_grace_seconds=1,
    absent_again_seconds=2,
)
SETTLED_SECONDS = 30  # of virtual time: every schedule above is used up by then
RECONCILE = Scope(Reason.RECONCILE)
BACKFILL = Scope(Reason.BACKFILL)


@dataclass
class World:
    """A log of several partitions, an upstream, and workers that come and go."""

    partitions: int
    log: ValidatingLog = field(init=False)
    upstream: ScriptedUpstream = field(default_factory=ScriptedUpstream)
    clock: WarpClock = field(default_factory=WarpClock)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    config: Config = field(init=False)

    def __post_init__(self) -> None:
        self.log = ValidatingLog(MemoryLog(self.partitions, now_ms=self.clock.now_ms))

    async def produce(self, base: int, wanted: Filter | None = None) -> None:
        """Found the log at `base`, or read the journal on, with a marker."""
        settings = ProducerSettings(base=base, wanted=wanted)
        producer = ChangelogProducer(self.log, self.upstream, self.clock, settings)
        self.config = await producer.begin()
        await producer.poll()
        await producer.close()

    def work(self) -> None:
        """Begin all workers."""
        slots = Slots(4)
        for partition in range(self.partitions):
            settings = WorkerSettings(partition, self.config, settle_seconds=0, patience=QUICK)
            worker = Worker(self.log, self.upstream, slots, self.clock, settings)
            self.tasks.append(asyncio.create_task(worker.run()))

    async def rest(self) -> None:
        """End all workers, wherever they are."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()

    async def settled(self) -> None:
        await asyncio.sleep(SETTLED_SECONDS)

    async def index(self) -> SerialMap:
        found = await self.upstream.serial_map()
        assert isinstance(found, SerialMap)
        return found

    async def reconcile(self, scope: Scope = RECONCILE, index: SerialMap | None = None) -> int:
        """One run of the command's work; how many asks."""
        found = index or await self.index()
        one = Reconciler(self.log, self.clock, self.config)
        return await one.ask(await one.plans(found, scope), found.last_serial, scope)

    async def states(self) -> dict[str, State]:
        records = await records_of(self.log, Topic.STATE)
        return {r.key or "": codec.decode(r.value, State) for r in records if r.value is not None}

    async def asks(self) -> list[Ask]:
        records = await records_of(self.log, Topic.REFETCH)
        return [codec.decode(r.value or b"", Ask) for r in records if r.key is not None]

    async def watermark(self) -> int | None:
        return (await read_progress(self.log)).watermark.serial


@pytest.fixture(params=[1, 4])
def partitions(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


def simulated(partitions: int, play: Callable[[World], Awaitable[None]]) -> None:
    """In virtual time."""

    async def whole() -> None:
        world = World(partitions)
        try:
            await play(world)
        finally:
            await world.rest()

    virtual_time.run(whole())


async def filled(world: World, count: int = 20) -> None:
    """A log that holds so many projects, p0 of serial 100 and on, as its backfill left it."""
    for number in range(count):
        world.upstream.script(f"p{number}", document(f"p{number}", 100 + number))
    world.upstream.map_serial = 100 + count
    await world.produce(base=100 + count)
    world.work()
    await world.reconcile(BACKFILL)
    await world.settled()
    assert await world.watermark() == 100 + count


def test_it_asks_for_what_differs_and_a_second_one_for_nothing(partitions: int) -> None:
    """Newer, unknown, gone, and without a document; the rest is left alone."""

    async def play(world: World) -> None:
        await filled(world)
        world.upstream.script("p3", document("p3", 203))
        world.upstream.script("new", document("New", 204))
        world.upstream.script("empty", NotFound())
        world.upstream.steps.pop("p5")
        world.upstream.map_serial = 300
        before = len(world.upstream.asked)
        asked = await world.reconcile()
        await world.settled()
        states = await world.states()

        assert asked == 4
        assert set(world.upstream.asked[before:]) == {"p3", "new", "empty", "p5", "p5 page"}
        assert (states["p3"].status, states["p3"].body) == (Status.OK, 203)
        assert (states["new"].status, states["new"].name) == (Status.OK, "New")
        assert states["p5"].status is Status.ABSENT
        assert states["p5"].gone
        assert (states["empty"].status, states["empty"].attempts) == (Status.ABSENT, 2)

        fetched = len(world.upstream.asked)
        assert await world.reconcile() == 0
        await world.settled()
        assert len(world.upstream.asked) == fetched

    simulated(partitions, play)


def test_an_incomplete_index_and_a_404_at_once_remove_nothing(partitions: int) -> None:
    """The project's own page has its file still: it stays as it was published."""

    async def play(world: World) -> None:
        await filled(world)
        before = (await world.states())["p5"]
        file = {
            "filename": "p5-1.tar.gz",
            "url": "https://files.example.org/p5-1.tar.gz",
            "hashes": {"sha256": "0" * 64},
        }
        meta = {"api-version": "1.3", "_last-serial": 105}
        page = {"meta": meta, "name": "p5", "versions": ["1"], "files": [file]}
        world.upstream.pages["p5"] = Page(json.dumps(page).encode(), "https://index.example.org/")
        world.upstream.script("p5", NotFound())
        listed = [each for each in (await world.index()).projects if each.name != "p5"]
        assert await world.reconcile(index=SerialMap(300, "", listed)) == 1
        await world.settled()

        assert "p5 page" in world.upstream.asked
        after = (await world.states())["p5"]
        assert (after.status, after.body, after.hash) == (Status.OK, 105, before.hash)

    simulated(partitions, play)


def test_a_name_without_a_document_is_asked_for_again_when_its_serial_rises(
    partitions: int,
) -> None:
    """And not before, however often one looks."""

    async def play(world: World) -> None:
        await filled(world)
        listed = [*(await world.index()).projects, ProjectSerial("empty", 150)]
        assert await world.reconcile(index=SerialMap(200, "", listed)) == 1
        await world.settled()
        assert await world.reconcile(index=SerialMap(300, "", listed)) == 0

        listed[-1] = ProjectSerial("empty", 151)
        world.upstream.script("empty", document("empty", 151))
        assert await world.reconcile(index=SerialMap(300, "", listed)) == 1
        await world.settled()
        assert (await world.states())["empty"].status is Status.OK

    simulated(partitions, play)


def test_what_an_older_map_lacks_is_not_gone(partitions: int) -> None:
    """A project made after the map was, and one whose newest event the map cannot know."""

    async def play(world: World) -> None:
        await filled(world)
        old = await world.index()
        world.upstream.row(500, "fresh", "create")
        world.upstream.script("fresh", document("fresh", 500))
        await world.produce(base=0)
        await world.settled()

        assert await world.reconcile(index=old) == 0
        assert await world.reconcile(index=old._replace(last_serial=499)) == 0
        assert await world.reconcile(index=old._replace(last_serial=500)) == 1
        await world.settled()
        assert (await world.states())["fresh"].status is Status.OK  # it is there: a 200 says so

    simulated(partitions, play)


def test_a_stale_name_is_settled_by_a_map_that_gives_the_serial_of_its_body(
    partitions: int,
) -> None:
    """The serial of an event under another spelling is never reached; no fetch is needed."""

    async def play(world: World) -> None:
        await filled(world)
        world.upstream.row(400, "P7", "add Owner someone")
        await world.produce(base=0)
        await world.settled()
        assert (await world.states())["p7"].status is Status.STALE
        old = SerialMap(399, "", (await world.index()).projects)
        assert await world.reconcile(index=old) == 0

        world.upstream.map_serial = 400
        fetched = len(world.upstream.asked)
        assert await world.reconcile() == 1
        await world.settled()
        state = (await world.states())["p7"]
        assert (state.status, state.body, state.event) == (Status.OK, 107, 400)
        assert len(world.upstream.asked) == fetched
        assert await world.reconcile() == 0

    simulated(partitions, play)


@pytest.mark.parametrize(
    "scope",
    [
        RECONCILE,
        Scope(Reason.BACKFILL, Filter(("p*",))),
        Scope(Reason.BACKFILL, Filter((), ("p1",))),
        Scope(Reason.BACKFILL, changed_since=0),
        Scope(Reason.BACKFILL, changed_since=105),
    ],
    ids=str,
)
def test_a_run_of_a_part_never_gives_a_watermark(partitions: int, scope: Scope) -> None:
    """Even one that happens to ask for every name; a whole one afterwards asks for the rest."""

    async def play(world: World) -> None:
        for number in range(10):
            world.upstream.script(f"p{number}", document(f"p{number}", 101 + number))
        world.upstream.map_serial = 200
        await world.produce(base=200)
        world.work()
        asked = await world.reconcile(scope)
        await world.settled()
        assert len(await world.states()) == asked > 0
        assert await world.watermark() is None

        assert await world.reconcile(BACKFILL) == 10 - asked
        await world.settled()
        assert await world.watermark() == 200

    simulated(partitions, play)


def test_the_log_s_own_filter_given_again_is_the_whole_of_it(partitions: int) -> None:
    """Another one is not, though it is wider."""

    async def play(world: World) -> None:
        for name in ("aa", "ab", "b"):
            world.upstream.script(name, document(name, 100))
        world.upstream.map_serial = 100
        own = Filter(("a*",))
        await world.produce(base=100, wanted=own)
        world.work()
        assert await world.reconcile(Scope(Reason.BACKFILL, Filter(("a*", "b*")))) == 2
        await world.settled()
        assert await world.watermark() is None

        assert await world.reconcile(Scope(Reason.BACKFILL, own)) == 0
        await world.settled()
        assert await world.watermark() == 100
        assert sorted(await world.states()) == ["aa", "ab"]

    simulated(partitions, play)


def test_a_map_older_than_the_log_s_start_gives_no_watermark(partitions: int) -> None:
    """What happened between the two is in neither; a newer map mends it."""

    async def play(world: World) -> None:
        world.upstream.script("p", document("p", 100))
        world.upstream.map_serial = 199
        await world.produce(base=200)
        world.work()
        await world.reconcile(BACKFILL)
        await world.settled()
        assert await world.watermark() is None

        world.upstream.map_serial = 200
        assert await world.reconcile(BACKFILL) == 0
        await world.settled()
        assert await world.watermark() == 200

    simulated(partitions, play)


def test_a_backfill_killed_half_way_gives_no_watermark(
    partitions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given again it asks for what is missing, and nothing that is there is fetched twice."""
    monkeypatch.setattr(reconcile, "UNREAD_ASKS_MAX", 4)
    monkeypatch.setattr(reconcile, "CHUNK_ASKS_MAX", 2)

    async def play(world: World) -> None:
        for number in range(40):
            world.upstream.script(f"p{number}", document(f"p{number}", 101 + number))
        world.upstream.map_serial = 200
        await world.produce(base=200)
        killed = asyncio.create_task(world.reconcile(BACKFILL))
        await asyncio.sleep(5)  # nobody reads: it waits for room
        killed.cancel()
        await asyncio.wait([killed])
        left = len(await world.asks())
        assert 0 < left < 40
        world.work()
        await world.settled()
        assert len(await world.states()) == left
        assert await world.watermark() is None

        assert await world.reconcile(BACKFILL) == 40 - left
        await world.settled()
        assert await world.watermark() == 200
        assert sorted(world.upstream.asked) == sorted(set(world.upstream.asked))

    simulated(partitions, play)


def test_asks_are_written_in_the_order_that_was_wanted() -> None:
    """Newest serial first, or by name."""

    async def play(world: World) -> None:
        for name, serial in (("b", 5), ("C", 9), ("a", 7)):
            world.upstream.script(name, document(name, serial))
        world.upstream.map_serial = 10
        await world.produce(base=10)
        await world.reconcile(BACKFILL)
        await world.reconcile(Scope(Reason.BACKFILL, order=Order.NAME))

        assert [ask.name for ask in await world.asks()] == ["C", "a", "b", "a", "b", "C"]

    simulated(1, play)
