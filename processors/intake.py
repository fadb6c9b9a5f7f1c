"""Records in: what one partition of `changelog` and `refetch` holds, put on the agenda.

The reading pace is the agenda's: no more entries are taken than its window has room for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from processors.agenda import Agenda
from processors.marks import Marks
from schemas import codec
from schemas.errors import InvalidName, LogTruncated
from schemas.filters import kept
from schemas.names import NormalizedName, normalize
from schemas.records import Ask, BackfillMarker, ChangelogEntry, Filter, Marker, State
from schemas.topics import Topic
from streams.clock import Clock
from streams.log import Log, Reader, Record, TopicPartition

READ_RECORDS_MAX = 500  # of one read; the window is the real bound
READ_WAIT_SECONDS = 1.0  # how long one read waits for records


class Intake:
    """Reads both topics of one partition for ever. `on_news` is called when the agenda changed."""

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
        self.settled: dict[NormalizedName, State] = {}
        """States that an ask settled without a fetch, for the next transaction."""

    def room_again(self) -> None:
        """Entries were decided: there may be room in the window."""
        self._room.set()

    async def read(self, at: TopicPartition) -> None:
        """Take records of one topic until cancelled. Raises LogTruncated for lost events."""
        reader = await self._reader(at)
        position = self._agenda.positions[at.topic]
        take = self._take_changelog if at.topic is Topic.CHANGELOG else self._take_refetch
        while True:
            if self._agenda.room(at.topic) == 0:
                self.on_news()  # a full window is a reason to write what waits
            while (room := self._agenda.room(at.topic)) == 0:
                self._room.clear()
                await self._room.wait()
            records = await reader.read(min(room, READ_RECORDS_MAX), READ_WAIT_SECONDS)
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
                raise  # events were lost: a new bootstrap, not a guess
            # Old asks are gone by retention: a backfill that owed them proves nothing any more.
            self._marks.void_backfill()
            position.read_to = (await self._log.starts(at.topic))[at]
            reader = await self._log.reader({at: position.read_to})
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
        if name := self._ours(record.key):
            self._agenda.take_entry(record.offset, name, entry, self._clock.now_ms())

    def _take_refetch(self, record: Record) -> None:
        if record.value is None:
            return
        if record.key is None:
            if record.header("ce_type") == codec.BACKFILL_TYPE:
                self._marks.backfill(record.offset, codec.decode(record.value, BackfillMarker))
            return
        ask = codec.decode(record.value, Ask)
        if name := self._ours(record.key):
            settled = self._agenda.take_ask(record.offset, name, ask, self._clock.now_ms())
            if settled is not None:
                self.settled[name] = settled

    def _ours(self, key: str) -> NormalizedName | None:
        """The key as a name, if it is one and the filter lets it through."""
        try:
            name = normalize(key)
        except InvalidName:
            return None  # several writers are allowed on `refetch`: what is no name owes nothing
        return name if kept(name, self._rule) else None
