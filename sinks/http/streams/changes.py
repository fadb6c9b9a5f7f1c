"""Where the stream of changes comes from: positions are serials."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import structlog

from schemas.errors import Retriable
from sinks.changes.feed import ChangesReader, HeadWatch, Known, Place
from sinks.changes.order import Change
from sinks.changes.pages import Recent
from sinks.http.streams.frames import ChangeData, change_frame, mark_frame
from sinks.http.streams.source import Event, News
from streams.log import Log

GATHER_SECONDS = 0.1  # between two writes to all clients: what comes within it goes out in one
LOOK_SECONDS = 1.0  # of one wait for a new head, which ends it at once
PIECE_CHANGES = 1_000  # given to the clients at once
RETRY_SECONDS = 1.0  # after a log that did not answer
RECENT_SERIALS = 2_000  # an hour of upstream: who comes back after a restart needs no log

_WHOLE, _SPLIT = 0, 1  # an event's `partition`: whether one may resume after it

log_ = structlog.get_logger("streams")


class ChangesSource:
    """See `sinks.http.streams.source.Source`. `told`: what is said of a change when it is read."""

    def __init__(self, log: Log, told: Callable[[Change], ChangeData]) -> None:
        self.known: Known | None = None  # as of the last look
        self._log = log
        self._told = told
        self.recent = Recent(0)
        self._place = Place(0)

    def forget(self) -> None:
        """Hold no change that was read before now."""
        self.recent = Recent(self._place.serial)

    async def begin(self) -> tuple[Place, Place]:
        """A little before the head, once there is one."""
        while True:
            try:
                async with HeadWatch(self._log) as heads:
                    known = heads.known
                    while known is None:
                        known = await heads.look(LOOK_SECONDS)
            except Retriable as error:
                await _waited(error)
                continue
            self.known = known
            self._place = Place(max(known.head.base, known.head.serial - RECENT_SERIALS))
            self.recent = Recent(self._place.serial)
            return self._place, Place(known.head.serial)

    async def live(self) -> AsyncGenerator[News[Place], None]:
        """Follow the head; after trouble with the log it is opened anew at the same serial."""
        while True:
            try:
                async with aclosing(self._follow()) as pieces:
                    async for news in pieces:
                        self._place = news.position
                        yield news
            except Retriable as error:
                await _waited(error)

    async def _follow(self) -> AsyncGenerator[News[Place], None]:
        loop = asyncio.get_running_loop()
        async with HeadWatch(self._log) as heads:
            known = heads.known
            assert known is not None, "a log that was founded stays so"
            async with ChangesReader(self._log, known.head, self._place) as reader:
                while True:
                    gathered = loop.time() + GATHER_SECONDS
                    self.known = known
                    changes: list[Change] = []
                    async with aclosing(reader.up_to(known.head)) as pieces:
                        async for more in pieces:
                            changes += more
                            if len(changes) >= PIECE_CHANGES:
                                yield self._news(changes, reader.serial)
                                changes = []
                    if reader.serial > self._place.serial:
                        yield self._news(changes, reader.serial)
                    before = known
                    while known == before:
                        known = await heads.look(LOOK_SECONDS) or before
                    await asyncio.sleep(max(0.0, gathered - loop.time()))
                    known = await heads.look(0) or known

    def _news(self, changes: Sequence[Change], through: int) -> News[Place]:
        self.recent.add(changes, through)
        return News(self._events(changes), Place(through))

    async def past(self, position: Place, target: Place) -> AsyncGenerator[News[Place], None]:
        """Out of the log, up to the head that is known; `target` is no further."""
        assert self.known is not None
        head = self.known.head
        serial = position.serial
        async with (
            ChangesReader(self._log, head, position) as reader,
            aclosing(reader.up_to(head)) as pieces,
        ):
            async for changes in pieces:
                if reader.serial > serial:
                    serial = reader.serial
                    yield News(self._events(changes), reader.place)
                if serial >= target.serial:
                    return

    def covers(self, position: Place, event: Event) -> bool:
        """Whether its serial was given."""
        return event.number <= position.serial

    def reaches(self, position: Place, floor: Place) -> bool:
        """Whether all up to that serial was given."""
        return position.serial >= floor.serial

    def after(self, position: Place, events: Sequence[Event]) -> Place:
        """The last serial that is whole."""
        if not events:
            return position
        last = events[-1]
        serial = last.number if last.partition == _WHOLE else last.number - 1
        return Place(max(position.serial, serial))

    def resumable(self, event: Event, position: Place) -> Event:  # noqa: ARG002  # of the port
        """As it is: one order for all."""
        return event

    def mark(self, position: Place) -> bytes:
        """The serial."""
        return mark_frame(str(position.serial))

    def _events(self, changes: Sequence[Change]) -> list[Event]:
        return [
            Event(
                change.project,
                change.entry.kind.value,
                change_frame(change, self._told(change)),
                change.serial,
                _WHOLE if change.last else _SPLIT,
            )
            for change in changes
        ]


async def _waited(error: Retriable) -> None:
    log_.warning("the log did not answer", why=str(error))
    await asyncio.sleep(RETRY_SECONDS)
