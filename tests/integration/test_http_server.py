"""Real sockets: a clean end, and clients that are slow, many or no clients at all."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from sinks.http import server
from sinks.http.app import Front
from tests.support.http_serving import SECONDS_MAX, asked, closed, serving
from tests.support.memory_library import MemoryLibrary
from tests.support.view_records import document

ASK = b"GET /pypi/foo/json HTTP/1.1\r\nHost: localhost\r\n\r\n"


under_way = asyncio.Event()  # a slow answer is


async def _slow(_request: Request) -> Response:
    under_way.set()
    await asyncio.sleep(0.3)
    return Response(b"at last")


async def _endless(_request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65_536
            await asyncio.sleep(0)

    return StreamingResponse(pieces())


@pytest.fixture
def app() -> Front:
    """One document, and two routes that take their time."""
    library = MemoryLibrary()
    library.put(document("foo"))
    return Front(library, [Route("/slow", _slow), Route("/endless", _endless)], ())


async def test_one_connection_serves_many_requests(app: Front) -> None:
    async with serving(app) as address:
        reader, writer = await asyncio.open_connection(*address)
        for _ in range(3):
            writer.write(ASK)
            head = await reader.readuntil(b"\r\n\r\n")

            assert head.startswith(b"HTTP/1.1 200 ")

            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nBroken header\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 20_000,
    ],
)
async def test_what_is_no_request_is_refused(app: Front, sent: bytes) -> None:
    """With 4xx and an end; the next client is served."""
    async with serving(app) as address:
        try:
            answer = await asked(address, sent)
        except ConnectionError:  # it was closed while we were still sending
            answer = b"HTTP/1.1 4"

        assert answer.startswith(b"HTTP/1.1 4"), answer[:200]
        assert (await asked(address, ASK)).startswith(b"HTTP/1.1 200 ")


async def test_who_sends_too_slowly_is_closed(app: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing, half a head, half a body: each has its seconds. Idle in between is no fault."""
    monkeypatch.setattr(server, "REQUEST_SECONDS_MAX", 0.2)
    monkeypatch.setattr(server, "SWEEP_SECONDS", 0.05)
    async with serving(app) as address:
        for sent in (
            b"",
            b"GET / HT",
            b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(sent)

            assert await closed(reader)

            writer.close()
        monkeypatch.setattr(server, "REQUEST_SECONDS_MAX", SECONDS_MAX)
        reader, writer = await asyncio.open_connection(*address)
        writer.write(ASK)
        await reader.readuntil(b"\r\n\r\n")
        monkeypatch.setattr(server, "REQUEST_SECONDS_MAX", 0.2)
        await asyncio.sleep(0.4)
        monkeypatch.setattr(server, "REQUEST_SECONDS_MAX", SECONDS_MAX)
        writer.write(ASK)
        async with asyncio.timeout(SECONDS_MAX):
            assert b"HTTP/1.1 200" in await reader.readuntil(b"HTTP/1.1 200")
        writer.close()


async def test_who_does_not_read_is_closed(app: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that nobody takes holds a connection for a bounded time only."""
    monkeypatch.setattr(server, "STALLED_SECONDS_MAX", 0.2)
    monkeypatch.setattr(server, "SWEEP_SECONDS", 0.05)
    async with serving(app) as address:
        raw = socket.create_connection(address)
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(raw, b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.sleep(1.0)
        ended = False
        async with asyncio.timeout(SECONDS_MAX):
            while not ended:
                try:
                    ended = not await loop.sock_recv(raw, 1_048_576)
                except ConnectionError:
                    ended = True
        raw.close()

        assert (await asked(address, ASK)).startswith(b"HTTP/1.1 200 ")


async def test_too_many_connections_push_out_the_one_that_waits_longest(
    app: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has something to ask is answered."""
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 20)
    async with serving(app) as address:
        waiting = [await asyncio.open_connection(*address) for _ in range(60)]
        answer = await asked(address, ASK)

        assert answer.startswith(b"HTTP/1.1 200 ")
        assert await closed(waiting[0][0])

        for _, writer in waiting:
            writer.close()


async def test_what_is_under_way_ends_before_the_server_does(app: Front) -> None:
    """Streams without end are told first."""
    told: list[str] = []
    under_way.clear()
    async with serving(app, stopping=lambda: told.append("stopping")) as address:
        asking = asyncio.create_task(
            asked(address, b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        )
        await under_way.wait()

    assert (await asking).endswith(b"at last")
    assert ["stopping"] == told
