"""Documents below ASGI: the same answers, in the same order, whatever comes between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from schemas.errors import ViewCorrupt
from schemas.names import NormalizedName
from sinks.http import server
from sinks.http.app import Front
from sinks.http.documents import Quick
from sinks.http.library import Document
from sinks.http.observed import Kind, Observed, Requests
from tests.support.http_serving import SECONDS_MAX, closed, serving
from tests.support.memory_library import MemoryLibrary
from tests.support.view_records import document

FOO = NormalizedName("foo")
SLOW = b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def _slow(_request: Request) -> Response:
    await asyncio.sleep(0.2)
    return Response(b"slow")


@pytest.fixture
def library() -> MemoryLibrary:
    held = MemoryLibrary()
    held.put(document("foo", notes="x" * 2_000))
    held.put(document("bar"))
    return held


@pytest.fixture
def front(library: MemoryLibrary) -> Front:
    return Front(library, [Route("/slow", _slow)], ("pypi.example.org",))


def ask(*lines: str, path: str = "/pypi/foo/json", method: str = "GET") -> bytes:
    head = [f"{method} {path} HTTP/1.1", *(lines or ("Host: localhost",)), "", ""]
    return "\r\n".join(head).encode()


def counting(quick: Quick) -> tuple[Quick, list[bytes]]:
    """The short cut, and which addresses it answered."""
    taken: list[bytes] = []

    def counted(url: bytes, headers: Any, head: bytes) -> bytes | None:
        answer = quick(url, headers, head)
        if answer is not None:
            taken.append(url)
        return answer

    return counted, taken


async def answers(address: tuple[str, int], sent: bytes, count: int) -> list[tuple[Any, ...]]:
    """So many answers to what is sent at once."""
    reader, writer = await asyncio.open_connection(*address)
    async with asyncio.timeout(SECONDS_MAX):
        writer.write(sent)
        found = [await answered(reader) for _ in range(count)]
    writer.close()
    return found


async def in_turn(address: tuple[str, int], *asked: bytes) -> list[tuple[Any, ...]]:
    """The answers on one connection, on which each is asked when the one before is answered."""
    reader, writer = await asyncio.open_connection(*address)
    found = []
    async with asyncio.timeout(SECONDS_MAX):
        for each in asked:
            writer.write(each)
            found.append(await answered(reader))
    writer.close()
    return found


async def answered(reader: asyncio.StreamReader) -> tuple[Any, ...]:
    """Status, headers but for the date, and body, of the next answer."""
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
    headers = dict(line.split(": ", 1) for line in lines)
    headers.pop("date", None)
    length = 0 if "304" in status else int(headers.get("content-length", "0"))
    return status, headers, await reader.readexactly(length)


async def both(front: Front, sent: bytes, count: int = 1) -> tuple[list[Any], list[Any], int]:
    """What comes by ASGI, what comes with the short cut, and how often that answered."""
    async with serving(front) as address:
        plain = await answers(address, sent, count)
    quick, taken = counting(front.quick)
    async with serving(front, quick=quick) as address:
        short = await answers(address, sent, count)
    return plain, short, len(taken)


def tag(library: MemoryLibrary) -> str:
    return library.documents[FOO].etag


HEADERS = pytest.mark.parametrize(
    "lines",
    [
        lambda _: (),
        lambda _: ("Host: pypi.example.org", "Accept-Encoding: gzip"),
        lambda _: ("Host: localhost", "Accept-Encoding: zstd, gzip;q=0.5"),
        lambda _: ("Host: localhost", "Accept-Encoding: identity"),
        lambda held: ("Host: localhost", f"If-None-Match: {tag(held)}"),
        lambda held: ("Host: localhost", f'If-None-Match: "x", {tag(held)}'),
        lambda _: ("Host: localhost", 'If-None-Match: "other"'),
        lambda _: ("Host: localhost", "X: \xe9"),
    ],
)
MORE = pytest.mark.parametrize(
    "sent",
    [
        ask(path="/pypi/unknown/json"),
        ask(path="/pypi/json"),
        ask(path="/pypi/Foo/json"),
        ask(path="/pypi/foo/json?x=1"),
        ask(path="/pypi/f%6fo/json"),
        ask(path="/pypi/foo/1.0/json"),
        ask("Host: evil.example.com"),
        ask("Host: localhost", "X: " + "x" * 5_000),
        ask("Host: localhost", "Connection: close"),
        ask("Host: localhost", "Content-Length: 0", method="POST"),
    ],
)


@HEADERS
async def test_it_says_what_asgi_says(
    library: MemoryLibrary, front: Front, lines: Callable[[MemoryLibrary], tuple[str, ...]]
) -> None:
    """Status, every header and every byte."""
    plain, short, taken = await both(front, ask(*lines(library)))

    assert plain == short
    assert 1 == taken


@MORE
async def test_what_is_more_than_a_document_goes_the_usual_way(front: Front, sent: bytes) -> None:
    """Other spellings, other methods, other hosts, large heads, a last request."""
    plain, short, taken = await both(front, sent)

    assert plain == short
    assert 0 == taken


async def both_in_turn(front: Front, *asked: bytes) -> tuple[list[Any], list[Any], int]:
    """As `both`, of what is asked one after the other on one connection."""
    async with serving(front) as address:
        plain = await in_turn(address, *asked)
    quick, taken = counting(front.quick)
    async with serving(front, quick=quick) as address:
        short = await in_turn(address, *asked)
    return plain, short, len(taken)


@HEADERS
async def test_header_fields_that_were_read_once_are_not_read_again(
    library: MemoryLibrary, front: Front, lines: Callable[[MemoryLibrary], tuple[str, ...]]
) -> None:
    """The same bytes under another request line are the same headers."""
    foo, bar = ask(*lines(library)), ask(*lines(library), path="/pypi/bar/json")
    plain, short, taken = await both_in_turn(front, foo, bar, foo, foo, bar)

    assert plain == short
    assert 5 == taken


@MORE
async def test_known_header_fields_lead_nowhere_else(front: Front, sent: bytes) -> None:
    """Nor does what comes between them."""
    plain, short, _ = await both_in_turn(front, ask(), ask(), ask(), sent)

    assert plain == short
    assert short[:3] == 3 * short[:1]


@pytest.mark.parametrize("kept", [1, 256])
async def test_few_kinds_of_header_fields_are_kept(
    front: Front, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr(server, "FIELDS_KEPT", kept)
    kinds = [ask("Host: localhost", f"Accept-Encoding: {each}") for each in ("gzip", "zstd", "x")]
    plain, short, taken = await both_in_turn(front, *(3 * kinds), *reversed(3 * kinds))

    assert plain == short
    assert 18 == taken


async def test_half_a_request_teaches_nothing(front: Front) -> None:
    """Its second half looks like a whole one, and the fields of both are those of this request."""
    async with serving(front, quick=front.quick) as address:
        reader, writer = await asyncio.open_connection(*address)
        async with asyncio.timeout(SECONDS_MAX):
            writer.write(ask())
            await answered(reader)
            writer.write(b"GET /pypi/foo/json HTTP/1.1\r\nAccept-Encoding: gzip\r\nX: ")
            # Once another is answered the half has been read, too.
            await in_turn(address, ask("Host: localhost", "X: 1"))
            writer.write(ask())
            _, packed, _ = await answered(reader)
        after = await in_turn(address, ask(), ask(), ask())
        writer.close()

    assert "gzip" == packed["content-encoding"]
    assert not any("content-encoding" in headers for _, headers, _ in after)


async def test_answers_keep_the_order_of_their_questions(front: Front) -> None:
    """Sent at once, quick ones behind slow ones."""
    other = ask(path="/pypi/bar/json")
    sent = ask() + SLOW + other + ask(path="/pypi/none/json") + ask() + other + SLOW + ask()
    plain, short, _ = await both(front, sent, 8)

    assert plain == short


async def test_a_body_with_a_get_is_read_over(front: Front) -> None:
    body = ask("Host: localhost", "Content-Length: 5") + b"hello"
    plain, short, taken = await both(front, body + ask() + body + ask(), 4)

    assert plain == short
    assert 4 == taken


async def test_who_does_not_read_is_asked_to_wait(front: Front) -> None:
    """Thousands of questions at once and no reader: what is unsent stays bounded."""
    quick, taken = counting(front.quick)
    count = 20_000
    async with serving(front, quick=quick) as address:
        reader, writer = await asyncio.open_connection(*address, limit=2**20)
        writer.write(ask() * count)
        await asyncio.sleep(0.5)
        answered = len(taken)

        assert answered < count

        async with asyncio.timeout(SECONDS_MAX):
            left = count
            while left:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r")[0]))
                left -= 1
        writer.close()


async def test_an_idle_connection_is_closed(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "KEEP_ALIVE_SECONDS", 0.2)
    monkeypatch.setattr(server, "SWEEP_SECONDS", 0.05)
    async with serving(front, quick=front.quick) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(ask())

        assert await closed(reader)

        writer.close()


async def test_a_damaged_view_is_told_by_the_usual_way(library: MemoryLibrary) -> None:
    """A problem in place of a connection that ends."""

    class Damaged(MemoryLibrary):
        def document(self, name: NormalizedName) -> Document | None:
            raise ViewCorrupt("malformed")

    plain, short, taken = await both(Front(Damaged(), [], ()), ask())

    assert plain == short
    assert ("HTTP/1.1 503 Service Unavailable", 0) == (short[0][0], taken)


async def test_its_answers_are_counted(library: MemoryLibrary, front: Front) -> None:
    """As those by ASGI are, by status; where each request is told it is not taken."""
    requests = Requests()
    observed = Observed(front, [], requests, shortcut=front.quick)
    known = ask("Host: localhost", f"If-None-Match: {tag(library)}")
    async with serving(observed, quick=observed.quick) as address:
        await answers(address, ask() + ask() + known, 3)
        await in_turn(address, ask(), ask(), ask())
    route = "/pypi/{name}/json"

    assert {Kind(route, "GET", 200): 5, Kind(route, "GET", 304): 1} == requests.count
    assert (
        Observed(front, [], requests, told=True, shortcut=front.quick).quick(
            b"/pypi/foo/json", [(b"host", b"localhost")], b""
        )
        is None
    )
