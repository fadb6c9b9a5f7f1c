"""The Kafka adapter against bare aiokafka doing the same, and how fast `state` is restored.

Wants a broker: PYPISTREAM_TEST_KAFKA=HOST:PORT. Topics of its own, dropped at the end.

adapter_to_bare.write   records per second in transactions of 1000, ours to bare `send_batch`'s
adapter_to_bare.read    records per second read, ours to bare `getmany`'s
cpu_to_send             CPU of a record in our transactions to that of a plain `send`
restore_per_second      rows of `state` folded per second (886 000 names)
"""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition

from benchmarks.on_broker import print_figures
from schemas import codec
from schemas.records import State, Status
from schemas.topics import Offset, Topic, partition_of
from streams.kafka_log import KafkaLog
from streams.kafka_settings import KafkaSettings
from streams.log import Outgoing, TopicPartition
from tests.support.kafka_broker import drop_topics

RECORDS = 200_000  # of one run
TRANSACTION = 1_000
VALUE = (
    b'{"serial":31415926,"name":"a-project","version":"1.2.3","action":"new release"}' + b" " * 70
)
HEADERS = (("ce_id", b"31415926"), ("ce_type", b"pypistream.changelog"), ("serial", b"31415926"))
RUNS = 3
NAMES = 886_000
PARTITIONS = 12
AT = TopicPartition(Topic.CHANGELOG, 0)


class Cost(NamedTuple):
    """Of one run over RECORDS records."""

    per_second: float
    cpu_per_million: float


async def measured(work: Callable[[], Awaitable[int]]) -> Cost:
    """Time one run; it returns how many records it handled."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = await work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Cost(count / wall, cpu / count * 1e6)


def median(costs: list[Cost]) -> Cost:
    """Of each figure."""
    return Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))


class Bench:
    """One log and its bare twin: the same topic, producer settings and records."""

    def __init__(self, log: KafkaLog, settings: KafkaSettings) -> None:
        self._log = log
        self._settings = settings
        self._topic = settings.prefix + Topic.CHANGELOG
        self._bare_options: dict[str, Any] = {
            **settings.connection(),
            "acks": "all",
            "enable_idempotence": True,
            "compression_type": "zstd",
            "max_batch_size": 1024 * 1024,
            "max_request_size": 17 * 1024 * 1024,
        }
        self._records = [
            Outgoing(Topic.CHANGELOG, f"project-{number}", VALUE, HEADERS, 0)
            for number in range(TRANSACTION)
        ]

    async def ours(self) -> int:
        """Transactions of the adapter."""
        writer = await self._log.writer("bench")
        for _ in range(RECORDS // TRANSACTION):
            await writer.commit(self._records)
        await writer.close()
        return RECORDS

    async def bare_batches(self) -> int:
        """The same transactions with `send_batch`, keys encoded, offsets awaited."""
        producer = AIOKafkaProducer(
            **self._bare_options, transactional_id=self._settings.prefix + "bare"
        )
        await producer.start()
        for _ in range(RECORDS // TRANSACTION):
            async with producer.transaction():
                batch = producer.create_batch()
                for record in self._records:
                    key = (record.key or "").encode()
                    headers = list(record.headers)
                    batch.append(timestamp=None, key=key, value=record.value, headers=headers)
                await (await producer.send_batch(batch, self._topic, partition=0))
        await producer.stop()
        return RECORDS

    async def plain_send(self) -> int:
        """One `send` per record, no transaction."""
        producer = AIOKafkaProducer(**self._bare_options)
        await producer.start()
        for _ in range(RECORDS // TRANSACTION):
            futures = [
                await producer.send(
                    self._topic,
                    record.value,
                    (record.key or "").encode(),
                    partition=0,
                    headers=list(record.headers),
                )
                for record in self._records
            ]
            await asyncio.gather(*futures)
        await producer.stop()
        return RECORDS

    async def read_ours(self) -> int:
        """The adapter's reader, from the start."""
        end = (await self._log.ends(Topic.CHANGELOG))[AT]
        reader = await self._log.reader({AT: Offset(0)})
        count = 0
        while reader.position(AT) < end:
            count += len(await reader.read(2_000, 1.0))
        await reader.close()
        return count

    async def read_bare(self) -> int:
        """`getmany` of a bare consumer with the same settings."""
        place = KafkaPartition(self._topic, 0)
        consumer = AIOKafkaConsumer(
            **self._settings.connection(),
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
        )
        await consumer.start()
        consumer.assign([place])
        consumer.seek(place, 0)
        end = (await consumer.end_offsets([place]))[place]
        count = 0
        while await consumer.position(place) < end:
            found = await consumer.getmany(place, timeout_ms=1000, max_records=2_000)
            count += sum(map(len, found.values()))
            await asyncio.sleep(0)
        await consumer.stop()
        return count

    async def restore(self) -> dict[str, float]:
        """Fill `state` with all of PyPI's names, then fold every partition of it."""
        rows = []
        for number in range(NAMES):
            name = f"a-usual-project-name-{number}"
            state = State(status=Status.OK, event=30_000_000 + number, body=30_000_000 + number)
            value = codec.encode(state)
            at = partition_of(name, self._log.partitions)
            rows.append(Outgoing(Topic.STATE, name, value, HEADERS, at))
        for start in range(0, NAMES, 20_000):
            await self._log.append(rows[start : start + 20_000])
        del rows
        began = time.perf_counter()
        count = 0
        for partition in range(self._log.partitions):
            count += len((await self._log.table(TopicPartition(Topic.STATE, partition))).rows)
        seconds = time.perf_counter() - began
        assert count == NAMES
        return {"names": count, "seconds": seconds, "restore_per_second": count / seconds}


async def bench(bootstrap: str) -> dict[str, Any]:
    """All of it; runs of ours and of the peer take turns."""
    settings = KafkaSettings(bootstrap, prefix=f"bench{uuid.uuid4().hex[:8]}.")
    log = await KafkaLog.open(settings, PARTITIONS)
    subject = Bench(log, settings)
    names = ("ours", "bare_batches", "plain_send", "read_ours", "read_bare")
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    try:
        for _ in range(RUNS):
            for name in names:
                costs[name].append(await measured(getattr(subject, name)))
        restored = await subject.restore()
    finally:
        await log.close()
        await drop_topics(bootstrap, settings.prefix)
    middle = {name: median(values) for name, values in costs.items()}
    return {
        "records": RECORDS,
        "per_second": {name: cost.per_second for name, cost in middle.items()},
        "cpu_per_million": {name: cost.cpu_per_million for name, cost in middle.items()},
        "adapter_to_bare": {
            "write": middle["ours"].per_second / middle["bare_batches"].per_second,
            "read": middle["read_ours"].per_second / middle["read_bare"].per_second,
        },
        "cpu_to_send": middle["ours"].cpu_per_million / middle["plain_send"].cpu_per_million,
        "state": restored,
    }


if __name__ == "__main__":
    print_figures(bench, __doc__)
