"""A log in memory with the gaps of Kafka's: each transaction ends with a control record.

It takes an offset in every partition that was written, and nobody ever reads it. A cut names the
offset after its last record, which is the control record's own; the end of the log, and what a new
writer names for partitions it has not written, lies beyond it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schemas.topics import Offset, Topic
from streams.log import Closing, Outgoing, Record, TopicPartition
from streams.memory_log import MemoryLog, MemoryReader, MemoryWriter, _Store
from streams.placing import placed


class GappyWriter(MemoryWriter):
    """Leaves a control record behind in what it wrote."""

    store: _Store

    async def commit(
        self, records: Sequence[Outgoing], closing: Closing | None = None
    ) -> Sequence[Offset]:
        before = self.store.ends()
        offsets = await super().commit(records, closing)
        for at, end in self.store.ends().items():
            if end != before[at]:
                self.store.held[at].end += 1
        return offsets

    async def abort(self, records: Sequence[Outgoing]) -> None:
        """What a writer leaves that was killed: offsets that nobody reads, and the marker."""
        for record in records:
            self.store.held[placed(record, self._partitions)].end += 1
        for at in {placed(record, self._partitions) for record in records}:
            self.store.held[at].end += 1


class GappyReader(MemoryReader):
    """Its position follows the last record; it passes what lies behind that with the next read."""

    def _take(self, store: _Store, max_records: int) -> list[Record]:
        records = super()._take(store, max_records)
        for record in records:
            at = TopicPartition(record.topic, record.partition)
            self._positions[at] = Offset(record.offset + 1)
        return records


class GappyLog(MemoryLog):
    """Counts the readers of documents: on Kafka each costs a consumer."""

    readers_opened = 0

    async def writer(self, writer_id: str) -> GappyWriter:
        writer = await super().writer(writer_id)
        writer.__class__ = GappyWriter
        assert isinstance(writer, GappyWriter)
        writer.store = self._store
        return writer

    async def reader(self, positions: Mapping[TopicPartition, Offset]) -> MemoryReader:
        self.readers_opened += any(at.topic is Topic.METADATA for at in positions)
        await super().reader(positions)
        return GappyReader(positions, self._turn)
