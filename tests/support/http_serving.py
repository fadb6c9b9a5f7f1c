"""The HTTP server on a real socket, in the test's own loop, and clients that speak in bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from pypistream.children.listening import Address, bound
from sinks.http.documents import Quick
from sinks.http.server import serve_app

SECONDS_MAX = 60.0


@asynccontextmanager
async def serving(
    app: Any, *, quick: Quick | None = None, stopping: Callable[[], None] = lambda: None
) -> AsyncIterator[tuple[str, int]]:
    """The address of an application that is served until the block is left."""
    ready = asyncio.Event()
    with bound(Address("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(
            serve_app(app, listener, quick=quick, ready=ready.set, stopping=stopping)
        )
        async with asyncio.timeout(SECONDS_MAX):
            await ready.wait()
        try:
            yield listener.getsockname()
        finally:
            task.cancel()
            await asyncio.wait([task])


async def asked(address: tuple[str, int], sent: bytes) -> bytes:
    """What comes back until the server closes, at most a piece."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        async with asyncio.timeout(SECONDS_MAX):
            writer.write(sent)
            return await reader.read(65_536)
    finally:
        writer.close()


async def closed(reader: asyncio.StreamReader) -> bool:
    """Whether the server ends the connection."""
    try:
        async with asyncio.timeout(SECONDS_MAX):
            while await reader.read(65_536):
                pass
    except ConnectionError:
        return True
    return True
