"""Checks and places a record before any adapter writes it. Pure."""

from __future__ import annotations

from itertools import chain

from schemas.errors import OversizedBody
from schemas.topics import (
    RECORD_BYTES_MAX,
    TOPICS,
    Topic,
    partition_count,
    partition_of,
)
from streams.log import Outgoing, TopicPartition


def every_partition(partitions: int) -> list[TopicPartition]:
    """All partitions of all topics of a log of N = `partitions`."""
    return [
        TopicPartition(topic, partition)
        for topic in Topic
        for partition in range(partition_count(topic, partitions))
    ]


def placed(record: Outgoing, partitions: int) -> TopicPartition:
    """Where the record goes in a log of N = `partitions`.

    Raises what `check_size` raises, and ValueError for a programming error: no such partition, or
    no key where one is needed.
    """
    check_size(record)
    return place_of(record, partitions)


def check_size(record: Outgoing) -> None:
    """Raises OversizedBody above RECORD_BYTES_MAX (key, value and headers, uncompressed)."""
    size = record_bytes(record)
    if size > RECORD_BYTES_MAX:
        raise OversizedBody(
            f"a record of {record.topic} for {record.key!r} has {size} bytes;"
            f" the limit is {RECORD_BYTES_MAX}",
            bytes_seen=size,
        )


def place_of(record: Outgoing, partitions: int) -> TopicPartition:
    """`placed` for a record whose size was checked."""
    if record.key is None and TOPICS[record.topic].cleanup == "compact":
        raise ValueError(f"a record of {record.topic} needs a key: the topic is compacted")
    if record.partition is None:
        if record.key is None:
            raise ValueError(f"a record of {record.topic} without a key needs a partition")
        return TopicPartition(record.topic, partition_of(record.key, partitions))
    if not 0 <= record.partition < partition_count(record.topic, partitions):
        raise ValueError(f"{record.topic} has no partition {record.partition} (N = {partitions})")
    return TopicPartition(record.topic, record.partition)


def record_bytes(record: Outgoing) -> int:
    """Bytes of key, value and headers."""
    size = sum(map(len, chain.from_iterable(record.headers)))
    if record.key is not None:
        size += len(record.key.encode())
    if record.value is not None:
        size += len(record.value)
    return size
