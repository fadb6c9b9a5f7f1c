"""An upstream whose XML-RPC goes away, producer and workers, in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from processors.decide import Patience
from processors.metadata import Worker, WorkerSettings
from processors.slots import Slots
from producers.changelog import INDEX_POLLS, ChangelogProducer, ProducerSettings
from schemas import codec
from schemas.errors import JournalGone
from schemas.names import normalize
from schemas.records import ChangelogEntry, Config, EventSource, Head, State
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
    settle_seconds: float = 0
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
            place = WorkerSettings(partition, config, self.settle_seconds, patience=QUICK)
            worker = Worker(self.log, self.site, slots, self.clock, place)
            self.working.append(asyncio.create_task(worker.run()))

    async def rest(self) -> None:
        """End all workers, wherever they are."""
        await self.stop(*self.working)
        self.working.clear()

    async def stop(self, *tasks: asyncio.Task[None] | None) -> None:
        """All at once: what one lets go of, no other takes up."""
        ending = [task for task in tasks if task is not None]
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending)

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


def simulated(
    partitions: int, play: Callable[[World], Awaitable[None]], site: Site | None = None
) -> None:
    """In virtual time."""

    async def whole() -> None:
        world = World(partitions, site=site or Site())
        try:
            await play(world)
        finally:
            await world.stop(world.producing, *world.working)

    virtual_time.run(whole())
