"""What may stand where a client expects a broker: any server, or a line to one that goes deaf."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Container
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiokafka.client
import pytest

CHUNK_BYTES = 65_536

PRODUCE, FETCH, LIST_OFFSETS = 0, 1, 2
CREATE_TOPICS, INIT_PRODUCER_ID, ADD_PARTITIONS, END_TXN = 19, 22, 24, 26
DESCRIBE_CONFIGS, ALTER_CONFIGS = 32, 44
ANY = range(100)
"""Keys of requests (kafka.apache.org/protocol#protocol_api_keys)."""

Served = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(served: Served, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on loopback that does as it likes; its port."""
    ended: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        ended.add(task)
        writers.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await served(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()  # first: clients that still try would come again
        while not all(task.done() for task in ended):
            for writer in writers:
                writer.close()
            await asyncio.wait(ended)
        await server.wait_closed()


@dataclass
class DeafLine:
    """A line to a real broker. Requests of the kinds in `deaf_to` are taken and never answered."""

    host: str
    port: int
    deaf_to: Container[int] = ()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on one connection; once it was deaf to something it hears nothing any more."""
        answers, requests = await asyncio.open_connection(self.host, self.port)
        back = asyncio.create_task(_passed(answers, writer))
        try:
            while True:
                size = await reader.readexactly(4)
                request = await reader.readexactly(struct.unpack(">i", size)[0])
                if struct.unpack(">h", request[:2])[0] in self.deaf_to:
                    break
                requests.write(size + request)
                await requests.drain()
            while await reader.read(CHUNK_BYTES):
                pass
        finally:
            back.cancel()
            requests.close()
            await asyncio.gather(back, requests.wait_closed(), return_exceptions=True)


async def _passed(answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await answers.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def deaf_line(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[DeafLine, str]]:
    """A line to the one broker that is there, and its address; no client gets around it."""
    host, _, port = bootstrap.rpartition(":")
    line = DeafLine(host, int(port))
    async with serving(line.serve) as ours:
        connect = aiokafka.client.create_conn

        async def through(_host: str, _port: int, **options: Any) -> Any:
            return await connect("127.0.0.1", ours, **options)

        # The broker's answers name the broker's own address.
        with monkeypatch.context() as patched:
            patched.setattr(aiokafka.client, "create_conn", through)
            yield line, f"127.0.0.1:{ours}"
