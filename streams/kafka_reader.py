"""Reads partitions of the log on Kafka: assigned, never subscribed; committed records only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.structs import ConsumerRecord

from schemas.topics import Offset, Topic
from streams.kafka_ending import stopped
from streams.kafka_errors import translated
from streams.kafka_settings import KafkaSettings
from streams.log import LogUnavailable, Record, Table, TopicPartition

FETCH_WAIT_MS = 500  # the broker holds an empty answer so long; a record ends the wait at once
SILENCE_SECONDS_MAX = 30.0  # without any answer, although one is due every FETCH_WAIT_MS
FETCH_BYTES_MAX = 16 * 1024 * 1024  # of one answer of one broker, which is read ahead
PARTITION_BYTES_MAX = 1024 * 1024  # of one partition in it; a larger batch comes alone all the same
FOLD_BYTES_MAX = 8 * 1024 * 1024  # the same for a table: one partition, read as fast as it goes
FOLD_RECORDS_MAX = 20_000  # between two turns of other tasks

Names = Mapping[str, Topic]


def kafka_partition(prefix: str, at: TopicPartition) -> KafkaPartition:
    """The partition under its full name."""
    return KafkaPartition(prefix + at.topic, at.partition)


def make_consumer(
    connection: Mapping[str, Any], *, committed: bool = True, **options: Any
) -> AIOKafkaConsumer:
    """A consumer with our settings: no group, no default position, committed records only.

    One that is not `committed` is only for reading ends.
    """
    return AIOKafkaConsumer(
        **connection,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed" if committed else "read_uncommitted",
        check_crcs=True,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        **options,
    )


def begin(
    consumer: AIOKafkaConsumer, prefix: str, positions: Mapping[TopicPartition, Offset]
) -> None:
    """Assign exactly these partitions, and seek to these positions."""
    consumer.assign([kafka_partition(prefix, at) for at in positions])
    for at, position in positions.items():
        consumer.seek(kafka_partition(prefix, at), position)


_record = partial(tuple.__new__, Record)  # half the time per record of the class's own constructor


def as_records(topic: Topic, rows: Iterable[ConsumerRecord[bytes, bytes]]) -> list[Record]:
    """The port's records; any process may write to some topics, so a key may be no UTF-8."""
    return [
        _record(
            (
                topic,
                row.partition,
                row.offset,
                row.timestamp,
                None if row.key is None else row.key.decode("utf-8", "replace"),
                row.value,
                _headers(row.headers),
            )
        )
        for row in rows
    ]


def _headers(headers: tuple[tuple[str, bytes | None], ...]) -> tuple[tuple[str, bytes | None], ...]:
    """Kafka knows headers without a value; to us they are empty."""
    for _, value in headers:
        if value is None:
            return tuple((name, value or b"") for name, value in headers)
    return headers


class KafkaReader:
    """See `streams.log.Reader`."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        settings: KafkaSettings,
        positions: Mapping[TopicPartition, Offset],
        on_close: Callable[[KafkaReader], None],
    ) -> None:
        self._consumer = consumer
        self._principal = settings.security.principal
        self._places = {kafka_partition(settings.prefix, at): at for at in positions}
        self._order = list(self._places)
        self._positions = dict(positions)
        self._first = 0  # which partition is served first, so that none starves
        self._silent_since: float | None = None
        self._heard_ms = 0
        self._on_close = on_close
        self._open = True

    def position(self, at: TopicPartition) -> Offset:
        """Next offset to read."""
        return self._positions[at]

    async def read(self, max_records: int, wait_seconds: float) -> list[Record]:
        """Up to `max_records` records, in the order of each partition. See the port's errors."""
        self._check()
        with translated("read", self._principal):
            records = await self._ready(max_records)
            if not records and wait_seconds > 0:
                records = await self._awaited(max_records, wait_seconds)
        if not records:
            self._check()
        return records

    async def close(self) -> None:
        """Stop the consumer."""
        if self._open:
            self._open = False
            self._on_close(self)
            await stopped(self._consumer)

    def _check(self) -> None:
        if not self._open:
            raise LogUnavailable("the log has been closed")

    async def _ready(self, max_records: int) -> list[Record]:
        """The records that have arrived, from each partition in turn.

        Nothing in here waits, so after a cancellation a record is with the consumer or the caller.
        """
        records: list[Record] = []
        first, count = self._first, len(self._order)
        for index in range(first, first + count):
            place = self._order[index % count]
            room = max_records - len(records)
            found = await self._consumer.getmany(place, timeout_ms=0, max_records=room)
            records += await self._taken(place, found.get(place, ()))
            if len(records) == max_records:
                self._first = (index + 1) % count
                break
        return records

    async def _awaited(self, max_records: int, wait_seconds: float) -> list[Record]:
        found = await self._consumer.getmany(
            timeout_ms=int(wait_seconds * 1000), max_records=max_records
        )
        records: list[Record] = []
        for place in self._order:  # also those where only transaction markers were passed
            records += await self._taken(place, found.get(place, ()))
        self._listen(heard=bool(records))
        return records

    async def _taken(
        self, place: KafkaPartition, rows: Sequence[ConsumerRecord[bytes, bytes]]
    ) -> list[Record]:
        at = self._places[place]
        self._positions[at] = Offset(await self._consumer.position(place))
        return as_records(at.topic, rows)

    def _listen(self, *, heard: bool) -> None:
        """Raise LogUnavailable if brokers should have answered long ago."""
        now = asyncio.get_running_loop().time()
        newest_ms = max(
            (self._consumer.last_poll_timestamp(place) or 0 for place in self._places), default=0
        )
        if heard or newest_ms != self._heard_ms or self._silent_since is None:
            self._silent_since, self._heard_ms = now, newest_ms
        elif now - self._silent_since > SILENCE_SECONDS_MAX:
            self._silent_since = None
            raise LogUnavailable(f"no broker has answered for {SILENCE_SECONDS_MAX:.0f} s")


async def folded(
    consumer: AIOKafkaConsumer,
    place: KafkaPartition,
    topic: Topic,
    span: tuple[Offset, Offset],
) -> Table:
    """Fold one partition from the first to before the second offset of `span`.

    The end is one of the broker's stable offsets: no transaction crosses it.
    """
    start, end = span
    rows: dict[str, Record] = {}
    consumer.assign([place])
    consumer.seek(place, start)
    loop = asyncio.get_running_loop()
    patience = loop.time() + SILENCE_SECONDS_MAX
    position: int = start
    while position < end:
        found = await consumer.getmany(
            place, timeout_ms=FETCH_WAIT_MS, max_records=FOLD_RECORDS_MAX
        )
        for record in as_records(topic, found.get(place, ())):
            if record.offset >= end:
                break
            if record.value is None:
                rows.pop(record.key or "", None)
            else:
                rows[record.key or ""] = record
        before, position = position, await consumer.position(place)
        if position > before:
            patience = loop.time() + SILENCE_SECONDS_MAX
        elif loop.time() > patience:
            raise LogUnavailable(f"{place.topic}/{place.partition} gives no records below {end}")
        await asyncio.sleep(0)  # without it a loop over ready records would starve other tasks
    return Table(rows, end)
