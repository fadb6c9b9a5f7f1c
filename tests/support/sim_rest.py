"""Whether a simulated run has come to rest: what the log itself says of it, at one instant."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from schemas.topics import Topic
from streams.log import Log, Record, TopicPartition
from streams.memory_log import MemoryLog
from tests.support.sim_replay import watermark_of

READ = (Topic.CHANGELOG, Topic.REFETCH)
UNDER_WAY = (b'"status":"pending"', b'"status":"parked"')
ABSENT = b'"status":"absent"'


def at_rest(log: MemoryLog, head: int) -> bool:
    """Everything up to `head` is read and decided, and no name is asked for again by itself."""
    partitions = range(log.partitions)
    progress = [_rows(log, Topic.PROGRESS, partition) for partition in partitions]
    ends = {topic: [_end(log, topic, partition) for partition in partitions] for topic in READ}
    if not decided(progress, ends, head):
        return False
    return not any(waiting(_rows(log, Topic.STATE, partition)) for partition in partitions)


async def file_at_rest(log: Log, head: int) -> bool:
    """The same of a log that has to be asked."""
    of = {
        topic: [
            (await log.table(TopicPartition(topic, partition))).rows
            for partition in range(log.partitions)
        ]
        for topic in (Topic.PROGRESS, Topic.STATE)
    }
    ends = {topic: [end for _, end in sorted((await log.ends(topic)).items())] for topic in READ}
    return decided(of[Topic.PROGRESS], ends, head) and not any(map(waiting, of[Topic.STATE]))


def decided(
    progress: Sequence[Mapping[Any, Record]], ends: Mapping[Topic, Sequence[int]], head: int
) -> bool:
    """Whether every partition's cut is at the ends, and the watermark at `head`."""
    cuts: list[Any] = []
    for partition, rows in enumerate(progress):
        last = rows.get("p")
        cuts.append(last and json.loads(last.value or b"null"))
        if cuts[-1] is None or any(
            cuts[-1][topic.value] != ends[topic][partition] for topic in READ
        ):
            return False
    return watermark_of(cuts)[2] == head


def waiting(states: Mapping[Any, Record]) -> bool:
    """Whether any of these names is asked for again by itself."""
    return any(_waits(row.value or b"") for row in states.values())


def _waits(state: bytes) -> bool:
    if ABSENT in state:
        return int(json.loads(state).get("attempts", 0)) < 2
    return any(text in state for text in UNDER_WAY)


def _end(log: MemoryLog, topic: Topic, partition: int) -> int:
    return log._store.held[TopicPartition(topic, partition)].end


def _rows(log: MemoryLog, topic: Topic, partition: int) -> dict[str | None, Record]:
    return {row.key: row for row in log._store.held[TopicPartition(topic, partition)].rows}
