"""A report on the log's topics and their faults, for any adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from schemas.topics import RECORD_BYTES_MAX, TOPICS, Topic, partition_count


class Fault(NamedTuple):
    """A fault of a topic, as `name is found, wanted value`, and what mends it."""

    what: str
    mend: str


@dataclass(frozen=True, slots=True)
class TopicReport:
    """One topic. None = it is not there, or this client may not see it.

    name          with the prefix, as other programs know it
    configs       what was found, by Kafka's names; None = no right to look
    led           whether every partition has a leader now; not a fault, a broker is down
    faults        what has to be mended; empty = as it should be
    """

    topic: Topic
    name: str
    partitions: int | None = None
    replication: int | None = None
    configs: Mapping[str, str] | None = None
    led: bool = True
    faults: tuple[Fault, ...] = ()

    @property
    def missing(self) -> bool:
        """Whether the topic is not there."""
        return self.partitions is None


@dataclass(frozen=True, slots=True)
class LogReport:
    """All seven topics, in their order. `partitions`: N, None if no topic exists."""

    partitions: int | None
    topics: tuple[TopicReport, ...]

    @property
    def ok(self) -> bool:
        """Whether every topic exists and is as it should be."""
        return not any(each.faults or each.missing for each in self.topics)


def embedded_report(partitions: int) -> LogReport:
    """The embedded log's topics. They are as they should be: else it could not have been opened."""
    return LogReport(
        partitions,
        tuple(
            TopicReport(
                topic,
                str(topic),
                partition_count(topic, partitions),
                1,
                {
                    "cleanup.policy": spec.cleanup,
                    "retention.ms": _milliseconds(spec.retention_ms),
                    "delete.retention.ms": _milliseconds(spec.tombstone_ms),
                    "max.message.bytes": str(RECORD_BYTES_MAX),
                },
            )
            for topic, spec in TOPICS.items()
        ),
    )


def _milliseconds(value: int | None) -> str:
    return "-1" if value is None else str(value)
