"""The whole core in virtual time against an upstream that lives and lies by chance.

A schedule (`sim_schedule`) is played on the real producer, workers, reconcile and sinks; then
everything heals. What happened is recorded (`sim_history`), and `sim_check` says what was wrong.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import tempfile
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from processors import intake, transactions
from processors.decide import Patience
from processors.metadata import Worker, WorkerSettings
from processors.slots import Slots
from producers.changelog import ChangelogProducer, ProducerSettings
from producers.founding import PRODUCE_ID
from producers.reconcile import Reconciler
from pypistream import restarts
from schemas.errors import WriterFenced
from schemas.records import Config, Reason
from schemas.topics import Topic
from streams.log import Log
from streams.memory_log import MemoryLog
from streams.progress import worker_id
from tests.support import sim_actions, sim_check, sim_rest, sim_schedule, sim_sinks, virtual_time
from tests.support.schema_check import ValidatingLog
from tests.support.sim_history import History, ends_of, line_of
from tests.support.sim_log import FaultyLog
from tests.support.sim_schedule import BUSY_SECONDS, Event, Fault, Schedule
from tests.support.sim_sinks import SimSink
from tests.support.sim_upstream import Lies, SimUpstream, Truth
from upstream.source import SerialMap

PATIENCE = Patience(
    schedule_seconds=(1, 2, 4, 8, 15, 30),
    missing_proof_seconds=13,
    arrival_grace_seconds=9,
    absent_again_seconds=10,
)
QUIET_SECONDS = 60.0  # after which nothing may lag (I10)
SWEPT_SECONDS = 80.0  # after which a sweep has come to the end of its schedules
MAPPED_SECONDS = 40.0  # after which a last reconcile has made everything true
REST_SECONDS = 1.5  # between two looks whether nothing is under way any more
REST_LOOKS = 4  # in a row that say so: every role has looked for work meanwhile
WHOLE_TIME_ONE_IN = 10  # schedules that wait for all of the three times, whatever there is to do
VALIDATED_ONE_IN = 10  # schedules whose every record is held against the JSON Schemas: slow
DUCKDB_ONE_IN = 20  # schedules with the DuckDB sink, too: a real database takes a second
TABLES_MADE_ONE_IN = 80  # in the others of these its tables are there: to make them takes 0.2 s
WRITTEN_ANEW_ONE_IN = 80  # has its DuckDB file written anew after each publication: 0.4 s each
READ_WAIT_SECONDS = 20.0  # of a read, which the log wakes: waking for nothing costs half the run
PROGRESS_SECONDS = 3.0  # between two looks of a worker at its positions, which it is told of, too
# Open at once, and two for each partition: feeds, watches, a reconcile. Another reconcile, as a
# person may ask for while one is under way, has another.
READERS_MAX = 8


class WallClock(virtual_time.WarpClock):
    """The same time, but it can be set, as a machine's clock can."""

    jumped_ms = 0

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return super().now_ms() + self.jumped_ms


@dataclass
class Outcome:
    """What a schedule led to. `digest` is the same for the same seed."""

    schedule: Schedule
    history: History
    problems: list[str]

    @property
    def digest(self) -> str:
        """Of everything that happened."""
        return self.history.digest()


