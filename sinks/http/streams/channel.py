"""Chunks of bytes that all clients with one selection share; a client holds a number.

So the bounded queue is the channel's, and a client's lag is the difference of two numbers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence

from sinks.http.streams.selection import Selection
from sinks.http.streams.source import Event

CHUNK_BYTES = 16 * 1024  # events gathered into one write; one event alone may be larger
QUEUE_CHUNKS_MAX = 256  # behind which a client is too slow
QUEUE_BYTES_MAX = 1024 * 1024  # however few chunks that are; the last one may exceed it


class Client:
    """One connection. `number`: its next chunk, None = it is not live yet."""

    def __init__(self, channel: Channel, task: asyncio.Task[object] | None) -> None:
        self.channel = channel
        self.number: int | None = None
        self.writing_since: float | None = None
        self.turn_since: float | None = None  # reading out of the log, while others wait
        self.dropped = ""  # why, once it is
        self._task = task

    def blocks(self, now: float, write_seconds: float, turn_seconds: float) -> bool:
        """Whether it takes too long to read what it is given."""
        writing, turn = self.writing_since, self.turn_since
        return (writing is not None and now - writing > write_seconds) or (
            turn is not None and now - turn > turn_seconds
        )

    def drop(self, why: str) -> None:
        """End it, whatever it waits for."""
        if not self.dropped and self._task is not None:
            self.dropped = why
            self._task.cancel()


class Channel:
    """The chunks of one selection, and the clients that are live on it."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.users = 0
        self.live: set[Client] = set()
        self.chunks: deque[bytes] = deque()
        self.end = 0  # number of the chunk to come
        self.last = asyncio.get_running_loop().time()  # when one was put
        self.news = asyncio.Event()
        self._bytes = 0

    @property
    def first(self) -> int:
        """Number of the oldest chunk that is kept."""
        return self.end - len(self.chunks)

    def put(self, data: bytes, now: float) -> None:
        """Give a chunk to all; forget what all have, and what makes the queue too long."""
        self.last = now
        if not self.live:
            return
        self.chunks.append(data)
        self.end += 1
        self._bytes += len(data)
        taken = min(client.number or 0 for client in self.live)
        while len(self.chunks) > 1 and (
            self.first < taken
            or len(self.chunks) > QUEUE_CHUNKS_MAX
            or self._bytes > QUEUE_BYTES_MAX
        ):
            self._bytes -= len(self.chunks.popleft())
        self.news.set()
        self.news.clear()

    def behind(self) -> int:
        """How many chunks the slowest client has not taken."""
        return max((self.end - (client.number or 0) for client in self.live), default=0)


def groups_of(events: Sequence[Event]) -> Iterator[list[Event]]:
    """Neighbours that fit into one chunk."""
    group: list[Event] = []
    size = 0
    for event in events:
        if group and size + len(event.data) > CHUNK_BYTES:
            yield group
            group, size = [], 0
        group.append(event)
        size += len(event.data)
    if group:
        yield group


def chunks_of(events: Sequence[Event]) -> Iterator[bytes]:
    """The same, as bytes."""
    for group in groups_of(events):
        yield b"".join(event.data for event in group)
