"""A journal that goes away: the index takes its place, and no change is lost or told twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from processors.decide import Patience
from processors.metadata import Worker, WorkerSettings
from processors.slots import Slots
from producers.changelog import INDEX_POLLS, ChangelogProducer, ProducerSettings
from schemas import codec
from schemas.errors import JournalGone
from schemas.names import normalize
from schemas.records import ChangelogEntry, Config, EventSource, Head, Marker, State, Status
from schemas.topics import Topic
from streams.memory_log import MemoryLog
from streams.progress import Progress, read_progress
from tests.support import virtual_time
from tests.support.history import records_of
from tests.support.schema_check import ValidatingLog
from tests.support.scripted_upstream import ScriptedUpstream, document
from tests.support.virtual_time import WarpClock
from upstream.source import JournalPage, NotModified, ProjectSerial, SerialMap

POLL_SECONDS = 5.0
GONE_SECONDS = 60.0
LOOK_SECONDS = POLL_SECONDS * INDEX_POLLS
QUICK = Patience(
    schedule_seconds=(1, 2, 4),
    missing_proof_seconds=40,  # longer than a look at the index: it has to be the index that proves
    arrival_grace_seconds=1,
    absent_again_seconds=2,
)


class Site(ScriptedUpstream):
    """Projects with one serial each, a journal that can be switched off, an index that can lag."""

    def __init__(self) -> None:
        super().__init__()
        self.serial = 100
        self.gone = False
        self.there: dict[str, int] = {}
        self.lag: SerialMap | None = None
        self.maps = 0

    def change(self, name: str) -> int:
        """A release, told by the journal as long as there is one."""
        self.serial += 1
        self.there[name] = self.serial
        self.row(self.serial, name, "new release", "1.0")
        self.script(normalize(name), document(name, self.serial))
        return self.serial

    def remove(self, name: str) -> None:
        """A removal, told likewise."""
        self.serial += 1
        del self.there[name]
        self.row(self.serial, name, "remove project")
        self.script(name)

    async def journal_since(self, serial: int) -> JournalPage:
        if self.gone:
            raise JournalGone("410")
        return await super().journal_since(serial)

    async def last_serial(self) -> int:
        if self.gone:
            raise JournalGone("410")
        return self.serial

    async def serial_map(self, etag: str = "") -> SerialMap | NotModified:
        self.maps += 1
        found = self.lag or self.index()
        return NotModified(None) if etag == found.etag else found

    def index(self, serial: int | None = None) -> SerialMap:
        """As it is now; `serial`: what it says of itself."""
        lines = [ProjectSerial(name, given) for name, given in self.there.items()]
        return SerialMap(serial or self.serial, f'"{self.serial}"', lines)


@dataclass
class World:
    """A log, its site, one producer and workers that come and go."""

    partitions: int
    log: ValidatingLog = field(init=False)
    site: Site = field(default_factory=Site)
    clock: WarpClock = field(default_factory=WarpClock)
    producing: asyncio.Task[None] | None = None
    working: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log = ValidatingLog(MemoryLog(self.partitions, now_ms=self.clock.now_ms))

    async def produce(self, **settings: object) -> ChangelogProducer:
        """Begin a producer; the one before is ended wherever it is."""
        await self.stop(self.producing)
        given = {"poll_seconds": POLL_SECONDS, "gone_seconds": GONE_SECONDS, **settings}
        made = ChangelogProducer(
            self.log,
            self.site,
            self.clock,
            ProducerSettings(**given),  # type: ignore[arg-type]
        )
        config = await made.begin()
        self.producing = asyncio.create_task(made.run())
        if not self.working:
            self.work(config)
        return made

    def work(self, config: Config) -> None:
        """Begin all workers."""
        slots = Slots(4)
        for partition in range(self.partitions):
            place = WorkerSettings(partition, config, settle_seconds=0, patience=QUICK)
            worker = Worker(self.log, self.site, slots, self.clock, place)
            self.working.append(asyncio.create_task(worker.run()))

    async def rest(self) -> None:
        """End all workers, wherever they are."""
        await self.stop(*self.working)
        self.working.clear()

    async def stop(self, *tasks: asyncio.Task[None] | None) -> None:
        for task in tasks:
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

    async def entries(self) -> list[ChangelogEntry]:
        found = await records_of(self.log, Topic.CHANGELOG)
        return [codec.decode(r.value or b"", ChangelogEntry) for r in found if r.key is not None]

    async def told(self) -> list[tuple[str, int]]:
        """Events that an index gave."""
        entries = await self.entries()
        return [(each.name, each.serial) for each in entries if each.source is EventSource.INDEX]

    async def progress(self) -> Progress:
        return await read_progress(self.log)

    async def head(self) -> Head:
        head = (await self.progress()).head
        assert head is not None
        return head

    async def states(self) -> dict[str, State]:
        found = await records_of(self.log, Topic.STATE)
        return {r.key or "": codec.decode(r.value, State) for r in found if r.value is not None}

    async def assert_true(self) -> None:
        """Everything that is there is published as it is, and nothing else; no event came twice."""
        states = await self.states()
        published = {name: state.body for name, state in states.items() if state.published}
        assert published == self.site.there
        assert (await self.progress()).watermark.reached == self.site.serial
        counted = Counter((each.name, each.serial) for each in await self.entries())
        assert set(counted.values()) == {1}


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
            await world.stop(world.producing, *world.working)

    virtual_time.run(whole())


async def switched(world: World, **settings: object) -> None:
    """A log that followed the journal for a while and follows the index now."""
    await world.produce(**settings)
    for number in range(12):
        world.site.change(f"p{number}")
    await asyncio.sleep(20)
    world.site.gone = True
    world.site.change("between")
    world.site.remove("p3")
    await asyncio.sleep(GONE_SECONDS + 2 * LOOK_SECONDS)


def test_no_change_is_lost_over_the_switch(partitions: int) -> None:
    """What changed before, in between and after is there; what was removed is not."""

    async def play(world: World) -> None:
        await switched(world)
        assert (await world.head()).source is EventSource.INDEX
        assert await world.told() == [("between", 113)]
        await world.assert_true()

        world.site.change("p1")
        world.site.change("New")
        world.site.change("p1")
        world.site.remove("p5")
        await asyncio.sleep(2 * LOOK_SECONDS)
        assert sorted(await world.told()) == [("New", 116), ("between", 113), ("p1", 117)]
        states = await world.states()
        assert (states["p5"].status, states["p5"].reason) == (Status.ABSENT, "removed")
        world.site.there["new"] = world.site.there.pop("New")  # states go by normalised name
        await world.assert_true()

    simulated(partitions, play)


def test_a_short_absence_switches_nothing() -> None:
    """The journal's own rows say more than an index does."""

    async def play(world: World) -> None:
        await world.produce()
        for _ in range(4):
            world.site.gone = True
            world.site.change("p")
            await asyncio.sleep(GONE_SECONDS * 0.6)
            world.site.gone = False
            await asyncio.sleep(POLL_SECONDS * 10)
        assert (await world.head()).source is EventSource.JOURNAL
        assert await world.told() == []
        assert world.site.maps == 0

    simulated(1, play)


