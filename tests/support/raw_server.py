"""A server on loopback that answers any bytes, and writes down what was asked and when."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

OK = 200


@dataclass(frozen=True)
class Asked:
    """One request; `at` in monotonic seconds, `connection` counts from 1."""

    at: float
    connection: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Answerer = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawServer:
    """`answer` writes what it likes; a connection it does not close is kept."""

    answer: Answerer
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    open_now: int = 0
    open_peak: int = 0
    busy_now: int = 0
    busy_peak: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self.open_now += 1
        self.open_peak = max(self.open_peak, self.open_now)
        try:
            while not writer.is_closing():
                asked = await self._request(reader, number)
                self.asked.append(asked)
                self.busy_now += 1
                self.busy_peak = max(self.busy_peak, self.busy_now)
                try:
                    await self.answer(asked, writer)
                    await writer.drain()
                finally:
                    self.busy_now -= 1
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.open_now -= 1
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, number: int) -> Asked:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): text for name, text in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Asked(time.monotonic(), number, method, target, headers, body)


@contextlib.asynccontextmanager
async def raw_server(answer: Answerer) -> AsyncIterator[RawServer]:
    """Serve on a free port; every connection is gone at the end."""
    raw = RawServer(answer)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(raw.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    raw.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield raw
    finally:
        server.close()
        running = list(tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await server.wait_closed()


def message(
    body: bytes = b"", status: int = OK, *, length: int | None = None, **headers: str
) -> bytes:
    """A response; `_` in a header's name stands for `-`, `length` for another than the true one."""
    lines = [f"HTTP/1.1 {status} Whatever"]
    lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
    lines.append(f"content-length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def packed(body: bytes, *, length: int | None = None, **headers: str) -> bytes:
    """A gzip response."""
    return message(gzip.compress(body), OK, length=length, content_encoding="gzip", **headers)


def always(data: bytes, *, close: bool = False) -> Answerer:
    """The same bytes for every request."""

    async def answer(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        if close:
            writer.close()

    return answer
