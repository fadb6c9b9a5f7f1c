"""Whether a simulated run has come to rest: what the log itself says of it, at one instant."""

from __future__ import annotations

import json
from typing import Any

from schemas.topics import Topic
from streams.log import Record, TopicPartition
from streams.memory_log import MemoryLog
from tests.support.sim_replay import watermark_of

READ = (Topic.CHANGELOG, Topic.REFETCH)
UNDER_WAY = (b'"status":"pending"', b'"status":"parked"')
ABSENT = b'"status":"absent"'


def at_rest(log: MemoryLog, head: int) -> bool:
    """Everything up to `head` is read and decided, and no name is asked for again by itself."""
    cuts: list[Any] = []
    for partition in range(log.partitions):
        last = _rows(log, Topic.PROGRESS, partition).get("p")
        cuts.append(last and json.loads(last.value or b"null"))
        if cuts[-1] is None or any(
            cuts[-1][topic.value] != _end(log, topic, partition) for topic in READ
        ):
            return False
    if watermark_of(cuts)[2] != head:
        return False
    return not any(
        _waits(row.value or b"")
        for partition in range(log.partitions)
        for row in _rows(log, Topic.STATE, partition).values()
    )


def _waits(state: bytes) -> bool:
    if ABSENT in state:
        return int(json.loads(state).get("attempts", 0)) < 2
    return any(text in state for text in UNDER_WAY)


def _end(log: MemoryLog, topic: Topic, partition: int) -> int:
    return log._store.held[TopicPartition(topic, partition)].end


def _rows(log: MemoryLog, topic: Topic, partition: int) -> dict[str | None, Record]:
    return {row.key: row for row in log._store.held[TopicPartition(topic, partition)].rows}
