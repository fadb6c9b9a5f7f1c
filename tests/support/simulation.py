"""The whole core in virtual time against an upstream that lives and lies by chance.

A schedule is drawn from one seed: changes, lies of the edge, outages, failing writes, crashes of
any role, asks, garbage, reconciles from old maps. Then everything heals, and `sim_check` compares.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any
from unittest import mock

from processors.decide import Patience
from processors.metadata import Worker, WorkerSettings
from processors.slots import Slots
from producers.changelog import ChangelogProducer, ProducerSettings
from producers.reconcile import Reconciler, ask_record
from pypistream.restarts import restarting
from schemas import codec
from schemas.names import NormalizedName
from schemas.records import Ask, Config, Reason
from schemas.topics import Topic
from streams.log import Log, LogUnavailable, Outgoing, Record
from streams.memory_log import MemoryLog
from tests.support import sim_check, virtual_time
from tests.support.schema_check import ValidatingLog
from tests.support.sim_log import FaultyLog
from tests.support.sim_upstream import Lies, SimUpstream, Truth

PATIENCE = Patience(
    schedule_seconds=(1, 2, 4, 8, 15, 30),
    missing_proof_seconds=13,
    arrival_grace_seconds=9,
    absent_again_seconds=10,
)
BUSY_SECONDS = 100.0  # of changes and faults
QUIET_SECONDS = 60.0  # after which nothing may lag (I10)
SWEPT_SECONDS = 80.0  # after which a sweep has come to the end of its schedules
MAPPED_SECONDS = 40.0  # after which a last reconcile has made everything true
MADE_UP_SHARE = 0.2  # of the asks name a serial that no row will have for long
VALIDATED_ONE_IN = 10  # schedules whose every record is held against the JSON Schemas: slow


@dataclass
class Outcome:
    """What a schedule led to. `history` is the same for the same seed."""

    seed: int
    history: str
    problems: list[str]
    facts: dict[str, int]


@dataclass
class Simulation:
    """One schedule; `play()` once."""

    seed: int
    rng: Random = field(init=False)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = Random(self.seed)
        self.misled: set[str] = set()  # names with an ask whose serial was made up
        self.partitions = self.rng.choice((1, 1, 2, 3))
        self.clock = virtual_time.WarpClock()

    def play(self) -> Outcome:
        """Run it to its end in virtual time."""
        ids = Random(self.seed + 1)
        random.seed(self.seed)  # the producer's jitter
        made = (uuid.UUID(int=ids.getrandbits(128), version=4) for _ in itertools.count())
        with mock.patch("uuid.uuid4", side_effect=made):
            return virtual_time.run(self._play())

    async def _play(self) -> Outcome:
        loop = asyncio.get_running_loop()
        self.memory = MemoryLog(self.partitions, now_ms=self.clock.now_ms)
        inner: Log = self.memory
        if self.seed % VALIDATED_ONE_IN == 0:
            inner = ValidatingLog(self.memory)
        self.log = FaultyLog(inner, Random(self.seed + 2))
        self.truth = Truth(Random(self.seed + 3), self.rng.randint(3, 9), loop.time)
        self.upstream = SimUpstream(self.truth, Random(self.seed + 4), Lies())
        self.slots = Slots(self.rng.randint(1, 5))
        for _ in range(self.rng.choice((0, 0, 5, 15))):
            self.truth.change()
        backfill = self.rng.random() < 0.6
        self.base = self.truth.start = self.truth.serial
        self.config = await self._found()
        self.roles: dict[str, asyncio.Task[None]] = {}
        self._start_all()
        if backfill:
            self._start("backfill", self._backfill())
        watching = asyncio.create_task(self._watch())
        await self._busy()
        self._heal()
        await asyncio.sleep(QUIET_SECONDS)
        self.problems += await sim_check.lag(self.memory, self.truth.serial, backfilled=backfill)
        self.problems += await sim_check.settled(self.memory, self.truth, self._whole(backfill))
        await self.memory.append(self._sweep())
        await asyncio.sleep(SWEPT_SECONDS)
        index = self.truth.index()  # drawn afterwards: it settles what the sweep found stale
        await Reconciler(self.memory, self.clock, self.config).run(index, Reason.RECONCILE)
        await asyncio.sleep(MAPPED_SECONDS)
        await self._stop(watching)
        self.problems += await sim_check.true(self.memory, self.truth, self.misled)
        return await self._outcome()

    def _whole(self, backfill: bool) -> int:
        """From which serial on the log speaks for every name; 0 = it speaks for all."""
        return 0 if backfill else self.base

    async def _found(self) -> Config:
        producer = ChangelogProducer(
            self.memory, self.upstream, self.clock, ProducerSettings(base=self.base)
        )
        config = await producer.begin()
        await producer.close()
        return config

    # --- roles --------------------------------------------------------------------------------

    def _start(self, name: str, role: Coroutine[Any, Any, None]) -> None:
        self.roles[name] = asyncio.create_task(role, name=name)

    def _start_all(self) -> None:
        self._start("produce", restarting(self._produce))
        for partition in range(self.partitions):
            self._start_worker(partition)

    def _start_worker(self, partition: int) -> None:
        settings = WorkerSettings(partition, self.config, 3.0, PATIENCE)
        worker = Worker(self.log, self.upstream, self.slots, self.clock, settings)
        self._start(f"worker-{partition}", restarting(worker.run))

    async def _produce(self) -> None:
        producer = ChangelogProducer(
            self.log, self.upstream, self.clock, ProducerSettings(poll_seconds=2.0)
        )
        await producer.begin()
        await producer.run()

    async def _backfill(self) -> None:
        async def once() -> None:
            while (found := await self.upstream.serial_map()).last_serial < self.base:  # noqa: ASYNC110
                await asyncio.sleep(1)  # as a person does who looks again
            await Reconciler(self.log, self.clock, self.config).run(found, Reason.BACKFILL)

        await restarting(once)

    async def _crash(self) -> None:
        """End one role where it happens to be, and begin it anew."""
        name = self.rng.choice(sorted(self.roles))
        task = self.roles[name]
        for _ in range(self.rng.randint(0, 30)):  # some turns on: the middle of a commit, perhaps
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        if name == "produce":
            self._start(name, restarting(self._produce))
        elif name == "backfill" and task.cancelled():
            self._start(name, self._backfill())
        elif name.startswith("worker"):
            self._start_worker(int(name.partition("-")[2]))

    async def _stop(self, *others: asyncio.Task[None]) -> None:
        tasks = {*self.roles.values(), *others}
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception():
                self.problems.append(f"{task.get_name()} ended: {task.exception()!r}")
            task.cancel()
        await asyncio.wait(tasks)
        if self.slots.used:
            self.problems.append(f"{self.slots.used} slots were never given back")

    # --- the schedule -------------------------------------------------------------------------

    async def _busy(self) -> None:
        loop = asyncio.get_running_loop()
        actions = (
            (self._change, 12), (self._lie, 3), (self._crash, 4), (self._outage, 1),
            (self._ask_by_chance, 2), (self._garbage, 1), (self._reconcile, 1), (self._fail, 1),
        )  # fmt: skip
        while loop.time() < BUSY_SECONDS:
            await asyncio.sleep(self.rng.expovariate(0.7))
            [action] = self.rng.choices([a for a, _ in actions], [w for _, w in actions])
            await action()

    async def _change(self) -> None:
        self.truth.change()

    async def _lie(self) -> None:
        share = {
            kind: self.rng.choice((0.1, 0.4, 0.9))
            for kind in ("stale", "missing", "fails", "broken", "foreign", "slow")
            if self.rng.random() < 0.3
        }
        self.upstream.lies = Lies(**share, limited=self.rng.choice((0, 0, 0.05)))

    async def _outage(self) -> None:
        now = asyncio.get_running_loop().time()
        self.upstream.down_until = now + self.rng.uniform(1, 40)

    async def _fail(self) -> None:
        self.log.share = self.rng.choice((0.0, 0.05, 0.3))

    async def _ask_by_chance(self) -> None:
        key = self.rng.choice(sorted(self.truth.projects))
        made_up = self.rng.random() < MADE_UP_SHARE
        serial = self.rng.choice((0, self.truth.projects[key].serial))
        if made_up:
            serial = self.truth.serial + 1_000
            self.misled.add(key)
        reason = self.rng.choice(list(Reason))
        name = self.truth.projects[key].name
        gone = self.rng.random() < 0.1
        map_serial = self.base if gone else self.truth.serial  # an old map, where it lies
        await self._append([_asked(key, Ask(name, reason, serial, map_serial, gone))])

    async def _garbage(self) -> None:
        key = self.rng.choice(sorted(self.truth.projects))
        value = self.rng.choice((b"", b"{}", b"\xff", codec.encode(Ask("other", Reason.SWEEP))))
        partition = self.rng.randrange(self.partitions)
        await self._append([Outgoing(Topic.REFETCH, key, value, (), partition)])

    async def _reconcile(self) -> None:
        async def once() -> None:
            found = await self.upstream.serial_map()
            await Reconciler(self.log, self.clock, self.config).run(found, Reason.RECONCILE)

        self._start("reconcile", restarting(once))

    async def _append(self, records: list[Outgoing]) -> None:
        try:
            await self.log.faulty(lambda: self.memory.append(records))
        except LogUnavailable:
            return  # whoever asked knows

    def _heal(self) -> None:
        self.upstream.lies = Lies()
        self.upstream.down_until = 0.0
        self.log.share = 0.0
        self.truth.end()
        for project in self.truth.projects.values():
            project.lying_until = 0.0

    def _sweep(self) -> list[Outgoing]:
        return [
            _asked(key, Ask(project.name, Reason.SWEEP))
            for key, project in sorted(self.truth.projects.items())
        ]

    # --- what is seen -------------------------------------------------------------------------

    async def _watch(self) -> None:
        """The watermark is never ahead of what is reflected, at any moment."""
        moments = Random(self.seed + 5)
        while True:
            await asyncio.sleep(moments.uniform(0.2, 3.0))
            self.problems += await sim_check.claim(self.memory, self.truth)

    async def _outcome(self) -> Outcome:
        records = [r for topic in Topic for r in await sim_check.records(self.memory, topic)]
        self.problems += sim_check.history(records, self.truth, self.base)
        self.problems += self.upstream.violations
        digest = hashlib.sha256()
        for record in records:
            digest.update(repr(record).encode())
        facts = {
            "rows": len(self.truth.journal), "requests": self.upstream.requests,
            "records": len(records), "published": _count(records, Topic.METADATA),
            "letters": _count(records, Topic.DEAD_LETTER),
        }  # fmt: skip
        return Outcome(self.seed, digest.hexdigest(), self.problems, facts)


def _asked(key: str, ask: Ask) -> Outgoing:
    return ask_record(NormalizedName(key), ask, 0)


def _count(records: list[Record], topic: Topic) -> int:
    return sum(record.topic is topic for record in records)
