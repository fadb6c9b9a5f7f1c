"""The state of every name, folded from the topic `state` for readers: small, and resumable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from schemas import codec
from schemas.coverage import coverage
from schemas.names import NormalizedName
from schemas.records import State, Status
from schemas.topics import Offset, Topic, partition_of
from streams.log import Log, Reader, TopicPartition
from streams.watching import up_to_now


class StateFold:
    """The status of every name, and the whole state of the watermark's exceptions.

    As records of a `Table` 900 000 names would take several times as much.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._reader: Reader | None = None
        self._places: Mapping[TopicPartition, Offset] = {}
        self._status: dict[str, Status] = {}
        self.exceptions: dict[str, State] = {}

    async def look(self) -> None:
        """Read everything committed up to now. Raises LogCorrupt."""
        if self._reader is None:
            self._places = await self._log.starts(Topic.STATE)
            self._reader = await self._log.reader(self._places)
        async for records in up_to_now(self._log, self._reader, self._places):
            for record in records:
                if record.key is not None:
                    self._put(record.key, record.value)

    def _put(self, name: str, value: bytes | None) -> None:
        self.exceptions.pop(name, None)
        if value is None:
            self._status.pop(name, None)
            return
        state = codec.decode(value, State)
        self._status[name] = state.status
        if state.exception:
            self.exceptions[name] = state

    def coverage(self) -> float | None:
        """Percent of the names that are no exceptions; None if there are no names."""
        return coverage(len(self._status), len(self.exceptions))

    def excepted(self) -> dict[str, int]:
        """Exceptions by status, as the dump's manifest has them."""
        counted = Counter(state.status.value for state in self.exceptions.values())
        return dict(sorted(counted.items()))

    def counts(self) -> dict[Status, int]:
        """Names by status."""
        counts = dict.fromkeys(Status, 0)
        for status in self._status.values():
            counts[status] += 1
        return counts


async def states_of(
    log: Log, names: Collection[NormalizedName]
) -> dict[NormalizedName, State | None]:
    """The newest state of some names, None for unknown ones. Reads their partitions as a whole."""
    starts = await log.starts(Topic.STATE)
    wanted = {TopicPartition(Topic.STATE, partition_of(name, log.partitions)) for name in names}
    newest: dict[NormalizedName, bytes | None] = dict.fromkeys(names)
    reader = await log.reader({at: starts[at] for at in wanted})
    try:
        async for records in up_to_now(log, reader, wanted):
            for record in records:
                if record.key in newest:
                    newest[NormalizedName(record.key)] = record.value
    finally:
        await reader.close()
    return {name: codec.decode(raw, State) if raw else None for name, raw in newest.items()}