@dataclass
class Simulation:
    """One schedule; `play()` once."""

    schedule: Schedule
    rng: Random = field(init=False)
    history: History = field(default_factory=History)

    def __post_init__(self) -> None:
        self.seed = self.schedule.seed
        self.rng = Random(self.seed)
        self.partitions = self.rng.choice((1, 1, 2, 3))
        self.clock = virtual_time.WarpClock()
        self.wall = WallClock()
        self.roles: dict[str, asyncio.Task[None]] = {}
        self.put_out: list[asyncio.Task[None]] = []  # roles whose place was taken
        self.reconciles = self.reconciles_most = 0  # under way at once

    def play(self) -> Outcome:
        """Run it to its end in virtual time, and check what was recorded."""
        ids = Random(self.seed + 1)
        random.seed(self.seed)  # the producer's jitter
        made = (uuid.UUID(int=ids.getrandbits(128), version=4) for _ in itertools.count())
        with (
            mock.patch("uuid.uuid4", side_effect=made),
            mock.patch.object(intake, "READ_WAIT_SECONDS", READ_WAIT_SECONDS),
            mock.patch.object(transactions, "PROGRESS_SECONDS", PROGRESS_SECONDS),
            tempfile.TemporaryDirectory(dir=sim_sinks.IN_MEMORY) as folder,
            sim_sinks.inline(written_anew=self.seed % WRITTEN_ANEW_ONE_IN == DUCKDB_ONE_IN),
        ):
            virtual_time.run(self._play(Path(folder)))
        return Outcome(self.schedule, self.history, sim_check.check(self.history))

    async def _play(self, folder: Path) -> None:
        self._set_up(folder)
        backfill = self.rng.random() < 0.6
        await self._found(backfill=backfill)
        self.start_all()
        if backfill:
            self.start("backfill", self._backfill())
        watching = asyncio.create_task(self._watch(), name="watch")
        await self._busy()
        await self._judged(watching)

    async def _judged(self, watching: asyncio.Task[None]) -> None:
        """Heal, and record what must be true after that."""
        self._heal()
        await self._settle(QUIET_SECONDS)
        await self._moment("quiet")
        await self.memory.append(sim_actions.sweep(self.truth))
        await self._settle(SWEPT_SECONDS)
        index = self.truth.index()  # drawn afterwards: it settles what the sweep found stale
        await Reconciler(self.memory, self.clock, self.config).run(index, Reason.RECONCILE)
        await self._settle(MAPPED_SECONDS)
        await self._stop(watching)
        for sink in self.sinks.values():
            await sink.finish()
            sink.look()
        await self._moment("end")
        await self._record()

    def _set_up(self, folder: Path) -> None:
        self.memory = MemoryLog(self.partitions, now_ms=self.clock.now_ms)
        inner: Log = self.memory
        if self.seed % VALIDATED_ONE_IN == 0:
            inner = ValidatingLog(self.memory)
        self.log = FaultyLog(inner, Random(self.seed + 2))
        now = asyncio.get_running_loop().time
        self.truth = Truth(Random(self.seed + 3), self.rng.randint(3, 9), now)
        self.truth.history = self.history
        self.upstream = SimUpstream(self.truth, Random(self.seed + 4), Lies())
        self.slots = Slots(self.rng.randint(1, 5))
        for _ in range(self.rng.choice((0, 0, 5, 15))):
            self.truth.change()
        self.base = self.truth.start = self.truth.serial
        names = ["dump", *(["duckdb"] if self.seed % DUCKDB_ONE_IN == 0 else [])]
        self.sinks = {
            name: SimSink(name, folder / name / "life-0", self.log, self.wall, self.history)
            for name in names
        }
        if "duckdb" in self.sinks and self.seed % TABLES_MADE_ONE_IN:
            self.sinks["duckdb"].begin_with_tables()

    async def _found(self, *, backfill: bool) -> None:
        producer = ChangelogProducer(
            self.memory, self.upstream, self.clock, ProducerSettings(base=self.base)
        )
        self.config: Config = await producer.begin()
        await producer.close()
        self.history.add(
            "schedule", seed=self.seed, partitions=self.partitions, base=self.base,
            backfill=backfill, fetches=self.slots.capacity, sinks=list(self.sinks),
            start_ms=virtual_time.START_MS,
        )  # fmt: skip

    # --- roles --------------------------------------------------------------------------------

    def start(self, name: str, role: Coroutine[Any, Any, None]) -> None:
        """Have a role run under that name."""
        self.roles[name] = asyncio.create_task(role, name=name)

    def start_all(self) -> None:
        """Every role that goes on for ever."""
        for name in ("produce", *(f"worker-{n}" for n in range(self.partitions)), *self.sinks):
            self.begin(name)

    def begin(self, name: str) -> None:
        """The role anew; what has come to its end by itself stays ended."""
        if name == "produce":
            self.start(name, restarts.restarting(self._produce))
        elif name == "backfill":
            self.start(name, self._backfill())
        elif name.startswith("worker"):
            self.start(name, restarts.restarting(self._worker(name).run))
        elif name in self.sinks:
            self.start(name, self.sinks[name].run())

    def writer_of(self, name: str) -> str:
        """The id that a role writes with; "" = plain writes."""
        if name == "produce":
            return PRODUCE_ID
        number = name.partition("-")[2]
        return worker_id(int(number)) if name.startswith("worker") else ""

    async def crash(self, name: str) -> None:
        """End a role where it is, and begin it anew."""
        task = self.roles[name]
        ended = task.done()
        task.cancel()
        await asyncio.wait({task})
        if not ended or name not in {"backfill", "reconcile"}:
            self.begin(name)

    def take_over(self, name: str) -> None:
        """Another instance begins while the old one still stands somewhere."""
        self.put_out.append(self.roles[name])
        self.upstream.zombies = True
        self.begin(name)

    def _worker(self, name: str) -> Worker:
        partition = int(name.partition("-")[2])
        settings = WorkerSettings(partition, self.config, 3.0, PATIENCE)
        return Worker(self.log, self.upstream, self.slots, self.clock, settings)

    async def _produce(self) -> None:
        producer = ChangelogProducer(
            self.log, self.upstream, self.clock, ProducerSettings(poll_seconds=2.0)
        )
        try:
            await producer.begin()
            await producer.run()
        finally:
            await producer.close()

    async def _backfill(self) -> None:
        async def once() -> None:
            while (found := await self.upstream.serial_map()).last_serial < self.base:  # noqa: ASYNC110
                await asyncio.sleep(1)  # as a person does who looks again
            await self._compare(found, Reason.BACKFILL)

        await restarts.restarting(once)

    def reconcile(self) -> None:
        """Compare with a map that may be old, beside everything else."""

        async def once() -> None:
            await self._compare(await self.upstream.serial_map(), Reason.RECONCILE)

        self.start("reconcile", restarts.restarting(once))

    async def _compare(self, found: SerialMap, reason: Reason) -> None:
        self.reconciles += 1
        self.reconciles_most = max(self.reconciles, self.reconciles_most)
        try:
            await Reconciler(self.log, self.clock, self.config).run(found, reason)
        finally:
            self.reconciles -= 1

    async def _stop(self, *others: asyncio.Task[None]) -> None:
        tasks = {*self.roles.values(), *self.put_out, *others}
        for task in tasks:
            if task.done() and not task.cancelled() and (error := task.exception()):
                if task in self.put_out and _fenced(error):
                    continue
                self.history.add("violation", text=f"{task.get_name()} ended: {error!r}")
            task.cancel()
        await asyncio.wait(tasks)
        if self.slots.used:
            self.history.add("violation", text=f"{self.slots.used} slots were never given back")

    # --- the schedule -------------------------------------------------------------------------

    async def _busy(self) -> None:
        loop = asyncio.get_running_loop()
        listed: list[Event | Fault] = [*self.schedule.events, *self.schedule.faults]
        for item in sorted(listed, key=lambda each: (each.at, each.seed)):
            await asyncio.sleep(max(0.0, item.at - loop.time()))
            if isinstance(item, Event):
                await sim_actions.happen(self, item)
            else:
                sim_actions.break_(self, item)
        await asyncio.sleep(max(0.0, BUSY_SECONDS - loop.time()))

    def _heal(self) -> None:
        self.upstream.lies = Lies()
        self.upstream.poisoned.clear()
        self.upstream.down_until = 0.0
        self.log.share = 0.0
        self.log.traps.clear()
        for sink in self.sinks.values():
            sink.faults.heal()
        self.truth.end()
        for project in self.truth.projects.values():
            project.lying_until = 0.0

    async def _settle(self, seconds: float) -> None:
        """Wait until nothing is under way, for no longer than that: nothing would happen then."""
        end = self.now() + seconds
        looks = 0
        while looks < REST_LOOKS and self.now() + REST_SECONDS < end:
            await asyncio.sleep(REST_SECONDS)
            looks = looks + 1 if await self._at_rest() else 0
        if looks < REST_LOOKS or self.seed % WHOLE_TIME_ONE_IN == WHOLE_TIME_ONE_IN - 1:
            await asyncio.sleep(max(0.0, end - self.now()))

    def for_ever(self) -> set[str]:
        """Names of the roles that do not come to an end by themselves."""
        return {"produce", *self.sinks, *(f"worker-{n}" for n in range(self.partitions))}

    async def _at_rest(self) -> bool:
        """Whether whatever comes to an end has done so, and the log says that no name waits."""
        for_ever = self.for_ever()
        ending = [task for name, task in self.roles.items() if name not in for_ever]
        return all(task.done() for task in (*ending, *self.put_out)) and sim_rest.at_rest(
            self.memory, self.truth.serial
        )

    # --- what is seen -------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Moments at which the watermark's claim must hold."""
        moments = Random(self.seed + 5)
        while True:
            await asyncio.sleep(moments.uniform(0.2, 3.0))
            self.history.add("look", at=self.now(), ends=await _ends(self.memory))

    def now(self) -> float:
        """Virtual seconds."""
        return asyncio.get_running_loop().time()

    async def _moment(self, name: str) -> None:
        ends = await _ends(self.memory)
        self.history.add("moment", at=self.now(), name=name, head=self.truth.serial, ends=ends)

    async def _record(self) -> None:
        for text in self.upstream.violations:
            self.history.add("violation", text=text)
        add = self.history.add
        add("gauge", what="fetches", most=self.upstream.in_flight_most, limit=self.slots.capacity)
        # who was put out is another process, with readers of its own until it hears of that
        others = max(0, self.reconciles_most - 1)
        bound = READERS_MAX + others + 2 * (self.partitions + len(self.put_out))
        add("gauge", what="open readers", most=self.log.readers_most, limit=bound)
        add("gauge", what="readers left open", most=self.log.readers_open, limit=0)
        for catch, count in sorted(self.log.caught.items(), key=lambda each: each[0].name):
            add("reached", what=catch.name, count=count)
        add("reached", what="SINK_KILLED", count=sum(s.faults.kills for s in self.sinks.values()))
        for topic in Topic:
            reader = await self.memory.reader(await self.memory.starts(topic))
            while batch := await reader.read(10_000, 0):
                self.history.lines += map(line_of, batch)
            await reader.close()


def _fenced(error: BaseException) -> bool:
    return isinstance(restarts.first_of(error), WriterFenced)


def played(seed: int) -> Outcome:
    """The whole schedule of a seed."""
    return Simulation(sim_schedule.drawn(seed)).play()


async def _ends(log: Log) -> dict[str, list[int]]:
    """The next offset of every partition at one instant: no commit comes in between."""
    if not isinstance(log, MemoryLog):
        return await ends_of(log)  # on a disk, where calls are what is broken
    found: dict[str, list[int]] = {topic.value: [] for topic in Topic}
    for at, end in sorted(log._store.ends().items()):
        found[at.topic].append(end)
    return found
