"""The topics: names, keys, cleanup, and Kafka's own partitioner.

Source: KIP-480 keeps murmur2 for records with a key; apache/kafka `Utils.murmur2` and `toPositive`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Literal, NewType

Offset = NewType("Offset", int)
"""Place of a record in one partition of our log. Never comparable with a serial."""

Serial = NewType("Serial", int)
"""PyPI's growing number of a journal row: total order upstream."""

PREFIX = "pypi."
RECORD_BYTES_MAX = 16 * 1024 * 1024  # topic, producer and consumer settings; checked uncompressed
VALUE_BYTES_MAX = RECORD_BYTES_MAX - 16 * 1024  # a document's: key and headers need room, too

_DAY_MS = 24 * 60 * 60 * 1000


class Topic(StrEnum):
    """Short names; on Kafka the prefix comes before them."""

    CHANGELOG = "changelog"
    REFETCH = "refetch"
    METADATA = "metadata"
    RELEASES = "releases"
    STATE = "state"
    PROGRESS = "progress"
    DEAD_LETTER = "dead-letter"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """How a topic is kept. Times in milliseconds; None = without limit."""

    topic: Topic
    cleanup: Literal["compact", "delete"]
    retention_ms: int | None = None  # cleanup=delete: a record older than this may go
    tombstone_ms: int | None = None  # cleanup=compact: a tombstone older than this may go
    extra_partitions: int = 0  # beyond the N that every topic has


TOPICS: dict[Topic, TopicSpec] = {
    spec.topic: spec
    for spec in (
        TopicSpec(Topic.CHANGELOG, "delete"),
        TopicSpec(Topic.REFETCH, "delete", retention_ms=7 * _DAY_MS),
        TopicSpec(Topic.METADATA, "compact", tombstone_ms=30 * _DAY_MS),
        TopicSpec(Topic.RELEASES, "compact", tombstone_ms=30 * _DAY_MS),
        TopicSpec(Topic.STATE, "compact", tombstone_ms=30 * _DAY_MS),
        # partition N: the holder of the `produce` id; N + 1: plain writes of any process
        # It has no tombstones, but Kafka keeps the mark of each transaction as long as one: in 30
        # days that is hundreds of thousands, to be read by whoever looks.
        TopicSpec(Topic.PROGRESS, "compact", tombstone_ms=_DAY_MS, extra_partitions=2),
        TopicSpec(Topic.DEAD_LETTER, "delete", retention_ms=90 * _DAY_MS),
    )
}

# Of the keys used last: each takes some 250 bytes, and a miss costs microseconds, not correctness.
PARTITIONS_KEPT = 8_192

COMPACTED = (Topic.METADATA, Topic.RELEASES, Topic.STATE)
"""The three topics that a cut, a dump and a delta consist of."""


def partition_count(topic: Topic, partitions: int) -> int:
    """How many partitions `topic` has in a log of N = `partitions`."""
    return partitions + TOPICS[topic].extra_partitions


@lru_cache(maxsize=PARTITIONS_KEPT)
def partition_of(key: str, partitions: int) -> int:
    """Kafka's default partitioner: murmur2 of the UTF-8 key, sign bit off, modulo N."""
    if partitions == 1:
        return 0
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Kafka's 32-bit MurmurHash2 (seed 0x9747b28c) as an unsigned number."""
    length = len(data)
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ length
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little")
        k = (k * m) & mask
        k ^= k >> 24
        k = (k * m) & mask
        h = ((h * m) & mask) ^ k
    if tail := data[whole:]:
        h ^= int.from_bytes(tail, "little")
        h = (h * m) & mask
    h ^= h >> 13
    h = (h * m) & mask
    return h ^ (h >> 15)