def test_begun_again_it_goes_on_by_the_index_at_once_or_by_a_journal_that_is_back() -> None:
    """Neither way an event comes twice."""

    async def play(world: World) -> None:
        await switched(world)
        world.site.change("p1")
        await world.produce()
        await asyncio.sleep(LOOK_SECONDS)
        assert (await world.told())[-1] == ("p1", world.site.serial)
        await world.assert_true()

        world.site.gone = False
        world.site.change("p2")
        world.site.remove("p7")
        await world.produce()
        await asyncio.sleep(LOOK_SECONDS)
        assert (await world.head()).source is EventSource.JOURNAL
        assert len(await world.told()) == 2
        await world.assert_true()

    simulated(4, play)


def test_an_index_that_is_older_than_the_journal_waits_for_a_newer_one() -> None:
    """Its marker would say less than was said; what it lacks may be newer than it is."""

    async def play(world: World) -> None:
        await world.produce()
        world.site.change("a")
        world.site.lag = world.site.index()
        world.site.change("b")
        await asyncio.sleep(20)
        world.site.gone = True
        await asyncio.sleep(GONE_SECONDS + 2 * LOOK_SECONDS)
        head = await world.head()
        assert (head.serial, await world.told()) == (102, [])
        assert (await world.states())["b"].published

        world.site.lag = None
        await asyncio.sleep(2 * LOOK_SECONDS)
        await world.assert_true()

    simulated(1, play)


