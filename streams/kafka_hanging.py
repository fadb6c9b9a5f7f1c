"""The end of transactions that no broker ends any more.

A coordinator notes that a transaction is committed or aborted, has a marker written to each of its
partitions, and calls it complete. Kafka 4.3.1 leaves out the markers of partitions that have no
leader at that moment ("likely deleted already and hence can be skipped"), as when a broker that was
killed is back before its session has ended, and is fenced once more when it does. To the
coordinator the transaction is complete; to its partitions it is open for ever, and committed
readers see nothing that comes after it.

Whoever takes the same id has the same producer id and a higher epoch: the marker of any transaction
of its own ends the old one, too, as its own. So one without a record is made over those partitions.
It is aborted, unless another partition of the writer has the marker that committed the old one.
Nobody is deceived by that: `KafkaWriter.commit` says "done" only when readers see it, so what hangs
was told to nobody, and what hangs in all of its partitions was seen by nobody either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka import errors as kafka
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.control_record import COMMIT_MARKER, ControlRecord
from aiokafka.record.memory_records import MemoryRecords

LOOK_WAIT_MS = 500  # of one look at a batch, which is there
LOOK_BYTES = 1024  # of it; a larger one comes whole all the same
_READ_UNCOMMITTED = 0  # isolation level of a fetch

log_ = structlog.get_logger("kafka")


class _Batch(NamedTuple):
    """Who wrote it, when by the broker's clock (Unix ms), and if it is the marker of a commit."""

    producer_id: int
    epoch: int
    written_ms: int
    commits: bool


async def end_hanging(
    producer: AIOKafkaProducer,
    asker: AIOKafkaConsumer,
    hanging: Mapping[KafkaPartition, int],
    ends: Mapping[KafkaPartition, int],
) -> None:
    """End what is open in `hanging`, from these offsets on, if it is of the producer's id.

    `ends` of all partitions that the id writes. Raises aiokafka's errors.
    """
    manager = producer._txn_manager  # noqa: SLF001 (there is no other way to it)
    begun = {place: await _batch(asker, place, at) for place, at in hanging.items()}
    opened = {
        place: batch
        for place, batch in begun.items()
        # No marker of ours ends another's.
        if batch is not None and batch.producer_id == manager.producer_id
    }
    last = [await _batch(asker, place, end - 1) for place, end in ends.items() if end > 0]
    for epoch in sorted({batch.epoch for batch in opened.values()}):
        places = [place for place, batch in opened.items() if batch.epoch == epoch]
        begun_ms = min(opened[place].written_ms for place in places)
        # An epoch has many transactions, but none after one that hangs: its writer is given up.
        commit = any(
            batch.commits
            and (batch.producer_id, batch.epoch) == (manager.producer_id, epoch)
            and batch.written_ms >= begun_ms
            for batch in last
            if batch is not None
        )
        await producer.begin_transaction()
        for place in places:
            manager.maybe_add_partition_to_txn(place)
        await (producer.commit_transaction() if commit else producer.abort_transaction())
        log_.warning(
            "a transaction that hung was ended",
            committed=commit,
            at={f"{place.topic}/{place.partition}": hanging[place] for place in places},
        )


async def _batch(asker: AIOKafkaConsumer, place: KafkaPartition, offset: int) -> _Batch | None:
    """The batch that holds this offset, committed or not; None if it is gone by its age."""
    client = asker._client  # noqa: SLF001 (a consumer skips markers and tells no producer)
    wanted = [(place.topic, [(place.partition, offset, LOOK_BYTES)])]
    request = FetchRequest(LOOK_WAIT_MS, 1, LOOK_BYTES, _READ_UNCOMMITTED, wanted, "")
    response = await client.send(client.cluster.leader_for_partition(place), request)
    [(_, [(_, code, *_, raw)])] = response.topics
    error = kafka.for_code(code)
    if error not in (kafka.NoError, kafka.OffsetOutOfRangeError):
        raise error(f"{place.topic}/{place.partition}")
    records = MemoryRecords(raw or b"")
    if not records.has_next():
        return None
    batch = records.next_batch()
    commits = batch.is_control_batch and ControlRecord.parse(next(batch).key) == COMMIT_MARKER
    return _Batch(batch.producer_id, batch.producer_epoch, batch.max_timestamp, commits)


def told(hanging: Mapping[KafkaPartition, int]) -> str:
    """What another producer's transaction does, and how an operator ends it."""
    place, at = next(iter(hanging.items()))
    return (
        f"a transaction of another producer is open in {place.topic}/{place.partition}; if it stays"
        " so, end it: kafka-transactions.sh --bootstrap-server HOST:PORT abort"
        f" --topic {place.topic} --partition {place.partition} --start-offset {at}"
    )
