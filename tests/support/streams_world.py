"""A log with a journal and documents, and the streams over it, in the test's own loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from schemas.codec import Envelope, dataschema, headers
from schemas.topics import Topic
from sinks.http import changes as pages
from sinks.http.app import Front
from sinks.http.library import Library
from sinks.http.streams.endpoint import Streams, routes
from sinks.http.streams.hub import Limits
from streams.log import Log, Outgoing
from tests.support.changes_world import BEGIN, Journal
from tests.support.logs import Clock
from tests.support.memory_library import MemoryLibrary


@dataclass
class StreamsWorld:
    """`app` serves the streams of `log`."""

    log: Log
    journal: Journal
    streams: Streams
    app: Any
    clock: Clock

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client for whole answers."""
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://example.org") as client:
            yield client

    async def shown(self, serial: int) -> None:
        """Wait until the streams have read that far."""
        async with asyncio.timeout(60):
            while self.streams.recent.through < serial:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.01)


@asynccontextmanager
async def streaming(
    log: Log,
    journal: Journal,
    *,
    library: Library | None = None,
    limits: Limits | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[StreamsWorld]:
    """Streams that run, as a server would run them, until the block is left."""
    clock = clock or Clock()
    streams = Streams(log, library, limits, clock)
    running = asyncio.create_task(streams.run())
    app = Front(
        library or MemoryLibrary(), [*routes(streams), *pages.routes(streams)], ["example.org"]
    )
    try:
        assert await streams.changes.begun(10)
        assert await streams.metadata.begun(10)
        yield StreamsWorld(log, journal, streams, app, clock)
        if running.done():
            running.result()
    finally:
        running.cancel()
        await asyncio.wait({running})


def document(name: str, serial: int, value: object = "") -> Outgoing:
    """A record of `metadata`; `value` None = a tombstone. With line ends, as upstream might."""
    body = None
    if value is not None:
        content = {"info": {"name": name, "summary": value}, "last_serial": serial}
        body = json.dumps(content, indent=1).encode()
    envelope = Envelope(
        id=f"{name}:{serial}",
        type="pypistream.metadata",
        subject=name,
        time=BEGIN + serial,
        dataschema=dataschema(Topic.METADATA),
        event_serial=serial,
        serial=None if body is None else serial,
        reason="removed" if body is None else None,
    )
    return Outgoing(Topic.METADATA, name, body, headers(envelope))


async def publish(log: Log, documents: Sequence[Outgoing]) -> None:
    """One worker's transaction."""
    writer = await log.writer("worker")
    await writer.commit(documents)
    await writer.close()
