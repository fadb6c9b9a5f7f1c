"""Whether a sink was away for so long that it may have missed a tombstone: none is kept for ever.

A sink that never sees the tombstone keeps the project as a ghost. The log does not show what was
compacted away, so the sink stores when it last stood at a cut (`Standing.as_of_ms`). Every record
that it has not read was appended later, and a tombstone among these is still there while less than
`TopicSpec.tombstone_ms` has passed since. A sink may be away for half of that. The other half is a
reserve for cuts that took long to arrive, for clocks that differ, and for the reading itself.
"""

from __future__ import annotations

from schemas.topics import COMPACTED, TOPICS, Offset
from sinks.sink import Positions, Standing
from streams.log import Log, TopicPartition

TOMBSTONE_MS = min(TOPICS[topic].tombstone_ms or 0 for topic in COMPACTED)
# Half of the tombstones' time: clocks differ, and compaction is no promise.
AWAY_MS_MAX = TOMBSTONE_MS // 2
FIRST_WAIT_SECONDS = 5.0  # for one committed record; without it the sink is rebuilt
UNKNOWN_MS = 0  # stored by versions without times: as long ago as possible


def away_too_long(standing: Standing, now_ms: int) -> bool:
    """Whether a tombstone after `standing` may be gone at `now_ms` (Unix milliseconds). Pure.

    A clock that was set back by less than the limit does not matter; a time further in the future
    than that cannot be trusted and counts as long ago. An empty sink misses nothing.
    """
    return standing.log_id != "" and abs(now_ms - standing.as_of_ms) > AWAY_MS_MAX


async def as_of_by_log(log: Log, positions: Positions, now_ms: int) -> int:
    """The time up to which the log itself proves that nothing was missed, else UNKNOWN_MS.

    A log that stood still while the sink was away has lost nothing, however long that was. If a
    partition ends at the sink's position, nothing was appended to it; if a record lies exactly at
    that position, all others came after it. On Kafka a transaction's control record may lie there
    instead, which looks just like a record that was compacted away. Raises LogTruncated,
    LogUnavailable.
    """
    as_of_ms = now_ms
    ends: dict[TopicPartition, Offset] = {}
    for topic in COMPACTED:
        ends.update(await log.ends(topic))
    for at, position in positions.items():
        if position < ends.get(at, position):
            as_of_ms = min(as_of_ms, await _appended_ms(log, at, position))
            if as_of_ms == UNKNOWN_MS:
                break
    return as_of_ms


async def _appended_ms(log: Log, at: TopicPartition, place: Offset) -> int:
    """When the record at exactly this place was appended, UNKNOWN_MS if there is none."""
    reader = await log.reader({at: place})
    try:
        records = await reader.read(1, FIRST_WAIT_SECONDS)
    finally:
        await reader.close()
    return records[0].timestamp_ms if records and records[0].offset == place else UNKNOWN_MS
