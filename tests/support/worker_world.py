"""Workers on the in-memory log and a scripted upstream, and the roles between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from processors.decide import Patience
from processors.metadata import Worker, WorkerSettings
from processors.slots import Slots
from producers.changelog import ChangelogProducer, ProducerSettings
from producers.reconcile import Reconciler
from schemas import codec
from schemas.records import Config, Reason, State
from schemas.topics import Topic
from streams.clock import SystemClock
from streams.log import Record, TopicPartition
from streams.memory_log import MemoryLog
from streams.progress import Progress, read_progress
from tests.support.schema_check import ValidatingLog
from tests.support.scripted_upstream import ScriptedUpstream
from upstream.source import SerialMap

QUICK = Patience(
    schedule_seconds=(0.02, 0.04, 0.08, 0.15),
    missing_proof_seconds=0.1,
    arrival_grace_seconds=0.01,
    absent_again_seconds=0.05,
)
WAIT_SECONDS = 60.0


class World:
    """A log, an upstream, and the roles between them."""

    def __init__(self, partitions: int) -> None:
        self.log = ValidatingLog(MemoryLog(partitions))
        self.upstream = ScriptedUpstream()
        self.clock = SystemClock()
        self.slots = Slots(4)

    async def produce(self) -> Config:
        """Read the journal to its end."""
        producer = ChangelogProducer(
            self.log, self.upstream, self.clock, ProducerSettings(poll_seconds=0.01, base=0)
        )
        config = await producer.begin()
        await producer.poll()
        await producer.close()
        return config

    async def backfill(self, config: Config) -> None:
        """Ask for everything the index has."""
        answer = await self.upstream.serial_map()
        assert isinstance(answer, SerialMap)
        await Reconciler(self.log, self.clock, config).run(answer, Reason.BACKFILL)

    @asynccontextmanager
    async def working(self, config: Config) -> AsyncIterator[list[Worker]]:
        """Workers of all partitions for as long as the block lasts."""
        workers = [
            Worker(
                self.log,
                self.upstream,
                self.slots,
                self.clock,
                WorkerSettings(partition, config, settle_seconds=0, patience=QUICK),
            )
            for partition in range(config.partitions)
        ]
        tasks = [asyncio.create_task(worker.run()) for worker in workers]
        try:
            yield workers
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def until(self, found: Callable[[Progress, dict[str, State]], bool]) -> None:
        """Wait until the log says so; the time-out is only for a test that fails."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not found(await read_progress(self.log), await self.states()):  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def states(self) -> dict[str, State]:
        rows = await self.rows(Topic.STATE)
        return {name: codec.decode(row.value or b"", State) for name, row in rows.items()}

    async def rows(self, topic: Topic) -> dict[str, Record]:
        found: dict[str, Record] = {}
        for partition in range(self.log.partitions):
            found |= (await self.log.table(TopicPartition(topic, partition))).rows
        return found

    async def records(self, topic: Topic) -> list[Record]:
        starts = await self.log.starts(topic)
        reader = await self.log.reader(starts)
        found = []
        while batch := await reader.read(1000, 0):
            found += batch
        await reader.close()
        return found


def settled(names: int) -> Callable[[Progress, dict[str, State]], bool]:
    """True when so many names are known and none owes anything."""
    return lambda _, states: (
        len(states) == names and not any(state.exception for state in states.values())
    )
