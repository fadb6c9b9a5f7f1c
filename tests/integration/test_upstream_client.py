"""The HTTP client against a server that answers whatever bytes the test wants: documents."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct

import pytest

from schemas.errors import BrokenBody, ForeignMetadata, OversizedBody, UpstreamUnavailable
from tests.support.raw_server import Asked, always, message, raw_server
from tests.support.upstream_world import BODY, DEMO, FULL, unpaced, upstream
from upstream.client import HttpUpstream
from upstream.settings import MIB, PIECES_FREE
from upstream.source import Document, NotFound, NotModified


async def test_a_document_with_its_serial_and_etag() -> None:
    """Unpacked; the request names program and contact and asks for nothing but gzip."""
    async with upstream(always(FULL)) as (client, server):
        assert await client.project(DEMO) == Document(BODY, 42, '"abc"')

    [asked] = server.asked
    assert (asked.method, asked.target) == ("GET", "/pypi/demo/json")
    assert asked.headers["accept-encoding"] == "gzip"
    assert asked.headers["user-agent"].endswith(" (+me@example.org)")
    assert asked.headers["host"] == server.url.removeprefix("http://")
    assert "if-none-match" not in asked.headers
    assert "cookie" not in asked.headers


async def test_a_plain_document_without_headers() -> None:
    """Serial and ETag are optional."""
    async with upstream(always(message(BODY))) as (client, _):
        assert await client.project(DEMO) == Document(BODY, None, "")


async def test_an_unchanged_document() -> None:
    """A 304 answers the ETag that was sent; without one it is an error."""
    async with upstream(always(message(status=304, x_pypi_last_serial="42"))) as (client, server):
        assert await client.project(DEMO, '"abc"') == NotModified(42)
        assert server.asked[0].headers["if-none-match"] == '"abc"'
        with pytest.raises(BrokenBody):
            await client.project(DEMO)


@pytest.mark.parametrize("etag", ['"a\r\nX-Evil: 1"', "é", "x" * 10_000])
async def test_an_etag_that_fits_in_no_header_is_not_sent(etag: str) -> None:
    """It comes from a topic, which may hold anything."""
    async with upstream(always(FULL)) as (client, server):
        await client.project(DEMO, etag)

    assert not {"if-none-match", "x-evil"} & set(server.asked[0].headers)


@pytest.mark.parametrize(
    "answer",
    [
        message(b'{"message": "Not Found"}', 404),
        message(b"<html>", 404, content_type="text/html"),
        message(b"not gzip", 404, content_encoding="gzip"),
        message(b"x" * 200_000, 404),
        message(b"cut", 404, length=50),
        message(b"", 410),
    ],
)
async def test_a_missing_document_whatever_the_body_says(answer: bytes) -> None:
    """404 is an answer."""
    async with upstream(always(answer, close=True)) as (client, _):
        assert await client.project(DEMO) == NotFound()


async def test_connections_are_kept_and_bounded() -> None:
    """A hundred requests, answers of every kind: never more than `in_flight` at once."""
    answers = [FULL, message(b"{}", 404), message(status=304), message(b"oops", 500)]

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.002)
        writer.write(answers[len(server.asked) % len(answers)])

    async with upstream(answer, in_flight=4) as (client, server):
        await asyncio.gather(
            *(client.project(DEMO, "e") for _ in range(100)), return_exceptions=True
        )

    assert len(server.asked) == client.requests_sent == 100
    assert server.connections == server.open_peak == 4
    assert server.busy_peak == 4


GZIP = gzip.compress(BODY)
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
HOSTILE = {
    "length too long": (message(BODY, length=len(BODY) + 10), BrokenBody),
    "gzip cut, length agrees": (message(GZIP[:-9], content_encoding="gzip"), BrokenBody),
    "gzip without trailer": (message(GZIP[:-8], content_encoding="gzip"), BrokenBody),
    "gzip with garbage": (message(GZIP + b"x", content_encoding="gzip"), BrokenBody),
    "length too short": (message(GZIP, length=20, content_encoding="gzip"), BrokenBody),
    "no gzip at all": (message(BODY, content_encoding="gzip"), BrokenBody),
    "brotli": (message(BODY, content_encoding="br"), BrokenBody),
    "gzip twice": (message(gzip.compress(GZIP), content_encoding="gzip, gzip"), BrokenBody),
    "two encodings": (
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-encoding: br\r\n\r\n" + GZIP,
        BrokenBody,
    ),
    "chunks without an end": (
        CHUNKED + b"5\r\nhello\r\n",
        BrokenBody,
    ),
    "bad chunk": (
        CHUNKED + b"zz\r\nhello\r\n",
        BrokenBody,
    ),
    "a byte in each chunk": (
        CHUNKED + b"1\r\nx\r\n" * (PIECES_FREE + 1) + b"0\r\n\r\n",
        BrokenBody,
    ),
    "chunks of another length": (
        CHUNKED[:-2] + b"content-length: 9\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        BrokenBody,
    ),
    "gzip without a length, cut": (
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n" + GZIP[:-3],
        BrokenBody,
    ),
    "announced too long": (message(b"", length=65 * MIB), OversizedBody),
    "server error": (message(b"<html>", 500), UpstreamUnavailable),
    "unavailable": (message(b"", 503), UpstreamUnavailable),
    "forbidden": (message(b"", 403), UpstreamUnavailable),
    "no content": (message(b"", 204), UpstreamUnavailable),
    "teapot": (message(b"", 418), UpstreamUnavailable),
    "nothing": (b"", UpstreamUnavailable),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", UpstreamUnavailable),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        UpstreamUnavailable,
    ),
    "no number as length": (
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\nab",
        UpstreamUnavailable,
    ),
    "header without an end": (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000, UpstreamUnavailable),
    "header that is none": (b"HTTP/1.1 200 OK\r\n\x00\xff: \x01\r\n\r\n", UpstreamUnavailable),
    "redirect to nowhere": (message(b"", 302), UpstreamUnavailable),
    "redirect to a file": (message(b"", 302, location="file:///x"), UpstreamUnavailable),
    "redirect to itself": (message(b"", 302, location="json"), UpstreamUnavailable),
    "redirect to another project": (
        message(b"", 301, location="/pypi/other/json"),
        ForeignMetadata,
    ),
    "redirect to a page": (message(b"", 302, location="/login"), UpstreamUnavailable),
    "redirect with a bad port": (
        message(b"", 302, location="http://127.0.0.1:x/"),
        UpstreamUnavailable,
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_hostile_answers_are_errors_of_ours(case: str) -> None:
    """Never parsed, never another exception; and the next request works."""
    data, expected = HOSTILE[case]
    hostile = True

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(data if hostile else FULL)
        if hostile:
            writer.close()

    async with upstream(answer, in_flight=1) as (client, _):
        with pytest.raises(expected) as caught:
            await client.project(DEMO)
        hostile = False
        assert await client.project(DEMO) == Document(BODY, 42, '"abc"')
        assert client._sender._budget.used == 0  # type: ignore[attr-defined]

    assert type(caught.value) is expected
    assert str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_connection_that_is_reset() -> None:
    """Before the answer: unavailable; inside the body: broken."""
    head = message(b"", length=1000)

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if len(server.asked) > 1:
            writer.write(head + b"x" * 10)
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()

    async with upstream(answer) as (client, server):
        with pytest.raises(UpstreamUnavailable):
            await client.project(DEMO)
        with pytest.raises(BrokenBody):
            await client.project(DEMO)


async def test_nobody_listens() -> None:
    """Connection refused."""
    async with raw_server(always(b"")) as server:
        url = server.url
    client = HttpUpstream(unpaced(url))
    with pytest.raises(UpstreamUnavailable, match="ConnectError"):
        await client.project(DEMO)
    with pytest.raises(UpstreamUnavailable, match="ConnectError"):
        await client.last_serial()
    await client.close()


async def test_redirects_on_the_same_host_are_followed() -> None:
    """Three hops, ETag and limits kept; a fourth is one too many."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        hop = int(asked.target.partition("hop=")[2] or 0)
        last = hop >= hops
        writer.write(FULL if last else message(b"", 301, location=f"?hop={hop + 1}"))

    async with upstream(answer) as (client, server):
        hops = 3
        assert isinstance(await client.project(DEMO, "e"), Document)
        assert [asked.headers.get("if-none-match") for asked in server.asked] == ["e"] * 4
        hops = 4
        with pytest.raises(UpstreamUnavailable, match="more than 3 redirects"):
            await client.project(DEMO)
        assert len(server.asked) == 8


