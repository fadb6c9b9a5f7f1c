"""Reads the changes feed from the log: in the order of serials, from any serial or time on.

`head` names, per partition, the offset before which every row up to its serial lies, and is written
in the same transaction as the rows. So the feed is one commit behind and needs nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import NamedTuple, Self

from schemas import codec
from schemas.records import ChangelogEntry, Config, EventSource, Head
from schemas.topics import Offset, Topic
from sinks.changes.order import Change, ChangesOrder
from streams.log import Log, Reader, Record, TopicPartition
from streams.progress import CONFIG_KEY, HEAD_KEY
from streams.seeking import DISPLACED_OFFSETS_MAX, is_late, seek
from streams.watching import TableWatch, up_to

READ_RECORDS = 500  # of one read: 5 ms in which nothing else is answered


class Place(NamedTuple):
    """Everything up to `serial` was returned. `positions`: where to read on, None = unknown."""

    serial: int
    positions: Mapping[TopicPartition, Offset] | None = None


class Known(NamedTuple):
    """The log's id and filter, and how far its journal was read."""

    config: Config
    head: Head


class HeadWatch:
    """Follows config and head; used as `async with`. Raises LogCorrupt, LogUnavailable."""

    def __init__(self, log: Log) -> None:
        self._at = TopicPartition(Topic.PROGRESS, log.partitions)
        self._watch = TableWatch(log, [self._at])

    async def __aenter__(self) -> Self:
        await self._watch.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._watch.__aexit__(*raised)

    @property
    def known(self) -> Known | None:
        """As of the last look; None while the journal has not been looked at."""
        config, head = self.config, self._watch.rows[self._at].get(HEAD_KEY)
        if config is None or head is None or head.value is None:
            return None
        return Known(config, codec.decode(head.value, Head))

    @property
    def config(self) -> Config | None:
        """The log's first record; None while it has not been founded."""
        config = self._watch.rows[self._at].get(CONFIG_KEY)
        if config is None or config.value is None:
            return None
        return codec.decode(config.value, Config)

    async def look(self, wait_seconds: float) -> Known | None:
        """Everything committed up to now; waits at most so long for something new."""
        await self._watch.look(wait_seconds)
        return self.known


class ChangesReader:
    """Reads the feed from a place on; used as `async with`. Not for several tasks at once."""

    def __init__(self, log: Log, head: Head, place: Place) -> None:
        self._log = log
        self._head = head
        self._begun = place
        self._order = ChangesOrder(log.partitions, place.serial)
        self._reader: Reader | None = None
        self._ends: dict[TopicPartition, Offset] = {}

    async def __aenter__(self) -> Self:
        positions = self._begun.positions
        if positions is None:
            positions = await positions_after(self._log, self._head, self._begun.serial)
        self._reader = await self._log.reader(positions)
        self._ends = dict(positions)
        return self

    async def __aexit__(self, *raised: object) -> None:
        if self._reader is not None:
            await self._reader.close()

    @property
    def place(self) -> Place:
        """Where another reader would continue after what this one has returned.

        That reader reads again what waits here, so hand over only after `serial` has risen:
        otherwise repeated handovers may never make progress.
        """
        assert self._reader is not None
        read = {at: self._reader.position(at) for at in self._ends}
        return Place(self._order.serial, self._order.again_from(read))

    @property
    def serial(self) -> int:
        """Everything up to this serial was returned."""
        return self._order.serial

    async def up_to(self, head: Head) -> AsyncGenerator[list[Change], None]:
        """All changes up to the head, piece by piece, including pieces without a change.

        If it is left in the middle the reader must not be used again; `place` is valid. Raises
        LogCorrupt, LogUnavailable.
        """
        assert self._reader is not None
        async for records in up_to(self._reader, _ends(head), READ_RECORDS):
            for record in records:
                self._order.take(record)
            yield self._order.ready()
        self._order.settle(head.serial)
        yield self._order.ready()


async def positions_after(log: Log, head: Head, serial: int) -> dict[TopicPartition, Offset]:
    """Offsets with every change above `serial`, up to the head, at or after them."""
    spans = await _spans(log, head)
    if serial <= head.base:
        return {at: span[0] for at, span in spans.items()}
    return _earlier(await seek(log, spans, serial), spans)


async def serial_before(log: Log, head: Head, unix_seconds: int) -> int:
    """The serial after which the feed is to be read from a time on.

    The first change in the feed's order that happened at that time or later comes first; if there
    is none, nothing up to the head comes. Journal times rise but for seconds. Raises LogCorrupt.
    """
    spans = await _spans(log, head)
    places = _earlier(await seek(log, spans, unix_seconds - 1, _time_of), spans)
    first: dict[TopicPartition, int] = {}
    enough = {at: span[1] for at, span in spans.items()}  # what follows has higher serials
    reader = await log.reader(places)
    try:
        async for records in up_to(reader, _ends(head), READ_RECORDS):
            for record in records:
                at, entry = TopicPartition(record.topic, record.partition), _entry_of(record)
                if entry is not None and entry.time >= unix_seconds:
                    first[at] = min(entry.serial, first.get(at, entry.serial))
                    ahead = DISPLACED_OFFSETS_MAX if entry.source is EventSource.INDEX else 0
                    enough[at] = min(enough[at], Offset(record.offset + ahead))
            if all(reader.position(at) >= enough[at] for at in spans):
                break
    finally:
        await reader.close()
    return min([head.serial, *(serial - 1 for serial in first.values())])


async def reaches_back(log: Log, head: Head, unix_seconds: int, found: int) -> bool:
    """Whether everything since that time is held. `found`: the result of `serial_before`.

    The time of a row that is not held is not known: where none that is held is as old as that,
    some may be missing. Raises LogCorrupt.
    """
    if head.base == 0 or unix_seconds > head.time:
        return True
    return found > await serial_before(log, head, 0)


def _time_of(record: Record) -> int | None:
    entry = _entry_of(record)
    return None if entry is None else entry.time


def _entry_of(record: Record) -> ChangelogEntry | None:
    if record.key is None or record.value is None or is_late(record):
        return None
    return codec.decode(record.value, ChangelogEntry)


def _ends(head: Head) -> dict[TopicPartition, Offset]:
    return {
        TopicPartition(Topic.CHANGELOG, partition): Offset(offset)
        for partition, offset in enumerate(head.changelog)
    }


async def _spans(log: Log, head: Head) -> dict[TopicPartition, tuple[Offset, Offset]]:
    starts = await log.starts(Topic.CHANGELOG)
    return {at: (min(starts[at], end), end) for at, end in _ends(head).items()}


def _earlier(
    places: Mapping[TopicPartition, Offset],
    spans: Mapping[TopicPartition, tuple[Offset, Offset]],
) -> dict[TopicPartition, Offset]:
    """Positions a little earlier, because of displaced rows: see `streams.seeking`."""
    return {
        at: Offset(max(place - DISPLACED_OFFSETS_MAX, spans[at][0])) for at, place in places.items()
    }
