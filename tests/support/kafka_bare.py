"""Reading a log on Kafka with nothing but aiokafka: what any `read_committed` client would see.

Uses nothing of the project's adapter; `Record` is only a shape that the checks know.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as Place
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from schemas.topics import Offset, Topic, partition_count
from streams.log import Record

PARTITIONS = 12  # of a new log on Kafka
SILENCE_SECONDS_MAX = 60.0  # of a broker that is up, while there is more to be read
PAUSE_SECONDS = 0.5  # before a consumer that failed is made anew


class Seen(NamedTuple):
    """A record, and the Unix time at which a committed reader was given it."""

    at: float
    record: Record


@contextlib.asynccontextmanager
async def consumer(bootstrap: str, *, committed: bool = True) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group, of records that are committed or of all."""
    one = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed" if committed else "read_uncommitted",
        request_timeout_ms=5_000,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    try:
        await one.start()
        yield one
    finally:
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(5):
                await one.stop()


async def places(one: AIOKafkaConsumer, prefix: str) -> list[Place]:
    """Every partition of the log's topics; none while they are not all there."""
    names = [prefix + topic for topic in Topic]
    if not set(names) <= await one.topics():
        return []
    return [
        Place(prefix + topic, number)
        for topic in Topic
        for number in range(partition_count(topic, PARTITIONS))
    ]


def as_record(prefix: str, row: ConsumerRecord) -> Record:
    """In the shape that the checks know."""
    key = None if row.key is None else row.key.decode()
    topic = Topic(row.topic.removeprefix(prefix))
    offset = Offset(row.offset)
    return Record(topic, row.partition, offset, row.timestamp, key, row.value, tuple(row.headers))


async def everything(bootstrap: str, prefix: str) -> dict[Topic, list[Record]]:
    """All that is committed now, by topic, each partition in order."""
    found: dict[Topic, list[Record]] = {topic: [] for topic in Topic}
    async with consumer(bootstrap) as one:
        all_places = await places(one, prefix)
        one.assign(all_places)
        ends = await one.end_offsets(all_places)
        await one.seek_to_beginning(*all_places)
        silent_since = time.monotonic()
        left = {place for place in all_places if ends[place] > 0}
        while left:
            rows = await one.getmany(timeout_ms=500, max_records=10_000)
            for row in (row for batch in rows.values() for row in batch):
                found[Topic(row.topic.removeprefix(prefix))].append(as_record(prefix, row))
            before = len(left)
            left = {place for place in left if await one.position(place) < ends[place]}
            if rows or len(left) < before:
                silent_since = time.monotonic()
            assert time.monotonic() < silent_since + SILENCE_SECONDS_MAX, f"no end of {left}"
    return found


async def open_transactions(bootstrap: str, prefix: str) -> dict[Place, tuple[int, int]]:
    """Partitions of which committed readers see less than there is: (stable end, end)."""
    async with consumer(bootstrap) as stable, consumer(bootstrap, committed=False) as last:
        return await open_places(stable, last, await places(stable, prefix))


async def open_places(
    stable: AIOKafkaConsumer, last: AIOKafkaConsumer, where: Sequence[Place]
) -> dict[Place, tuple[int, int]]:
    """The same, with consumers that are there already (asked in this order)."""
    highest = await last.end_offsets(where)
    committed = await stable.end_offsets(where)
    return {
        place: (committed[place], highest[place])
        for place in where
        if committed[place] < highest[place]
    }


@dataclass
class Watcher:
    """A committed reader that goes on through everything; it keeps what it saw, and when."""

    bootstrap: str
    prefix: str
    seen: list[Seen] = field(default_factory=list)
    tables: dict[Topic, dict[str, Record]] = field(default_factory=dict)
    cuts: dict[int, dict[str, Any]] = field(default_factory=dict)
    _positions: dict[Place, int] = field(default_factory=dict)

    async def run(self) -> None:
        """Until cancelled; brokers may come and go."""
        while True:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                await self._session()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _session(self) -> None:
        async with consumer(self.bootstrap) as one:
            all_places = await places(one, self.prefix)
            if not all_places:
                return
            one.assign(all_places)
            for place in all_places:
                one.seek(place, self._positions.get(place, 0))
            while True:
                rows = await one.getmany(timeout_ms=200, max_records=5_000)
                now = time.time()
                for place, batch in rows.items():
                    self._take(now, (as_record(self.prefix, row) for row in batch))
                    self._positions[place] = batch[-1].offset + 1
                await asyncio.sleep(0)

    def _take(self, now: float, records: Iterable[Record]) -> None:
        for record in records:
            self.seen.append(Seen(now, record))
            if record.key is not None:
                table = self.tables.setdefault(record.topic, {})
                if record.topic is Topic.PROGRESS:
                    self._progress(record)
                elif record.value is None:
                    table.pop(record.key, None)
                else:
                    table[record.key] = record

    def _progress(self, record: Record) -> None:
        if record.key == "p" and record.value is not None:
            self.cuts[record.partition] = json.loads(record.value)

    def written_after(self, moment: float, key: str = "p") -> dict[int, float]:
        """By partition of `progress`: when the first `key` written after `moment` was seen.

        Both are Unix seconds. What was written earlier and only read later does not count.
        """
        found: dict[int, float] = {}
        for at, record in reversed(self.seen):
            if at < moment:
                break
            written = record.timestamp_ms / 1000
            if (record.topic, record.key) == (Topic.PROGRESS, key) and written > moment:
                found[record.partition] = at
        return found

    def behind(self, bodies: Mapping[str, int]) -> dict[str, bytes]:
        """The states of those names of which another serial's body, or none, is published."""
        rows = self.tables.get(Topic.STATE, {})
        found = {name: rows[name].value or b"{}" if name in rows else b"{}" for name in bodies}
        return {name: raw for name, raw in found.items() if _body(raw) != bodies[name]}


def _body(raw: bytes) -> int:
    serial: int = json.loads(raw).get("body", 0)
    return serial
