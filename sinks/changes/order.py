"""Brings the changes of all partitions into one order, that of their serials. Pure.

Readers may get a row at different times, but always in the same sequence. A row is returned once no
lower serial can follow: in each partition a journal row proves that for its own serial, a marker
for the marker's, and `settle` for a head whose records were all read. Rows of an index prove
nothing: a few of them may be ahead of the head, and wait here for it.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import NamedTuple

from schemas import codec
from schemas.records import ChangelogEntry, EventSource, Marker
from schemas.topics import Offset, Topic
from streams.log import Record, TopicPartition
from streams.seeking import is_late


class Change(NamedTuple):
    """One change. `project` is the normalised name; `last`: no other one has the same serial.

    Upstream uses a serial only once. Should two projects share one all the same, no serial names
    the position between them, so no reader may stop there.
    """

    serial: int
    project: str
    entry: ChangelogEntry
    last: bool


class _Row(NamedTuple):
    """In the order of the feed. Of two rows of a project with one serial the journal's is first."""

    serial: int
    by_index: bool
    partition: int
    offset: int
    project: str
    entry: ChangelogEntry


class ChangesOrder:
    """Takes the records of all partitions, each in its order; returns changes by serial.

    `above`: only rows with a higher serial are wanted. Memory: the rows that are not yet given,
    which are as many as the partitions were read unevenly.
    """

    def __init__(self, partitions: int, above: int) -> None:
        self.serial = above
        self._read = [above] * partitions  # no row up to here can come in that partition
        self._waiting: list[_Row] = []

    def take(self, record: Record) -> None:
        """Take one record of `changelog`. Raises LogCorrupt."""
        if record.value is None or is_late(record):
            return
        if record.key is None:
            serial = codec.decode(record.value, Marker).serial
        else:
            entry = codec.decode(record.value, ChangelogEntry)
            by_index = entry.source is EventSource.INDEX
            if entry.serial > self.serial:
                row = _Row(
                    entry.serial, by_index, record.partition, record.offset, record.key, entry
                )
                heapq.heappush(self._waiting, row)
            if by_index:
                return
            serial = entry.serial
        self._read[record.partition] = max(self._read[record.partition], serial)

    def settle(self, serial: int) -> None:
        """Note that every row up to `serial` was taken: everything before that head was read."""
        self._read = [max(serial, read) for read in self._read]

    def ready(self) -> list[Change]:
        """The changes that can be returned now, in order."""
        self.serial = max(self.serial, min(self._read))
        changes: list[Change] = []
        while self._waiting and self._waiting[0].serial <= self.serial:
            row = heapq.heappop(self._waiting)
            before = changes[-1] if changes else None
            if before is not None and before.serial == row.serial:
                if before.project == row.project:
                    continue  # what an index showed ahead of itself, and the journal's own row
                changes[-1] = before._replace(last=False)
            changes.append(Change(row.serial, row.project, row.entry, last=True))
        return changes

    def again_from(self, read: Mapping[TopicPartition, Offset]) -> dict[TopicPartition, Offset]:
        """Where to begin in order to continue after `serial`, having read up to `read`."""
        first = dict(read)
        for row in self._waiting:
            at = TopicPartition(Topic.CHANGELOG, row.partition)
            first[at] = Offset(min(row.offset, first[at]))
        return first
