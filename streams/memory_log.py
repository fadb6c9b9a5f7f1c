"""The log in memory: for tests and simulations, and the simplest honest implementation of the port.

It lives as long as the object. `another()` returns a second handle on the same records, like that
of a second process: closing or losing one does not affect the other.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

from schemas.errors import LogTruncated, WriterFenced
from schemas.topics import COMPACTED, TOPICS, Offset, Topic
from streams.bell import Bell, heard_within
from streams.cleaning import COMPACTION_LAG_MS, limits
from streams.clock import unix_ms
from streams.log import (
    Changing,
    Closing,
    LogUnavailable,
    Outgoing,
    Record,
    Table,
    TopicPartition,
)
from streams.placing import every_partition, placed


@dataclass
class _Partition:
    """`rows` by offset; those below `compacted_to` have removed what they replaced."""

    rows: list[Record] = field(default_factory=list)
    start: int = 0
    end: int = 0
    compacted_to: int = 0

    def place(self, offset: int) -> int:
        """Index of the first row at or after the offset."""
        return bisect_left(self.rows, offset, key=lambda row: row.offset)


class _Store:
    """The records that all handles of one log share."""

    def __init__(self, partitions: int, now_ms: Callable[[], int]) -> None:
        self.partitions = partitions
        self.now_ms = now_ms
        self.held = {at: _Partition() for at in every_partition(partitions)}
        self.of_topic: dict[Topic, list[tuple[TopicPartition, _Partition]]] = {}
        for at, held in self.held.items():
            self.of_topic.setdefault(at.topic, []).append((at, held))
        self.epochs: dict[str, int] = {}
        self.bell = Bell()

    def ends(self) -> dict[TopicPartition, Offset]:
        return {at: Offset(held.end) for at, held in self.held.items()}

    def write(self, records: Sequence[Outgoing], places: Sequence[TopicPartition]) -> list[Offset]:
        """Append without further checks: nothing in here can fail half-way."""
        timestamp_ms = self.now_ms()
        offsets = []
        for record, at in zip(records, places, strict=True):
            held = self.held[at]
            offset = Offset(held.end)
            held.end += 1
            held.rows.append(
                Record(*at, offset, timestamp_ms, record.key, record.value, record.headers)
            )
            offsets.append(offset)
        return offsets


_Turn = Callable[[], Awaitable[_Store]]
"""Lets other tasks run, as every real log does; raises LogUnavailable once the handle is closed."""


class MemoryLog:
    """See `streams.log.Log`."""

    def __init__(
        self,
        partitions: int = 1,
        *,
        now_ms: Callable[[], int] = unix_ms,
        _store: _Store | None = None,
    ) -> None:
        self._store = _store or _Store(partitions, now_ms)
        self._open = True

    def another(self) -> Self:
        """A second handle on the same records."""
        return type(self)(_store=self._store)

    @property
    def partitions(self) -> int:
        """N."""
        return self._store.partitions

    async def _turn(self) -> _Store:
        await asyncio.sleep(0)
        if not self._open:
            raise LogUnavailable("the log has been closed")
        return self._store

    async def writer(self, writer_id: str) -> MemoryWriter:
        """Take the id."""
        store = await self._turn()
        store.epochs[writer_id] = store.epochs.get(writer_id, 0) + 1
        return MemoryWriter(writer_id, store, self._turn)

    async def append(self, records: Sequence[Outgoing]) -> Sequence[Offset]:
        """Plain write."""
        store = await self._turn()
        places = [placed(record, store.partitions) for record in records]
        offsets = store.write(records, places)
        store.bell.ring(places)
        return offsets

    async def reader(self, positions: Mapping[TopicPartition, Offset]) -> MemoryReader:
        """A reader over exactly these partitions; raises LogTruncated."""
        store = await self._turn()
        for at, position in positions.items():
            _check_position(at, position, store.held[at])
        return MemoryReader(positions, self._turn)

    async def table(self, at: TopicPartition) -> Table:
        """Fold a compacted partition."""
        held = (await self._turn()).held[at]
        if TOPICS[at.topic].cleanup != "compact":
            raise ValueError(f"{at.topic} is no table: it is not compacted")
        rows: dict[str, Record] = {}
        for record in held.rows:
            key = record.key or ""
            if record.value is None:
                rows.pop(key, None)
            else:
                rows[key] = record
        return Table(rows, Offset(held.end))

    async def ends(self, topic: Topic) -> Mapping[TopicPartition, Offset]:
        """Offset after the last committed record."""
        return {at: Offset(held.end) for at, held in (await self._turn()).of_topic[topic]}

    async def starts(self, topic: Topic) -> Mapping[TopicPartition, Offset]:
        """First offset still readable."""
        return {at: Offset(held.start) for at, held in (await self._turn()).of_topic[topic]}

    async def clean(self, now_ms: int) -> int:
        """Compaction and retention, all of it at once."""
        store = await self._turn()
        return sum(_clean(at.topic, held, now_ms) for at, held in store.held.items())

    async def purge(self, letter: Changing) -> int:
        """Compaction whatever the age, and other values for dead letters."""
        store = await self._turn()
        changed = 0
        for at, held in store.held.items():
            if at.topic in COMPACTED:
                changed += _clean(at.topic, held, store.now_ms() + COMPACTION_LAG_MS)
            elif at.topic is Topic.DEAD_LETTER:
                rows = [row._replace(value=letter(row)) for row in held.rows]
                changed += sum(row != old for row, old in zip(rows, held.rows, strict=True))
                held.rows = rows
        return changed

    async def close(self) -> None:
        """Close this handle."""
        self._open = False
        self._store.bell.ring()


class MemoryWriter:
    """See `streams.log.Writer`."""

    def __init__(self, writer_id: str, store: _Store, turn: _Turn) -> None:
        self._id = writer_id
        self._partitions = store.partitions
        self._turn = turn
        self._epoch = store.epochs[writer_id]
        self._next = store.ends()
        self._spent = False

    async def commit(
        self, records: Sequence[Outgoing], closing: Closing | None = None
    ) -> Sequence[Offset]:
        """One transaction."""
        places = [placed(record, self._partitions) for record in records]
        if self._spent:
            raise WriterFenced(f"the writer id {self._id!r} was given up here; take it anew")
        self._spent = True
        store = await self._turn()
        if store.epochs[self._id] != self._epoch:
            raise WriterFenced(f"another process has taken the writer id {self._id!r}")
        ahead = dict(self._next)
        expected = {at: store.held[at].end for at in places}
        for at in places:
            expected[at] += 1
            ahead[at] = Offset(expected[at])
        last = list(closing(MappingProxyType(ahead))) if closing else []
        last_places = [placed(record, self._partitions) for record in last]
        offsets = store.write(records, places)
        store.write(last, last_places)
        self._next.update({at: Offset(store.held[at].end) for at in (*places, *last_places)})
        self._spent = False
        store.bell.ring((*places, *last_places))
        return offsets

    async def close(self) -> None:
        """Give the id up."""
        self._spent = True


class MemoryReader:
    """See `streams.log.Reader`."""

    def __init__(self, positions: Mapping[TopicPartition, Offset], turn: _Turn) -> None:
        self._turn = turn
        self._positions = dict(positions)
        self._first = 0  # which partition is served first, so that none starves

    def position(self, at: TopicPartition) -> Offset:
        """Next offset to read."""
        return self._positions[at]

    async def read(self, max_records: int, wait_seconds: float) -> list[Record]:
        """Up to `max_records` records, in the order of each partition."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_seconds
        store = await self._turn()
        with store.bell.listening(self._positions) as event:
            while True:
                event.clear()
                if records := self._take(store, max_records):
                    return records
                if not await heard_within(event, deadline - loop.time()):
                    return []
                await self._turn()

    def _take(self, store: _Store, max_records: int) -> list[Record]:
        records: list[Record] = []
        order = list(self._positions)
        first = self._first
        for at, position in self._positions.items():
            _check_position(at, position, store.held[at])
        for index in range(first, first + len(order)):
            at = order[index % len(order)]
            held = store.held[at]
            begin = held.place(self._positions[at])
            taken = held.rows[begin : begin + max_records - len(records)]
            records += taken
            if begin + len(taken) == len(held.rows):
                self._positions[at] = Offset(held.end)
            elif taken:
                self._positions[at] = Offset(taken[-1].offset + 1)
            if len(records) == max_records:
                self._first = (index + 1) % len(order)
                break
        return records

    async def close(self) -> None:
        """Nothing is held."""


