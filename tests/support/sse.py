"""A client of `text/event-stream` that speaks ASGI: no socket, and as slow as a test wants it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

PATIENCE_SECONDS = 60.0


@dataclass
class Frame:
    """One frame. `id` None = it has none; `data` None = it is no event."""

    id: str | None = None
    event: str = "message"
    data: str | None = None
    retry: int | None = None

    @property
    def value(self) -> Any:
        assert self.data is not None
        return json.loads(self.data)


def frames_of(raw: bytes) -> list[Frame]:
    """Whole frames, as the HTML Living Standard parses them; comments left out."""
    found = []
    for block in raw.decode().split("\n\n")[:-1]:
        frame = Frame()
        lines: list[str] = []
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                frame.id = value
            elif name == "event":
                frame.event = value
            elif name == "retry":
                frame.retry = int(value)
            elif name == "data":
                lines.append(value)
            else:
                assert name == "", f"a field that is none: {line!r}"
        frame.data = "\n".join(lines) if lines else None
        found.append(frame)
    return found


@dataclass
class SseClient:
    """A connection. `stop_reading` lets every write wait, as a full socket does."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytearray = field(default_factory=bytearray)
    writes: int = 0
    ended: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _reads: asyncio.Event = field(default_factory=asyncio.Event)
    _gone: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self._reads.set()

    async def receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        await self._reads.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {key.decode(): value.decode() for key, value in message["headers"]}
        else:
            self.raw += message.get("body", b"")
            self.writes += 1
            self.ended = not message.get("more_body", False)
        self._changed.set()

    def stop_reading(self) -> None:
        self._reads.clear()

    def read_on(self) -> None:
        self._reads.set()

    def hang_up(self) -> None:
        self._gone.set()

    @property
    def frames(self) -> list[Frame]:
        return frames_of(bytes(self.raw))

    @property
    def events(self) -> list[Frame]:
        return [frame for frame in self.frames if frame.data is not None]

    @property
    def last_id(self) -> str | None:
        return next((frame.id for frame in reversed(self.frames) if frame.id is not None), None)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something that is seen in what was received."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                if self.task is not None and self.task.done():
                    self.task.result()
                    assert condition(), f"the stream ended: {self.frames[-3:]}"
                    return
                self._changed.clear()
                waiting = asyncio.ensure_future(self._changed.wait())
                await asyncio.wait({waiting, self.task} if self.task else {waiting}, timeout=0.5,
                                   return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
                waiting.cancel()

    async def take(self, count: int) -> list[Frame]:
        """The first so many events."""
        await self.until(lambda: len(self.events) >= count)
        return self.events[:count]


@asynccontextmanager
async def connected(
    app: Any,
    path: str,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    address: str = "192.0.2.1",
) -> AsyncIterator[SseClient]:
    """One request, whose connection is gone when the block is left."""
    client = SseClient()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(b"host", b"localhost")]
        + [(key.lower().encode(), value.encode()) for key, value in (headers or {}).items()],
        "client": (address, 1),
        "server": ("localhost", 80),
    }
    client.task = asyncio.create_task(app(scope, client.receive, client.send))
    try:
        yield client
    finally:
        client.hang_up()
        client.read_on()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.wait({client.task})
        if not client.task.cancelled():
            client.task.result()
