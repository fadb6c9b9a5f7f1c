"""Logs to test with: every adapter made and opened in the same way."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from schemas.topics import Offset, Topic
from streams.kafka_log import KafkaLog
from streams.kafka_settings import KafkaSettings
from streams.log import Log, Outgoing, Reader, Record, TopicPartition
from streams.memory_log import MemoryLog
from streams.sqlite_log import SqliteLog
from tests.support.kafka_broker import drop_topics

EMBEDDED = ("memory", "sqlite")
"""Adapters that need no server, and that clean for themselves, by a clock given to them."""

EVERY = (*EMBEDDED, "kafka")
"""All adapters. A test with `kafka` among its parameters uses the fixture `kafka_bootstrap`."""

IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # as `dir` of tempfile
"""For tests that make many logs: syncing a real disk is not what they are about."""

BEGIN_MS = 1_700_000_000_000


@dataclass
class Clock:
    """Unix milliseconds that move only when told to."""

    ms: int = BEGIN_MS

    def __call__(self) -> int:
        return self.ms


@dataclass
class OpenedLog:
    """A log under test; `another` opens it once more, as a second process would."""

    log: Log
    open_again: Callable[[], Awaitable[Log]]
    clock: Clock
    opened: list[Log] = field(default_factory=list)

    async def another(self) -> Log:
        log = await self.open_again()
        self.opened.append(log)
        return log


@contextlib.asynccontextmanager
async def opened_log(
    adapter: str, partitions: int, directory: Path, clock: Clock | None = None
) -> AsyncIterator[OpenedLog]:
    """A new, empty log; it and all further handles are closed at the end."""
    clock = clock or Clock()
    if adapter == "kafka":
        async with _opened_on_kafka(partitions, clock) as opened:
            yield opened
        return
    if adapter == "memory":
        memory = MemoryLog(partitions, now_ms=clock)

        async def again() -> Log:
            return memory.another()

        opened = OpenedLog(memory, again, clock)
    else:
        path = directory / "log.sqlite"

        async def again() -> Log:
            return await SqliteLog.open(path, create=False, now_ms=clock)

        opened = OpenedLog(await SqliteLog.open(path, partitions, now_ms=clock), again, clock)
    try:
        yield opened
    finally:
        for log in (opened.log, *opened.opened):
            await log.close()


@contextlib.asynccontextmanager
async def _opened_on_kafka(partitions: int, clock: Clock) -> AsyncIterator[OpenedLog]:
    """Topics of its own on the broker that PYPISTREAM_TEST_KAFKA names."""
    bootstrap = os.environ["PYPISTREAM_TEST_KAFKA"]
    settings = KafkaSettings(bootstrap, prefix=f"t{uuid.uuid4().hex[:10]}.")

    async def again() -> Log:
        return await KafkaLog.open(settings, create=False)

    opened = OpenedLog(await KafkaLog.open(settings, partitions), again, clock)
    try:
        yield opened
    finally:
        for log in (opened.log, *opened.opened):
            await log.close()
        await drop_topics(bootstrap, settings.prefix)


async def read_all(log: Log, where: Iterable[TopicPartition]) -> list[Record]:
    """Every record that can be read there, from the starts on, to the ends of this moment."""
    starts: dict[TopicPartition, Offset] = {}
    ends: dict[TopicPartition, Offset] = {}
    for at in where:
        starts[at] = (await log.starts(at.topic))[at]
        ends[at] = (await log.ends(at.topic))[at]
    reader = await log.reader(starts)
    records: list[Record] = []
    while any(reader.position(at) < end for at, end in ends.items()):
        records += await reader.read(1000, 1.0)
    await reader.close()
    return records


async def drained(
    reader: Reader, log: Log | None = None, where: Iterable[TopicPartition] = ()
) -> list[Record]:
    """All that is there now; with `log`, all up to the ends of `where`, however long it takes."""
    ends = {at: (await log.ends(at.topic))[at] for at in where} if log else {}
    records: list[Record] = []
    while (batch := await reader.read(1000, 0.02)) or any(
        reader.position(at) < end for at, end in ends.items()
    ):
        records += batch
    return records


async def cleaned(log: Log, now_ms: int) -> int:
    """Clean until nothing is left to do; how many records went."""
    total = 0
    while removed := await log.clean(now_ms):
        total += removed
    return total


def state(key: str, value: str | None, partition: int | None = 0) -> Outgoing:
    """A record of a compacted topic."""
    return Outgoing(Topic.STATE, key, None if value is None else value.encode(), (), partition)


def event(key: str, value: str, partition: int | None = 0) -> Outgoing:
    """A record of a topic that is kept for ever."""
    return Outgoing(Topic.CHANGELOG, key, value.encode(), (), partition)


STATE_0 = TopicPartition(Topic.STATE, 0)
CHANGELOG_0 = TopicPartition(Topic.CHANGELOG, 0)