def _check_position(at: TopicPartition, position: Offset, held: _Partition) -> None:
    if not held.start <= position <= held.end:
        raise LogTruncated(
            f"{at.topic}/{at.partition}: position {position} is not within"
            f" [{held.start}, {held.end}], which is what the log has",
            hint="pypistream rebuild",
        )


def _clean(topic: Topic, held: _Partition, now_ms: int) -> int:
    """Drop what may go. A partition's last row stays, so that offsets are never used twice."""
    limit = limits(topic, now_ms)
    before = len(held.rows)
    if TOPICS[topic].cleanup == "delete":
        keep = 0
        while limit.any is not None and keep < before - 1:
            if held.rows[keep].timestamp_ms > limit.any:
                break
            keep += 1
        del held.rows[:keep]
        if held.rows:
            held.start = held.rows[0].offset
        return keep
    bound = held.place(held.compacted_to)
    while bound < before and held.rows[bound].timestamp_ms <= (limit.superseding or 0):
        bound += 1
    newest = {row.key: row.offset for row in held.rows[:bound]}

    def stays(row: Record) -> bool:
        if row.offset > held.rows[bound - 1].offset or row.offset == held.end - 1:
            return True
        if row.offset != newest[row.key]:
            return False
        return row.value is not None or row.timestamp_ms > (limit.tombstone or 0)

    if bound:
        held.compacted_to = held.rows[bound - 1].offset + 1
        held.rows = [row for row in held.rows if stays(row)]
    return before - len(held.rows)
