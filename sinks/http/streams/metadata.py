"""Where the stream of documents comes from: positions are those of `metadata`'s partitions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import structlog

from schemas.errors import Retriable
from schemas.records import Config
from schemas.topics import Offset, Topic
from sinks.away import away_too_long
from sinks.changes.feed import HeadWatch
from sinks.http.streams.cursor import Cursor, text_of
from sinks.http.streams.frames import document_frame, mark_frame, with_id
from sinks.http.streams.source import Event, News
from sinks.sink import Standing
from streams.clock import unix_ms
from streams.log import Log, Record, TopicPartition
from streams.watching import up_to

GATHER_SECONDS = 0.1  # between two writes to all clients: what comes within it goes out in one
LOOK_SECONDS = 1.0  # of one wait for a record, which ends it at once
RETRY_SECONDS = 1.0  # after a log that did not answer
READ_RECORDS = 200  # of one read: 3 KB each, so this is less than a megabyte, but for large ones
RECENT_OFFSETS = 100  # of each partition: who comes back after a restart needs no log

Positions = tuple[int, ...]

log_ = structlog.get_logger("streams")


class MetadataSource:
    """See `sinks.http.streams.source.Source`. `now_ms`: Unix milliseconds."""

    def __init__(self, log: Log, now_ms: Callable[[], int] = unix_ms) -> None:
        self.config: Config | None = None
        self._log = log
        self._now_ms = now_ms
        self._positions: Positions = ()

    async def begin(self) -> tuple[Positions, Positions]:
        """A little before the ends, once the log was founded."""
        while True:
            try:
                async with HeadWatch(self._log) as heads:
                    while (config := heads.config) is None:
                        await heads.look(LOOK_SECONDS)
                starts = await self.starts()
                ends = await self.ends()
            except Retriable as error:
                await _waited(error)
                continue
            self.config = config
            self._positions = tuple(
                max(start, end - RECENT_OFFSETS) for start, end in zip(starts, ends, strict=True)
            )
            return self._positions, ends

    async def starts(self) -> Positions:
        """Where the present state begins. Raises LogUnavailable."""
        starts = await self._log.starts(Topic.METADATA)
        return tuple(starts[at] for at in sorted(starts))

    async def ends(self) -> Positions:
        """After what is committed now. Raises LogUnavailable."""
        ends = await self._log.ends(Topic.METADATA)
        return tuple(ends[at] for at in sorted(ends))

    async def trusted(self, cursor: Cursor) -> str:
        """Why a client with this cursor may have missed a removal; "" = it has not.

        Raises LogUnavailable.
        """
        assert self.config is not None
        if cursor.log_id != self.config.log_id or len(cursor.positions) != self._log.partitions:
            return "this is another log"
        spans = zip(cursor.positions, await self.starts(), await self.ends(), strict=True)
        if not all(start <= position <= end for position, start, end in spans):
            return "the log does not have that place"
        standing = Standing(cursor.log_id, {}, cursor.as_of * 1000)
        if away_too_long(standing, self._now_ms()):
            return "what was removed since may have been compacted away"
        return ""

    async def live(self) -> AsyncGenerator[News[Positions], None]:
        """Follow the ends; after trouble with the log it is opened anew at the same place."""
        while True:
            try:
                async with aclosing(self._follow()) as pieces:
                    async for news in pieces:
                        self._positions = news.position
                        yield news
            except Retriable as error:
                await _waited(error)

    async def _follow(self) -> AsyncGenerator[News[Positions], None]:
        loop = asyncio.get_running_loop()
        places = _places(self._positions)
        reader = await self._log.reader(places)
        try:
            while True:
                gathered = loop.time() + GATHER_SECONDS
                as_of = self._now_ms() // 1000
                records = await reader.read(READ_RECORDS, LOOK_SECONDS)
                events = self._events(records, self._positions, as_of)
                yield News(events, tuple(reader.position(at) for at in places))
                if len(records) < READ_RECORDS:
                    await asyncio.sleep(max(0.0, gathered - loop.time()))
        finally:
            await reader.close()

    async def past(
        self, position: Positions, target: Positions
    ) -> AsyncGenerator[News[Positions], None]:
        """Out of the log; what lies beyond `target` comes to the client in another way."""
        due = _places(tuple(map(max, position, target)))
        reader = await self._log.reader(_places(position))
        try:
            async with aclosing(up_to(reader, due, READ_RECORDS)) as pieces:
                async for records in pieces:
                    within = [each for each in records if each.offset < due[_place(each)]]
                    events = self._events(within, position, self._now_ms() // 1000)
                    position = tuple(min(reader.position(at), end) for at, end in due.items())
                    yield News(events, position)
            yield News([], tuple(due.values()))
        finally:
            await reader.close()

    def covers(self, position: Positions, event: Event) -> bool:
        """Whether it lies before the position in its partition."""
        return event.number < position[event.partition]

    def reaches(self, position: Positions, floor: Positions) -> bool:
        """Whether it is there in every partition."""
        return all(here >= there for here, there in zip(position, floor, strict=True))

    def after(self, position: Positions, events: Sequence[Event]) -> Positions:
        """The places after them."""
        places = list(position)
        for event in events:
            places[event.partition] = max(places[event.partition], event.number + 1)
        return tuple(places)

    def resumable(self, event: Event, position: Positions) -> Event:
        """With the client's own cursor: partitions have no order among each other."""
        cursor = self._cursor(position, self._now_ms() // 1000)
        return event._replace(data=with_id(event.data, cursor))

    def mark(self, position: Positions) -> bytes:
        """The cursor."""
        return mark_frame(self._cursor(position, self._now_ms() // 1000))

    def _cursor(self, position: Positions, as_of: int) -> str:
        assert self.config is not None
        return text_of(Cursor(self.config.log_id, as_of, position))

    def _events(self, records: Sequence[Record], before: Positions, as_of: int) -> list[Event]:
        """Each with the cursor after it; `before`: where they begin."""
        places = list(before)
        events = []
        for record in records:
            places[record.partition] = record.offset + 1
            frame = document_frame(record, self._cursor(tuple(places), as_of))
            events.append(Event(record.key or "", "", frame, record.offset, record.partition))
        return events


def _places(positions: Positions) -> dict[TopicPartition, Offset]:
    return {
        TopicPartition(Topic.METADATA, partition): Offset(offset)
        for partition, offset in enumerate(positions)
    }


def _place(record: Record) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)


async def _waited(error: Retriable) -> None:
    log_.warning("the log did not answer", why=str(error))
    await asyncio.sleep(RETRY_SECONDS)
