"""Records in: reads one partition of `changelog` and `refetch`, and puts them on the agenda.

The reading pace is the agenda's: no more entries are taken than its window has room for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from processors.agenda import Agenda
from processors.marks import Marks
from processors.publication import refused_ask
from schemas import codec
from schemas.errors import InvalidName, LogCorrupt, LogTruncated
from schemas.filters import kept
from schemas.names import NormalizedName, normalize
from schemas.records import SERIAL_MAX, Ask, BackfillMarker, ChangelogEntry, Filter, Marker
from schemas.topics import Offset, Topic, partition_of
from streams.clock import Clock
from streams.log import Log, Outgoing, Reader, Record, TopicPartition

READ_RECORDS_MAX = 500  # of one read; the window is the real bound
READ_WAIT_SECONDS = 1.0  # how long one read waits for records


class Intake:
    """Reads both topics of one partition. `on_news` is called whenever the agenda has changed."""

    def __init__(self, log: Log, clock: Clock, agenda: Agenda, marks: Marks, rule: Filter) -> None:
        self._log = log
        self._clock = clock
        self._agenda = agenda
        self._marks = marks
        self._rule = rule
        self.on_news: Callable[[], object] = bool
        self._readers: list[Reader] = []
        self._room = asyncio.Event()
        self.entries = 0
        self._refused: list[tuple[Offset, Outgoing]] = []

    def room_again(self) -> None:
        """Entries were decided: there may be room in the window."""
        self._room.set()

    @property
    def refused(self) -> int:
        """How many records were no valid asks, and wait for their dead letters to be written."""
        return len(self._refused)

    def refused_written(self) -> list[Outgoing]:
        """Their dead letters, for the transaction that is built now."""
        position = self._agenda.positions[Topic.REFETCH]
        for offset, _ in self._refused:
            position.close(offset)
        letters = [letter for _, letter in self._refused]
        self._refused.clear()
        return letters

    async def read(self, at: TopicPartition) -> None:
        """Take records of one topic until cancelled. Raises LogTruncated for lost events."""
        reader = await self._reader(at)
        position = self._agenda.positions[at.topic]
        take = self._take_changelog if at.topic is Topic.CHANGELOG else self._take_refetch
        while True:
            if self._agenda.room(at.topic) == 0:
                self.on_news()  # with a full window, what waits has to be written
            while (room := self._agenda.room(at.topic)) == 0:
                self._room.clear()
                await self._room.wait()
            try:
                records = await reader.read(min(room, READ_RECORDS_MAX), READ_WAIT_SECONDS)
            except LogTruncated:
                if at.topic is Topic.CHANGELOG:
                    raise  # as below
                reader = await self._behind_lost_asks(at)
                continue
            for record in records:
                take(record)
            position.read_to = reader.position(at)
            if records:
                self.on_news()

    async def close(self) -> None:
        """Close the readers."""
        for reader in self._readers:
            await reader.close()

    async def _reader(self, at: TopicPartition) -> Reader:
        position = self._agenda.positions[at.topic]
        try:
            reader = await self._log.reader({at: position.decided})
        except LogTruncated:
            if at.topic is Topic.CHANGELOG:
                raise  # events were lost: the log has to be founded anew, nothing is guessed
            return await self._behind_lost_asks(at)
        self._readers.append(reader)
        return reader

    async def _behind_lost_asks(self, at: TopicPartition) -> Reader:
        """Begin where `refetch` does now: old asks were removed by retention.

        A backfill that needed them proves nothing any more.
        """
        self._marks.void_backfill()
        start = (await self._log.starts(at.topic))[at]
        self._agenda.positions[at.topic].read_to = start
        reader = await self._log.reader({at: start})
        self._readers.append(reader)
        return reader

    def _take_changelog(self, record: Record) -> None:
        if record.value is None or record.header("late") == "true":
            return
        if record.key is None:
            if record.header("ce_type") == codec.MARKER_TYPE:
                self._marks.marker(record.offset, codec.decode(record.value, Marker))
            return
        entry = codec.decode(record.value, ChangelogEntry)
        self.entries += 1
        name = normalize(record.key)
        if kept(name, self._rule):
            self._agenda.take_entry(record.offset, name, entry, self._clock.now_ms())

    def _take_refetch(self, record: Record) -> None:
        # Any process may write here: what is no ask becomes a dead letter, and never ends the
        # worker.
        try:
            self._ask_or_mark(record)
        except (InvalidName, LogCorrupt) as error:
            self._agenda.positions[Topic.REFETCH].open(record.offset)
            letter = refused_ask(record, str(error), self._clock.now_ms())
            self._refused.append((record.offset, letter))

    def _ask_or_mark(self, record: Record) -> None:
        if record.value is None:
            return
        if record.key is None:
            if record.header("ce_type") == codec.BACKFILL_TYPE:
                self._marks.backfill(record.offset, codec.decode(record.value, BackfillMarker))
            return
        name, ask = self._checked(record, codec.decode(record.value, Ask))
        if kept(name, self._rule):
            self._agenda.take_ask(record.offset, name, ask, self._clock.now_ms())

    def _checked(self, record: Record, ask: Ask) -> tuple[NormalizedName, Ask]:
        """The ask's name and the ask; raises InvalidName for what no reconcile would write."""
        name = normalize(record.key or "")
        if partition_of(name, self._log.partitions) != record.partition:
            raise InvalidName(f"{name} belongs to another partition")  # and to its worker alone
        if ask.name and normalize(ask.name) != name:
            raise InvalidName(f"an ask under {name} names another project")
        if not (0 <= ask.serial <= SERIAL_MAX and 0 <= ask.map_serial <= SERIAL_MAX):
            raise InvalidName(f"the ask for {name} names serials that are none")
        return name, ask
