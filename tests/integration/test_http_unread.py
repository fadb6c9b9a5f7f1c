"""Clients that ask and do not read: what they may hold is bounded, and who reads is served."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sinks.http import documents, server, unread
from sinks.http.app import Front
from tests.support.http_serving import SECONDS_MAX, asked, serving
from tests.support.memory_library import MemoryLibrary
from tests.support.view_records import document

MIB = 1024 * 1024
LARGE = 4 * MIB
ASK = b"GET /pypi/large/json HTTP/1.1\r\nHost: localhost\r\n\r\n"
SMALL = b"GET /pypi/small/json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

begun: list[str] = []


async def _counted(request: Request) -> Response:
    begun.append(request.url.path)
    return Response(b"x" * LARGE)


@pytest.fixture
def app() -> Front:
    begun.clear()
    library = MemoryLibrary()
    library.put(document("large", notes="x" * LARGE))
    library.put(document("small"))
    return Front(library, [Route("/counted/{number}", _counted)], ())


async def connected(address: tuple[str, int], request: bytes) -> socket.socket:
    """A client that asks, and takes next to nothing into the buffers of its system."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, address)
    await loop.sock_sendall(raw, request)
    await loop.sock_recv(raw, 1)  # the answer has begun
    return raw


async def left(raw: socket.socket) -> int:
    """How much a client gets that begins to read now, until it ends or nothing comes."""
    loop, found = asyncio.get_running_loop(), 1
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(SECONDS_MAX):
            while found < LARGE and (piece := await loop.sock_recv(raw, MIB)):
                found += len(piece)
    raw.close()
    return found


@pytest.mark.parametrize("short", [True, False])
async def test_what_nobody_reads_is_bounded(
    app: Front, monkeypatch: pytest.MonkeyPatch, short: bool
) -> None:
    """Those that were unread longest are ended; the last ones, and any other, get all of theirs."""
    monkeypatch.setattr(unread, "UNREAD_BYTES_MAX", 5 * LARGE)
    async with serving(app, quick=app.quick if short else None) as address:
        clients = [await connected(address, ASK) for _ in range(20)]
        assert (await asked(address, SMALL)).startswith(b"HTTP/1.1 200 ")
        whole = [await left(each) >= LARGE for each in clients]

    assert [False] * 13 == whole[:13]  # a little of each is in the system's buffers
    assert [True] * 4 == whole[-4:]


async def test_a_large_document_is_not_copied_by_the_short_cut(
    app: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is answered as any application does, with the same bytes."""
    headers = [(b"host", b"localhost")]
    assert app.quick(b"/pypi/large/json", headers, b"") is None
    same = app.quick(b"/pypi/small/json", headers, b"")
    assert same is not None
    monkeypatch.setattr(documents, "QUICK_BODY_BYTES_MAX", 10)
    assert app.quick(b"/pypi/small/json", headers, b"") is None


async def test_nothing_more_is_begun_for_who_does_not_read(app: Front) -> None:
    """The next answer is made once the one before has been taken, not kept beside it."""
    two = b"".join(
        b"GET /counted/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number for number in (1, 2)
    )
    async with serving(app) as address:
        raw = await connected(address, two)
        await asyncio.sleep(0.3)
        assert ["/counted/1"] == begun
        loop, found = asyncio.get_running_loop(), 0
        async with asyncio.timeout(SECONDS_MAX):
            while found < 2 * LARGE:
                found += len(await loop.sock_recv(raw, MIB))
        raw.close()

    assert ["/counted/1", "/counted/2"] == begun


async def test_a_byte_now_and_then_does_not_hold_an_answer(
    app: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes an answer more slowly than anybody needs to is ended while still reading."""
    monkeypatch.setattr(unread, "UNREAD_SECONDS_MAX", 0.3)
    monkeypatch.setattr(unread, "READ_BYTES_PER_SECOND_MIN", 100 * MIB)
    monkeypatch.setattr(server, "SWEEP_SECONDS", 0.05)
    async with serving(app) as address:
        raw = await connected(address, ASK)
        loop, found = asyncio.get_running_loop(), 1
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(SECONDS_MAX):
                while piece := await loop.sock_recv(raw, 2_048):
                    found += len(piece)
                    await asyncio.sleep(0.01)
        raw.close()

    assert found < LARGE
