"""The log on Apache Kafka.

One transactional producer per writer id, one plain idempotent one for `append`, a consumer per
reader. There are no group offsets: positions lie in `progress` or with the sink. Every call has a
time-out; whatever client saw an error is thrown away. See docs/kafka.md.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Self
from weakref import WeakSet

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition

from schemas.errors import LogTruncated
from schemas.topics import COMPACTED, RECORD_BYTES_MAX, TOPICS, Offset, Topic, partition_count
from streams.kafka_batches import BATCH_BYTES_MAX, grouped, packed, sent
from streams.kafka_ending import stopped
from streams.kafka_errors import translated
from streams.kafka_hanging import end_hanging, told
from streams.kafka_reader import (
    FETCH_BYTES_MAX,
    FOLD_BYTES_MAX,
    PARTITION_BYTES_MAX,
    KafkaReader,
    begin,
    folded,
    kafka_partition,
    make_consumer,
)
from streams.kafka_settings import KafkaSettings
from streams.kafka_topics import ensure_topics
from streams.kafka_writer import TRANSACTION_MS_MAX, KafkaWriter
from streams.log import Changing, LogUnavailable, Outgoing, Table, TopicPartition
from streams.placing import every_partition

CALL_SECONDS_MAX = 15.0  # of a question to the brokers: longer than they need to elect a leader
TAKE_SECONDS_MAX = 30.0  # to take a writer id: the predecessor's transaction is ended first
FOLD_SECONDS_MAX = 600.0  # to fold one partition; silence in it ends much sooner
REQUEST_BYTES_MAX = RECORD_BYTES_MAX + BATCH_BYTES_MAX  # a record of the largest size goes alone
HANGING_SECONDS = 2.0  # open for so long after its id was taken: no marker will end it any more
# Another's may be open: TRANSACTION_MS_MAX, and until the broker looks, which it does every 10 s.
OTHERS_SECONDS = 20.0
VISIBLE_SECONDS = 0.002  # between two looks whether the markers of a transaction are there


class KafkaLog:
    """See `streams.log.Log`. Belongs to one event loop."""

    def __init__(self, settings: KafkaSettings, partitions: int) -> None:
        self._settings = settings
        self._connection: Mapping[str, Any] = settings.connection()
        self._partitions = partitions
        self._looker: AIOKafkaConsumer | None = None  # asks for offsets, reads nothing
        self._plain: AIOKafkaProducer | None = None
        self._making = asyncio.Lock()
        self._readers: set[KafkaReader] = set()
        # Weak: an id is taken anew after every error, and who was given up is not kept for that.
        self._writers: WeakSet[KafkaWriter] = WeakSet()
        self._producers: set[AIOKafkaProducer] = set()
        self._stopping: set[asyncio.Task[None]] = set()
        self._open = True

    @classmethod
    async def open(
        cls, settings: KafkaSettings, partitions: int | None = None, *, create: bool = True
    ) -> Self:
        """The log whose topics begin with `settings.prefix`; made if `create` and not there.

        `partitions` None = as many as there are (12 for new ones). Raises LogUnavailable,
        LogMismatch, LogRefused.
        """
        found = await ensure_topics(settings, partitions, create=create)
        return cls(settings, found)

    @property
    def partitions(self) -> int:
        """N."""
        return self._partitions

    async def writer(self, writer_id: str) -> KafkaWriter:
        """Take the id: when we return the predecessor is fenced, what it left open aborted."""
        self._check()
        producer = AIOKafkaProducer(
            **self._connection,
            **self._producer_options(),
            transactional_id=self._settings.prefix + writer_id,
            transaction_timeout_ms=TRANSACTION_MS_MAX,
        )
        self._producers.add(producer)
        try:
            with self._translated(f"take the writer id {writer_id}"):
                async with asyncio.timeout(TAKE_SECONDS_MAX):
                    await producer.start()
                    await self._finished(writer_id, producer)
            ends = await self._offsets(every_partition(self._partitions), "end")
        except BaseException:
            self._discard(producer)
            raise
        writer = KafkaWriter(
            writer_id,
            self._settings,
            producer,
            ends,
            self._visible,
            self._discard,
            self._partitions,
        )
        self._writers.add(writer)
        return writer

    async def _finished(self, writer_id: str, producer: AIOKafkaProducer) -> None:
        """Wait until nothing is open in the partitions that only this id writes.

        Taking the id should mean that. After a kill -9 of the broker it was seen not to: what the
        predecessor had begun stayed open for ever (`kafka_hanging`). Then it is ended here.
        """
        own, shared = written_by(writer_id, self._partitions)
        if not own:
            return
        asker = make_consumer(self._connection, committed=False)
        await self._started(asker)
        try:
            places = {at: kafka_partition(self._settings.prefix, at) for at in (*own, *shared)}
            found: Mapping[KafkaPartition, int] = await asker.end_offsets(list(places.values()))
            written = {at: Offset(found[place]) for at, place in places.items()}
            if hanging := await self._visible(written, HANGING_SECONDS):
                stable = {places[at]: end for at, end in hanging.items()}
                await end_hanging(producer, asker, stable, found)
                left = await self._visible({at: written[at] for at in own}, OTHERS_SECONDS)
                if left:
                    raise LogUnavailable(told({places[at]: end for at, end in left.items()}))
        finally:
            await stopped(asker)

    async def append(self, records: Sequence[Outgoing]) -> Sequence[Offset]:
        """Plain write. After an error some of the records may have been written."""
        groups = grouped(records, self._partitions)
        self._check()
        if not records:
            return []
        offsets = [Offset(-1)] * len(records)
        producer = await self._plain_producer()
        try:
            with self._translated("append"):
                async with asyncio.timeout(CALL_SECONDS_MAX):
                    pieces = list(packed(producer, groups))
                    for at, found in (await sent(producer, pieces, self._settings.prefix)).items():
                        for (number, _), offset in zip(groups[at], found, strict=True):
                            offsets[number] = offset
        except BaseException:
            if self._plain is producer:
                self._plain = None
            self._discard(producer)
            raise
        return offsets

    async def reader(self, positions: Mapping[TopicPartition, Offset]) -> KafkaReader:
        """A reader over exactly these partitions; raises LogTruncated."""
        self._check()
        await self._check_positions(positions)
        consumer = make_consumer(
            self._connection,
            fetch_max_bytes=FETCH_BYTES_MAX,
            max_partition_fetch_bytes=PARTITION_BYTES_MAX,
        )
        await self._started(consumer)
        begin(consumer, self._settings.prefix, positions)
        reader = KafkaReader(consumer, self._settings, positions, self._readers.discard)
        self._readers.add(reader)
        return reader

    async def table(self, at: TopicPartition) -> Table:
        """Fold a compacted partition."""
        if TOPICS[at.topic].cleanup != "compact":
            raise ValueError(f"{at.topic} is no table: it is not compacted")
        self._check()
        start = (await self._offsets([at], "beginning"))[at]
        end = (await self._offsets([at], "end"))[at]
        if start == end:
            return Table({}, end)
        consumer = make_consumer(
            self._connection,
            fetch_max_bytes=FETCH_BYTES_MAX,
            max_partition_fetch_bytes=FOLD_BYTES_MAX,
        )
        await self._started(consumer)
        try:
            with self._translated(f"fold {at.topic}/{at.partition}"):
                async with asyncio.timeout(FOLD_SECONDS_MAX):
                    place = kafka_partition(self._settings.prefix, at)
                    return await folded(consumer, place, at.topic, (start, end))
        finally:
            await stopped(consumer)

    async def ends(self, topic: Topic) -> Mapping[TopicPartition, Offset]:
        """Offset after the last committed record: the broker's last stable offset."""
        return await self._offsets(self._all(topic), "end")

    async def starts(self, topic: Topic) -> Mapping[TopicPartition, Offset]:
        """First offset still readable."""
        return await self._offsets(self._all(topic), "beginning")

    async def clean(self, now_ms: int) -> int:  # noqa: ARG002 (the brokers clean by themselves)
        """Nothing: the brokers compact and delete as the topics' settings say."""
        self._check()
        return 0

    async def purge(self, letter: Changing) -> int:  # noqa: ARG002 (the brokers clean by themselves)
        """Nothing, as `clean`: see `max.compaction.lag.ms` and docs/redaction.md."""
        self._check()
        return 0

    async def close(self) -> None:
        """Close readers, writers and connections."""
        if not self._open:
            return
        self._open = False
        for writer in list(self._writers):
            writer.log_closed()
        for reader in list(self._readers):
            await reader.close()
        for producer in list(self._producers):
            self._discard(producer)
        if self._looker is not None:
            await stopped(self._looker)
        if self._stopping:
            await asyncio.wait(self._stopping)

    # --- clients --------------------------------------------------------------------------------

    def _check(self) -> None:
        if not self._open:
            raise LogUnavailable("the log has been closed")

    def _translated(self, action: str) -> AbstractContextManager[None]:
        return translated(action, self._settings.security.principal)

    def _all(self, topic: Topic) -> list[TopicPartition]:
        return [
            TopicPartition(topic, partition)
            for partition in range(partition_count(topic, self._partitions))
        ]

    def _producer_options(self) -> dict[str, Any]:
        return {
            "acks": "all",
            "enable_idempotence": True,
            "compression_type": "zstd",
            "max_batch_size": BATCH_BYTES_MAX,
            "max_request_size": REQUEST_BYTES_MAX,
        }

    async def _started(self, client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
        try:
            with self._translated("connect"):
                async with asyncio.timeout(CALL_SECONDS_MAX):
                    await client.start()
        except BaseException:
            await stopped(client)
            raise

    def _discard(self, producer: AIOKafkaProducer) -> None:
        """Stop a producer in the background; it is not heard of again."""
        if producer in self._producers:
            self._producers.discard(producer)
            task = asyncio.create_task(stopped(producer))
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)

    async def _plain_producer(self) -> AIOKafkaProducer:
        async with self._making:
            if self._plain is None:
                producer = AIOKafkaProducer(**self._connection, **self._producer_options())
                await self._started(producer)
                self._producers.add(producer)
                self._plain = producer
            return self._plain

    async def _asker(self) -> AIOKafkaConsumer:
        async with self._making:
            if self._looker is None:
                looker = make_consumer(self._connection)
                await self._started(looker)
                # Assigned, so that it knows the leaders; paused, so that it reads nothing.
                places = {at: Offset(0) for at in every_partition(self._partitions)}
                begin(looker, self._settings.prefix, places)
                looker.pause(*looker.assignment())
                self._looker = looker
            return self._looker

    # --- offsets --------------------------------------------------------------------------------

    async def _offsets(
        self, where: Iterable[TopicPartition], which: str
    ) -> dict[TopicPartition, Offset]:
        self._check()
        looker = await self._asker()
        places = {kafka_partition(self._settings.prefix, at): at for at in where}
        ask = looker.end_offsets if which == "end" else looker.beginning_offsets
        with self._translated(f"ask for the {which} of partitions"):
            async with asyncio.timeout(CALL_SECONDS_MAX):
                found: Mapping[KafkaPartition, int] = await ask(list(places))
        return {at: Offset(found[place]) for place, at in places.items()}

    async def _check_positions(self, positions: Mapping[TopicPartition, Offset]) -> None:
        starts = await self._offsets(positions, "beginning")
        for at, position in positions.items():
            if position < starts[at]:
                raise LogTruncated(
                    f"{at.topic}/{at.partition}: position {position} lies below {starts[at]},"
                    " the first that the log still has",
                    hint="pypistream rebuild",
                )

    async def _visible(
        self, written: Mapping[TopicPartition, Offset], seconds: float = math.inf
    ) -> Mapping[TopicPartition, Offset]:
        """Wait until committed readers see these partitions up to these offsets.

        Those that they do not see so far after `seconds`, and how far they see them.
        """
        loop = asyncio.get_running_loop()
        until, missing = loop.time() + seconds, dict(written)
        while missing:
            ends = await self._offsets(missing, "end")
            missing = {at: ends[at] for at in missing if ends[at] < written[at]}
            if missing:
                if loop.time() > until:
                    break
                await asyncio.sleep(VISIBLE_SECONDS)
        return missing


def written_by(
    writer_id: str, partitions: int
) -> tuple[list[TopicPartition], list[TopicPartition]]:
    """The partitions that no other transactional id writes, and those that another writes, too.

    None of either for an id that is no role's.
    """
    shared = TopicPartition(Topic.DEAD_LETTER, 0)  # of its own worker, and of `produce`
    if writer_id == "produce":
        heads = TopicPartition(Topic.PROGRESS, partitions)
        rows = [TopicPartition(Topic.CHANGELOG, number) for number in range(partitions)]
        return [*rows, heads], [shared]
    role, _, number = writer_id.partition("-")
    if role != "worker" or not number.isdigit() or int(number) >= partitions:
        return [], []
    own = [TopicPartition(topic, int(number)) for topic in (*COMPACTED, Topic.PROGRESS)]
    letters = TopicPartition(Topic.DEAD_LETTER, int(number))
    return (own, [shared]) if letters == shared else ([*own, letters], [])
