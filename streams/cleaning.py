"""How long records are kept, for adapters that do their own cleaning. Kafka has topic settings."""

from __future__ import annotations

from typing import NamedTuple

from schemas.topics import TOPICS, Topic

COMPACTION_LAG_MS = 10 * 60 * 1000
"""A record goes only when the one that replaced it is this old (Kafka: min.compaction.lag.ms). So
whoever takes a cut finds every record of it for at least this long, however busy the log is; twice
what reading all three compacted topics of PyPI takes a sink."""


class Limits(NamedTuple):
    """Unix milliseconds; records up to and with these times may go. None = never.

    superseding  a record this old removes those before it with its key
    tombstone    a tombstone this old may go
    any          any record this old may go
    """

    superseding: int | None
    tombstone: int | None
    any: int | None


def limits(topic: Topic, now_ms: int) -> Limits:
    """The limits for a topic as of now."""
    spec = TOPICS[topic]
    if spec.cleanup == "delete":
        return Limits(None, None, None if spec.retention_ms is None else now_ms - spec.retention_ms)
    tombstone = None if spec.tombstone_ms is None else now_ms - spec.tombstone_ms
    return Limits(now_ms - COMPACTION_LAG_MS, tombstone, None)
