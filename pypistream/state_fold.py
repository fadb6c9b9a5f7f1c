"""What is known per name, folded from `state` for whoever only looks: small, and it reads on."""

from __future__ import annotations

from schemas import codec
from schemas.records import State, Status
from schemas.topics import Topic, partition_of
from streams.log import Log, Reader, TopicPartition

READ_RECORDS = 5_000  # of one look; a state is 150 bytes


class StateFold:
    """Status per name, and the whole state of the names that the watermark does not speak for.

    As records of a `Table` 900 000 names would take several times as much.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._reader: Reader | None = None
        self._status: dict[str, Status] = {}
        self.exceptions: dict[str, State] = {}

    async def look(self) -> None:
        """Take in everything committed up to now. Raises LogCorrupt."""
        if self._reader is None:
            self._reader = await self._log.reader(await self._log.starts(Topic.STATE))
        # Not up to the end of this moment only: a record below it may be compacted away meanwhile,
        # and the one that replaced it lies above.
        while records := await self._reader.read(READ_RECORDS, 0):
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

    def counts(self) -> dict[Status, int]:
        """Names by status."""
        counts = dict.fromkeys(Status, 0)
        for status in self._status.values():
            counts[status] += 1
        return counts


async def state_of(log: Log, name: str) -> State | None:
    """The newest state of one name; None if it was never heard of. Reads its whole partition."""
    at = TopicPartition(Topic.STATE, partition_of(name, log.partitions))
    reader = await log.reader({at: (await log.starts(Topic.STATE))[at]})
    newest: bytes | None = None
    try:
        while records := await reader.read(READ_RECORDS, 0):
            for record in records:
                if record.key == name:
                    newest = record.value
    finally:
        await reader.close()
    return None if newest is None else codec.decode(newest, State)
