"""The configs that our topics need on Kafka, and what differs. Pure. See docs/kafka.md, Topics.

Source: kafka.apache.org/documentation/#topicconfigs. Values are texts, as the broker gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

from schemas.topics import RECORD_BYTES_MAX, TOPICS, Topic, partition_count
from streams.cleaning import COMPACTION_LAG_MS

NEW_LOG_PARTITIONS = 12
REPLICATION_MAX = (
    3  # of new topics, or as many as there are brokers: survives one, and one in repair
)

BATCH_OVERHEAD_BYTES = 128 * 1024
"""What a batch of one record is more than the record: 61 bytes of header, the record's own framing,
and what zstd adds to bytes that it cannot compress (1/256: 64 KiB of 16 MiB)."""
# A batch of one record adds its overhead.
MESSAGE_BYTES_MAX = RECORD_BYTES_MAX + BATCH_OVERHEAD_BYTES

MAX_COMPACTION_LAG_MS = 7 * 24 * 60 * 60 * 1000
"""What was replaced or removed is gone from the disk this long after, also on a log where nothing
happens: without it the cleaner waits until half of a partition is old."""

UNLIMITED = "-1"
_MIB = 1024 * 1024
_MINUTE_MS, _HOUR_MS, _DAY_MS = 60_000, 3_600_000, 86_400_000

_SEGMENTS: dict[Topic, tuple[int, int]] = {  # bytes, milliseconds until a new segment is begun
    # The cleaner never touches the newest segment, which is read at every start. `state` is read
    # whole whenever a worker starts: at most an hour of it is old.
    Topic.STATE: (64 * _MIB, _HOUR_MS),
    # `progress` is a few records, written in every transaction: at most ten minutes of them.
    Topic.PROGRESS: (32 * _MIB, 10 * _MINUTE_MS),
    # Whole documents: a rebuilt sink reads at most a day of replaced ones.
    Topic.METADATA: (256 * _MIB, _DAY_MS),
    Topic.RELEASES: (256 * _MIB, _DAY_MS),
    # Retention works by segments: so asks live for 7 to 8 days, not for 7 to 14.
    Topic.REFETCH: (256 * _MIB, _DAY_MS),
}


PROGRESS_DIRTY_RATIO = "0.1"
"""Of `progress`: the cleaner begins when a tenth is new, not half. What is old in it are the marks
of yesterday's transactions, so that half would be another day of them."""


class Rule(Enum):
    """What counts as different."""

    EXACT = auto()
    AT_LEAST = auto()  # more is fine, unlimited too
    FREE = auto()  # set for a new topic; whoever changes it has a reason


class Wanted(NamedTuple):
    """A config: what a new topic gets, and what an existing one must have (`bound`)."""

    value: str
    rule: Rule
    bound: str


class Difference(NamedTuple):
    """A config that is not as required."""

    config: str
    found: str
    wanted: str

    def __str__(self) -> str:
        """The difference as part of a sentence."""
        return f"{self.config} is {self.found}, wanted {self.wanted}"


def topic_name(prefix: str, topic: Topic) -> str:
    """The name on Kafka."""
    return prefix + topic


def wanted(topic: Topic, replication: int) -> dict[str, Wanted]:
    """Every config that matters, for a topic with so many replicas."""
    spec = TOPICS[topic]
    configs = {
        "cleanup.policy": _exact(spec.cleanup),
        "retention.bytes": _at_least(UNLIMITED),
        "max.message.bytes": _at_least(MESSAGE_BYTES_MAX),
        "message.timestamp.type": _exact("LogAppendTime"),  # retention and our clocks go by it
        "compression.type": _free("producer"),  # we compress; the broker need not do it again
        "min.insync.replicas": _at_least(min_insync(replication)),
        "unclean.leader.election.enable": _exact("false"),  # acknowledged records are never dropped
    }
    if spec.cleanup == "compact":
        configs["min.compaction.lag.ms"] = _at_least(COMPACTION_LAG_MS)
        configs["max.compaction.lag.ms"] = _free(MAX_COMPACTION_LAG_MS)
        configs["delete.retention.ms"] = _at_least(_or_unlimited(spec.tombstone_ms))
    else:
        configs["retention.ms"] = _at_least(_or_unlimited(spec.retention_ms))
    if topic is Topic.PROGRESS:
        configs["min.cleanable.dirty.ratio"] = _free(PROGRESS_DIRTY_RATIO)
    if topic in _SEGMENTS:
        size, age = _SEGMENTS[topic]
        configs["segment.bytes"] = Wanted(str(size), Rule.AT_LEAST, str(MESSAGE_BYTES_MAX))
        configs["segment.ms"] = _free(age)
    else:
        configs["segment.bytes"] = Wanted(str(1024 * _MIB), Rule.AT_LEAST, str(MESSAGE_BYTES_MAX))
    return configs


def min_insync(replication: int) -> int:
    """Brokers that must have a record before it counts as written: one may be down."""
    return 2 if replication >= REPLICATION_MAX else 1


def new_configs(topic: Topic, replication: int) -> dict[str, str]:
    """What a new topic is made with."""
    return {name: each.value for name, each in wanted(topic, replication).items()}


def differences(topic: Topic, replication: int, found: Mapping[str, str]) -> list[Difference]:
    """The differences to mend. A config that the broker does not know counts as right."""
    listed = [
        Difference(name, found[name], _words(each))
        for name, each in wanted(topic, replication).items()
        if name in found and not _met(each, found[name])
    ]
    insync = found.get("min.insync.replicas", "")
    if insync.isdigit() and int(insync) > replication:
        text = f"{min_insync(replication)}: it has {replication} replicas and could not be written"
        listed.append(Difference("min.insync.replicas", insync, text))
    return listed


def mended(topic: Topic, replication: int, found: Mapping[str, str]) -> dict[str, str]:
    """The configs to set so that nothing differs, without those that are fine."""
    configs = wanted(topic, replication)
    return {
        each.config: configs[each.config].value for each in differences(topic, replication, found)
    }


def log_partitions(counts: Mapping[Topic, int]) -> int | None:
    """N of a log with these numbers of partitions, by majority; None without any topic."""
    said = [count - TOPICS[topic].extra_partitions for topic, count in counts.items()]
    return max(said, key=said.count, default=None)


def partition_fault(topic: Topic, count: int, partitions: int) -> str | None:
    """What is wrong with a topic's number of partitions in a log of N = `partitions`."""
    needed = partition_count(topic, partitions)
    return None if count == needed else f"it has {count} partitions, wanted {needed}"


def _met(each: Wanted, found: str) -> bool:
    if each.rule is Rule.FREE or found == each.bound:
        return True
    if each.rule is Rule.EXACT:
        return False
    if found == UNLIMITED:
        return True
    return each.bound != UNLIMITED and found.isdigit() and int(found) >= int(each.bound)


def _words(each: Wanted) -> str:
    least = each.rule is Rule.AT_LEAST and each.bound != UNLIMITED
    return f"at least {each.bound}" if least else each.bound


def _exact(value: str) -> Wanted:
    return Wanted(value, Rule.EXACT, value)


def _at_least(value: str | int) -> Wanted:
    return Wanted(str(value), Rule.AT_LEAST, str(value))


def _free(value: str | int) -> Wanted:
    return Wanted(str(value), Rule.FREE, str(value))


def _or_unlimited(milliseconds: int | None) -> str:
    """As Kafka writes it; -1 is not allowed for tombstones, but all of ours have an end."""
    return UNLIMITED if milliseconds is None else str(milliseconds)