async def test_no_other_port_is_ever_asked() -> None:
    """A redirect must not reach what listens beside us."""
    async with raw_server(always(FULL)) as other:
        elsewhere = message(b"", 302, location=f"{other.url}/pypi/demo/json")
        async with upstream(always(elsewhere)) as (client, _):
            for call in (client.project(DEMO), client.serial_map(), client.last_serial()):
                with pytest.raises(UpstreamUnavailable):
                    await call
        assert other.connections == 0


@pytest.mark.parametrize(
    ("version", "target"),
    [
        ("1.0", "1.0"),
        ("0.2.4b\n0.2.5b", "0.2.4b%0A0.2.5b"),
        ("../../simple", "..%2F..%2Fsimple"),
        ("1.0 ü", "1.0%20%C3%BC"),
        ("a?b#c%d", "a%3Fb%23c%25d"),
    ],
)
async def test_versions_of_any_text(version: str, target: str) -> None:
    """They stay one segment of the path."""
    async with upstream(always(FULL)) as (client, server):
        assert isinstance(await client.version(DEMO, version), Document)

    assert server.asked[0].target == f"/pypi/demo/{target}/json"


@pytest.mark.parametrize("version", ["", ".", "..", "9" * 201])
async def test_versions_that_fit_in_no_url_are_not_found(version: str) -> None:
    """Without a request."""
    async with upstream(always(FULL)) as (client, server):
        assert await client.version(DEMO, version) == NotFound()

    assert server.asked == []


async def test_a_path_prefix_is_kept() -> None:
    """Somebody's mirror may live below a path."""
    async with raw_server(always(FULL)) as server:
        client = HttpUpstream(unpaced(f"{server.url}/mirror/"))
        await client.project(DEMO)
        await client.close()

    assert server.asked[0].target == "/mirror/pypi/demo/json"


async def test_loopback_takes_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment is for the world outside."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    async with upstream(always(FULL)) as (client, _):
        assert isinstance(await client.project(DEMO), Document)


async def test_a_closed_client_sends_nothing() -> None:
    """Closing twice is no harm; every later call is an error of ours."""
    async with upstream(always(FULL)) as (client, server):
        await client.project(DEMO)
        await client.close()
        await client.close()
        for call in (client.permit(), client.project(DEMO), client.last_serial()):
            with pytest.raises(UpstreamUnavailable, match="closed"):
                await call

    assert len(server.asked) == 1
