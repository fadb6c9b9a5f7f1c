"""One reader of the log, many clients: events are encoded once, and all clients get those bytes.

A client far behind gets pages from the log, a few clients at a time; then what the ring of recent
events holds; from then on the chunks of its channel, which all clients with the same selection
share. A client holds a number and no bytes: the bounded queue is the channel's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from sinks.http.streams.channel import Channel, Client, chunks_of, groups_of
from sinks.http.streams.selection import Selection
from sinks.http.streams.source import Event, News, Source
from streams.bell import heard_within

BURST_BYTES = 256 * 1024  # after so many at once the clients are waited for
BURST_SECONDS_MAX = 1.0  # but not longer: one that does not read must not block the others
BURST_LOOK_SECONDS = 0.01
RING_EVENTS_MAX = 10_000  # clients that were away for longer read from the log
RING_BYTES_MAX = 32 * 1024 * 1024  # of those events, whichever comes first
RING_PIECE = 256  # events given to a client between two looks
TICK_SECONDS = 1.0  # how often slow and silent connections are looked for
SLOT_SECONDS = 10.0  # reading out of the log, before another client has its turn

P = TypeVar("P")


class Busy(Exception):
    """No room for one more client. `address`: for one more of that address."""

    def __init__(self, *, address: bool) -> None:
        super().__init__()
        self.address = address


@dataclass(frozen=True)
class Limits:
    """Of one hub. `channels`: different selections at once; `slots`: clients reading the log."""

    clients: int = 2_500
    clients_per_address: int = 10
    channels: int = 250
    slots: int = 8
    heartbeat_seconds: float = 15.0
    write_seconds: float = 10.0  # for one write
    turn_seconds: float = 30.0  # in a slot: 3 times as long as one that reads has it


class Hub(Generic[P]):
    """See the module's text. `run` it; each connection calls `admitted`, then `follow`."""

    def __init__(self, source: Source[P], limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.clients: set[Client] = set()
        self.dropped = 0  # clients that were too slow, since the start
        self._source = source
        self._channels: dict[Selection, Channel] = {}
        self._addresses: Counter[str] = Counter()
        self._slots = asyncio.Semaphore(self.limits.slots)
        self._ring: deque[Event] = deque()
        self._ring_bytes = 0
        self._ring_end = 0  # number of the event to come
        self._floor: P | None = None  # the ring holds all after it; None = not begun
        self._position: P | None = None
        self._begun = asyncio.Event()
        self._moved = asyncio.Event()
        self._closed = False

    @property
    def position(self) -> P | None:
        """Up to where the log was read; None = not begun."""
        return self._position

    async def begun(self, seconds: float) -> bool:
        """Wait until the log was found and its end read, or the hub closed; False if neither."""
        return await heard_within(self._begun, seconds)

    async def run(self) -> None:
        """Follow the log until cancelled; then all streams end. Raises what its source raises."""
        ticking = asyncio.create_task(self._tick())
        try:
            self._position, end = await self._source.begin()
            self._floor = self._position
            self._begin_at(end)
            async with aclosing(self._source.live()) as live:
                async for news in live:
                    await self._publish(news)
                    self._begin_at(end)
        finally:
            ticking.cancel()
            self.close()

    def _begin_at(self, end: P) -> None:
        """What was there before is no news: who wants news waits until it is behind us."""
        if not self._begun.is_set() and self._source.reaches(self._at(), end):
            self._begun.set()

    def close(self) -> None:
        """End all streams; clients are told to come again."""
        self._closed = True
        self._begun.set()
        self._moved.set()
        for channel in self._channels.values():
            channel.news.set()

    def forget(self) -> None:
        """Have nothing at hand: whoever comes back is given it out of the log."""
        self._ring.clear()
        self._ring_bytes = 0
        self._floor = self._position

    @contextlib.contextmanager
    def admitted(self, address: str, selection: Selection) -> Iterator[Client]:
        """Room for one client of the current task; `address` "": not counted. Raises Busy."""
        if self._closed or len(self.clients) >= self.limits.clients:
            raise Busy(address=False)
        if address and self._addresses[address] >= self.limits.clients_per_address:
            raise Busy(address=True)
        if selection not in self._channels and len(self._channels) >= self.limits.channels:
            raise Busy(address=False)
        channel = self._channels.setdefault(selection, Channel(selection))
        client = Client(channel, asyncio.current_task())
        channel.users += 1
        self._addresses[address] += 1
        self.clients.add(client)
        try:
            yield client
        finally:
            self.clients.discard(client)
            channel.live.discard(client)
            channel.users -= 1
            if not channel.users:
                del self._channels[selection]
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    async def follow(
        self, client: Client, position: P | None, then: bytes = b"", least: P | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Bytes to write: all events after `position` (None = from now on) that are selected.

        `begun` comes before it. `then` comes once the client has all that is past, and all up to
        `least`. Ends when the hub closes, and when the client is too slow.
        """
        assert self._begun.is_set()
        if position is not None:
            async with aclosing(
                self._past(client, position, position if least is None else least)
            ) as past:
                async for data in past:
                    yield data
        if self._closed:
            return  # before everything past was given
        client.number = client.channel.end
        client.channel.live.add(client)
        if then:
            yield then
        while not self._closed:
            if client.number < client.channel.first:
                client.dropped = "too slow"
                self.dropped += 1
                return
            if client.number == client.channel.end:
                await client.channel.news.wait()
                continue
            chunks = client.channel.chunks
            data = chunks[client.number - client.channel.first]
            client.number += 1
            yield data

    async def _past(self, client: Client, position: P, least: P) -> AsyncGenerator[bytes, None]:
        """Up to the end of the ring: nothing is awaited between its last look and the end."""
        wants = client.channel.selection.wants
        at: int | None = None
        while not self._closed:
            assert self._floor is not None
            if at is None or at < self._ring_end - len(self._ring):
                if not self._source.reaches(position, self._floor):
                    before = position
                    async with aclosing(self._out_of_the_log(client, position)) as read:
                        async for news in read:
                            position = news.position
                            for data in chunks_of(list(filter(wants, news.events))):
                                yield data
                    if position == before:
                        await asyncio.sleep(TICK_SECONDS)  # the log is behind what it showed
                    continue
                at = self._ring_end - len(self._ring)
            start = at - (self._ring_end - len(self._ring))
            piece = list(islice(self._ring, start, start + RING_PIECE))
            if not piece:
                here = self._at()
                if self._source.reaches(here, position) and self._source.reaches(here, least):
                    return
                # Ahead of us: what is published next may be what the client has.
                if await self._silence(self._moved.wait()):
                    yield self._source.mark(position)
                continue
            at += len(piece)
            position, given = self._given(position, piece, wants)
            for data in chunks_of(given):
                yield data

    def _given(
        self, position: P, piece: Sequence[Event], wants: Callable[[Event], bool]
    ) -> tuple[P, list[Event]]:
        """What of a piece of the ring a client does not have yet, and where it stands then."""
        given: list[Event] = []
        for event in piece:
            if not self._source.covers(position, event):
                position = self._source.after(position, [event])
                if wants(event):
                    given.append(self._source.resumable(event, position))
        return position, given

    async def _out_of_the_log(self, client: Client, position: P) -> AsyncGenerator[News[P], None]:
        """One turn of reading; with the frame of a position where nothing else shows life."""
        loop = asyncio.get_running_loop()
        while await self._silence(self._slots.acquire()):
            yield self._alive(position)
        client.turn_since = shown = loop.time()
        until = shown + SLOT_SECONDS
        try:
            assert self._position is not None
            async with aclosing(self._source.past(position, self._position)) as pieces:
                async for news in pieces:
                    yield news
                    if self._closed or loop.time() > until:
                        return
                    if loop.time() > shown + self.limits.heartbeat_seconds:
                        shown = loop.time()
                        yield self._alive(news.position)
        finally:
            client.turn_since = None
            self._slots.release()

    def _alive(self, position: P) -> News[P]:
        return News([Event("", "", self._source.mark(position), 0)], position)

    async def _silence(self, something: Awaitable[object]) -> bool:
        """Wait for it; True if it takes so long that the client should hear of us first."""
        try:
            async with asyncio.timeout(self.limits.heartbeat_seconds):
                await something
        except TimeoutError:
            return True
        return False

    async def _publish(self, news: News[P]) -> None:
        """To the ring and to every channel, chunk by chunk."""
        now = asyncio.get_running_loop().time()
        burst = 0
        for group in groups_of(news.events):
            size = sum(len(event.data) for event in group)
            self._ring.extend(group)
            self._ring_end += len(group)
            self._ring_bytes += size
            burst += size
            self._position = self._source.after(self._at(), group)
            self._trim()
            self._share(group, now)
            if burst >= BURST_BYTES:
                await self._burst()
                burst = 0
        self._position = news.position
        self._moved.set()
        self._moved.clear()

    def _at(self) -> P:
        assert self._position is not None
        return self._position

    def _trim(self) -> None:
        gone: list[Event] = []
        while len(self._ring) > RING_EVENTS_MAX or (
            self._ring_bytes > RING_BYTES_MAX and len(self._ring) > 1
        ):
            gone.append(self._ring.popleft())
            self._ring_bytes -= len(gone[-1].data)
        if gone:
            assert self._floor is not None
            self._floor = self._source.after(self._floor, gone)

    def _share(self, group: Sequence[Event], now: float) -> None:
        whole = b""
        for channel in self._channels.values():
            if not channel.live:
                continue
            if channel.selection.everything:
                whole = whole or b"".join(event.data for event in group)
                channel.put(whole, now)
            elif wanted := [e.data for e in group if channel.selection.wants(e)]:
                channel.put(b"".join(wanted), now)

    async def _burst(self) -> None:
        """Let the clients take what they were given."""
        loop = asyncio.get_running_loop()
        until = loop.time() + BURST_SECONDS_MAX
        while loop.time() < until and self._behind():  # noqa: ASYNC110  # 2000 clients to tell us
            await asyncio.sleep(BURST_LOOK_SECONDS)

    def _behind(self) -> bool:
        return any(channel.behind() for channel in self._channels.values())

    async def _tick(self) -> None:
        """Drop clients whose connection takes nothing; a sign of life where there is no news."""
        loop = asyncio.get_running_loop()
        limits = self.limits
        while True:
            await asyncio.sleep(min(TICK_SECONDS, limits.write_seconds, limits.heartbeat_seconds))
            now = loop.time()
            for client in list(self.clients):
                if client.blocks(now, limits.write_seconds, limits.turn_seconds):
                    self.dropped += 1
                    client.drop("it did not read")
            if self._position is None:
                continue
            for channel in self._channels.values():
                if now - channel.last >= self.limits.heartbeat_seconds:
                    channel.put(self._source.mark(self._position), now)
