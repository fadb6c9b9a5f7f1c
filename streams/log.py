"""The log port, in Kafka's terms. Only `pypistream.wiring` knows which adapter is in use.

Order     Records of one partition have rising offsets, are read in that order, and stay in it.
          An offset is never used twice, not even after a purge of a partition's last row.
Atomic    A transaction's records become visible together or not at all, and are visible when
          `commit` returns; readers see committed records only. `append` (no writer) is as atomic
          on the embedded log; on Kafka an error may leave a part of it written.
Fencing   `writer(id)` takes the id: the predecessor's open transaction is aborted and its next
          `commit` raises WriterFenced. What the new writer reads after that is complete.
Resume    A position names the next record to read. The log keeps no positions: they lie in
          `progress` or with the sink, in the same transaction as the effect.
Compaction  cleanup=compact keeps at least the last record per key and the last of a partition;
          tombstones go after `TopicSpec.tombstone_ms`. Offsets keep their places, gaps are normal.
Errors    WriterFenced, LogFull: nothing was written. LogCorrupt: a record read fails its checksum.
          LogTruncated: a reader's position lies below the first offset kept (cleanup=delete).
          Any other failure of the storage is Retriable (UpstreamUnavailable is not used here):
          LogUnavailable. After an error or a cancel a Writer is thrown away and taken anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from schemas.errors import Retriable
from schemas.topics import Offset, Topic

Headers = tuple[tuple[str, bytes], ...]


class LogUnavailable(Retriable):
    """The log's storage did not answer in time; whether the request was carried out is unknown."""


class TopicPartition(NamedTuple):
    """One ordered sequence of records."""

    topic: Topic
    partition: int


class Outgoing(NamedTuple):
    """A record to write. `partition` None = murmur2 of the key; `value` None = tombstone."""

    topic: Topic
    key: str | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


class Record(NamedTuple):
    """A record as read. `timestamp_ms` is the append time."""

    topic: Topic
    partition: int
    offset: Offset
    timestamp_ms: int
    key: str | None
    value: bytes | None
    headers: Headers

    def header(self, name: str) -> str | None:
        """Value of the first header of that name, as text."""
        for key, value in self.headers:
            if key == name:
                return value.decode("utf-8", "replace")  # any process may write to some topics
        return None


class Table(NamedTuple):
    """A compacted partition, folded to the last record per key; tombstones are left out.

    `next_offset` follows the last record that was folded: a reader that starts there misses none.
    """

    rows: Mapping[str, Record]  # large tables may make a record anew at each access
    next_offset: Offset


NextOffsets = Mapping[TopicPartition, Offset]
Closing = Callable[[NextOffsets], Sequence[Outgoing]]
"""Given the next offset of every partition written by this writer so far (this transaction
included), make the transaction's last records: how a cut names the offsets of its own effects."""


Changing = Callable[[Record], bytes | None]
"""Given a record, make the value that it is to have; its own, if nothing changes."""


class Writer(Protocol):
    """The one holder of a writer id; one transaction at a time."""

    async def commit(
        self, records: Sequence[Outgoing], closing: Closing | None = None
    ) -> Sequence[Offset]:
        """Write `records`, then what `closing` makes of their offsets, as one transaction.

        Returns the offsets of `records` in their order. `closing` sees, for partitions this writer
        has not written yet, the log's end as it was when the id was taken.
        """
        ...

    async def close(self) -> None:
        """Give the id up. Idempotent; never raises."""
        ...


class Reader(Protocol):
    """Reads some partitions from given positions on; committed records only."""

    async def read(self, max_records: int, wait_seconds: float) -> list[Record]:
        """Up to `max_records` records, each partition in order; [] if none came within the wait."""
        ...

    def position(self, at: TopicPartition) -> Offset:
        """Next offset to read; moves past aborted and compacted ones too: compare positions."""
        ...

    async def close(self) -> None:
        """Release what the reader holds. Idempotent; never raises."""
        ...


class Log(Protocol):
    """One log of N = `partitions`; see the module's docstring for its rules."""

    @property
    def partitions(self) -> int:
        """N."""
        ...

    async def writer(self, writer_id: str) -> Writer:
        """Take the id (see Fencing)."""
        ...

    async def append(self, records: Sequence[Outgoing]) -> Sequence[Offset]:
        """Write without fencing, which any process may do: asks, holds, requests."""
        ...

    async def reader(self, positions: Mapping[TopicPartition, Offset]) -> Reader:
        """A reader over exactly these partitions; LogTruncated for a position below `start`."""
        ...

    async def table(self, at: TopicPartition) -> Table:
        """Fold a compacted partition, consistently (all of one transaction or nothing of it)."""
        ...

    async def ends(self, topic: Topic) -> Mapping[TopicPartition, Offset]:
        """Offset after the last committed record, per partition."""
        ...

    async def starts(self, topic: Topic) -> Mapping[TopicPartition, Offset]:
        """First offset still readable, per partition."""
        ...

    async def clean(self, now_ms: int) -> int:
        """A bounded piece of compaction and retention; how many records went.

        Kafka does this itself.
        """
        ...

    async def purge(self, letter: Changing) -> int:
        """Compact at once, whatever the age: nothing that was replaced stays in the storage.

        Dead letters are replaced by what `letter` makes of their values, at the same offsets.
        Returns how many records were removed or changed. On Kafka this is impossible: it returns 0,
        and the topics' settings decide when records go.
        """
        ...

    async def close(self) -> None:
        """Close readers, writers and storage. Idempotent; never raises."""
        ...