def test_serials_above_the_index_s_own_are_events_once(partitions: int) -> None:
    """They are noted in the head, over a restart, too."""

    async def play(world: World) -> None:
        await switched(world)
        reached = world.site.serial
        world.site.change("p1")
        world.site.change("p2")
        world.site.lag = world.site.index(reached + 1)
        await asyncio.sleep(LOOK_SECONDS)
        head = await world.head()
        assert (head.serial, head.ahead) == (reached + 1, {"p2": reached + 2})
        await world.produce()
        await asyncio.sleep(LOOK_SECONDS)
        world.site.lag = None
        world.site.change("p4")
        await asyncio.sleep(2 * LOOK_SECONDS)

        assert (await world.head()).ahead == {}
        assert [name for name, _ in sorted(await world.told())].count("p2") == 1
        await world.assert_true()

    simulated(partitions, play)


def test_a_marker_of_an_index_counts_only_once_its_removals_were_looked_at() -> None:
    """Until then the watermark stays below, also over a restart of the worker."""

    async def play(world: World) -> None:
        await switched(world)
        before = (await world.progress()).watermark.reached
        world.site.remove("p8")
        world.site.delay_seconds = 40
        await asyncio.sleep(LOOK_SECONDS + POLL_SECONDS)
        markers = [
            codec.decode(record.value or b"", Marker)
            for record in await records_of(world.log, Topic.CHANGELOG)
            if record.key is None
        ]
        assert markers[-1].serial == world.site.serial
        assert markers[-1].refetch > 0
        assert (await world.progress()).watermark.reached == before

        config = (await world.progress()).config
        assert config is not None
        await world.rest()
        world.work(config)
        await asyncio.sleep(10)
        assert (await world.progress()).watermark.reached == before
        await asyncio.sleep(60)
        assert (await world.progress()).watermark.reached == world.site.serial
        await world.assert_true()

    simulated(1, play)


def test_a_project_removed_before_its_event_was_served_is_looked_at_too() -> None:
    """No state knows of it yet: it is found among the events that workers have not come to."""

    async def play(world: World) -> None:
        await world.produce()
        await asyncio.sleep(20)
        await world.rest()
        world.site.change("ghost")
        await asyncio.sleep(20)
        world.site.gone = True
        world.site.remove("ghost")
        ghost = document("ghost", 101)
        world.site.script("ghost", ghost, ghost)  # an edge that has not heard of it
        await asyncio.sleep(GONE_SECONDS + 2 * LOOK_SECONDS)
        asks = [record.key for record in await records_of(world.log, Topic.REFETCH)]
        assert asks == ["ghost"]

    simulated(1, play)


def test_a_new_log_without_xmlrpc_follows_the_index_from_its_own_serial(partitions: int) -> None:
    """Nothing of the journal is ever asked."""

    async def play(world: World) -> None:
        world.site.gone = True
        world.site.change("old")
        await world.produce(xmlrpc=False)
        world.site.change("new")
        await asyncio.sleep(2 * LOOK_SECONDS)
        head = await world.head()
        assert (head.base, head.serial, head.source) == (101, 102, EventSource.INDEX)
        assert await world.told() == [("new", 102)]

    simulated(partitions, play)


def test_an_index_that_did_not_change_costs_nothing() -> None:
    """304 to its ETag: no row, no marker, no look at the states."""

    async def play(world: World) -> None:
        await switched(world)
        ends = await world.log.ends(Topic.CHANGELOG)
        maps = world.site.maps
        await asyncio.sleep(10 * LOOK_SECONDS)
        assert world.site.maps - maps == pytest.approx(10, abs=1)
        assert await world.log.ends(Topic.CHANGELOG) == ends

    simulated(1, play)


def test_many_changes_come_in_several_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended between any two of them, what is in is not told again."""
    monkeypatch.setattr("producers.changelog.TRANSACTION_ROWS_MAX", 2)

    async def play(world: World) -> None:
        await switched(world)
        for number in range(9):
            world.site.change(f"p{number}")
        for _ in range(12):
            made = await world.produce()
            monkeypatch.setattr(made, "_commit", _dying(made._commit, 2))
            await asyncio.sleep(LOOK_SECONDS)
        assert len(await world.told()) == 10
        await world.assert_true()

    simulated(1, play)


def _dying(commit: Callable[..., Awaitable[None]], left: int) -> Callable[..., Awaitable[None]]:
    """So many transactions, then the end."""

    async def dying(*given: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise asyncio.CancelledError
        await commit(*given)

    return dying
