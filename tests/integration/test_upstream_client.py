"""The HTTP client against a server that answers whatever bytes the test wants."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import struct
import time
import tracemalloc
import xmlrpc.client
import zlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from schemas.errors import (
    BrokenBody,
    ForeignMetadata,
    JournalGone,
    OversizedBody,
    PypistreamError,
    RateLimited,
    UpstreamRefused,
    UpstreamUnavailable,
)
from schemas.names import normalize
from tests.support.raw_server import Answerer, Asked, RawServer, always, message, packed, raw_server
from upstream.answers import LIMITED_SECONDS, REFUSED_SECONDS
from upstream.client import HttpUpstream
from upstream.settings import MIB, BodyLimits, ClientSettings, RouteLimits
from upstream.source import Document, NotFound, NotModified

DEMO = normalize("demo")
BODY = json.dumps({"info": {"name": "demo"}, "last_serial": 42}).encode()
FULL = packed(BODY, etag='"abc"', x_pypi_last_serial="42", content_type="application/json")
GRACE_SECONDS = 0.05  # what was on its way when the answer left


def quick(url: str, **changed: Any) -> ClientSettings:
    """Settings whose time-outs a test can wait for."""
    base = ClientSettings(url, "me@example.org", rate=0, read_seconds_max=0.5)
    short = {
        name: replace(getattr(base, name), total_seconds=1.0)
        for name in ("document", "journal", "index")
    }
    return replace(base, **(short | changed))


@contextlib.asynccontextmanager
async def upstream(
    answer: Answerer, **changed: Any
) -> AsyncIterator[tuple[HttpUpstream, RawServer]]:
    async with raw_server(answer) as server:
        client = HttpUpstream(quick(server.url, **changed))
        try:
            yield client, server
        finally:
            await client.close()


def xml(value: Any) -> bytes:
    return message(
        xmlrpc.client.dumps((value,), methodresponse=True, allow_none=True).encode(),
        content_type="text/xml",
    )


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
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        BrokenBody,
    ),
    "bad chunk": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n",
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
    client = HttpUpstream(quick(url))
    with pytest.raises(UpstreamUnavailable, match="ConnectError"):
        await client.project(DEMO)
    with pytest.raises(UpstreamUnavailable, match="ConnectError"):
        await client.last_serial()
    await client.close()


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", message(b"", length=9)])
async def test_a_hang_ends(start: bytes) -> None:
    """No answer, half a head, no body: over after the read time-out."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        await writer.drain()
        await asyncio.sleep(60)

    async with upstream(answer) as (client, _):
        started = time.monotonic()
        with pytest.raises((UpstreamUnavailable, BrokenBody)):
            await client.project(DEMO)
        assert 0.4 < time.monotonic() - started < 0.95


@pytest.mark.parametrize(
    "start",
    [b"HTTP/1.1 200 OK\r\nx: ", message(b"", length=10**6), message(b"", 404, length=10**6)],
)
async def test_a_slow_drip_ends(start: bytes) -> None:
    """A byte now and then satisfies every read time-out; the whole call has a deadline."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with upstream(answer, in_flight=1) as (client, server):
        started = time.monotonic()
        with pytest.raises(UpstreamUnavailable, match="no whole answer"):
            await client.project(DEMO)
        assert 0.9 < time.monotonic() - started < 1.5
        server.answer = always(FULL)
        assert isinstance(await client.project(DEMO), Document)


@pytest.mark.parametrize(("pause", "comes"), [(0.2, False), (0.02, True)])
async def test_a_journal_that_drips_does_not_use_up_its_long_deadline(
    pause: float, comes: bool
) -> None:
    """Below the least pace it is given up long before; a poor line above it is waited for."""
    page = xml(42)

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        for place in range(0, len(page), 20):
            writer.write(page[place : place + 20])
            await writer.drain()
            await asyncio.sleep(pause)

    limits = RouteLimits(BodyLimits(), 60, slow_after_seconds=0.2, slow_bytes_per_second=200)
    async with upstream(answer, journal=limits) as (client, _):
        started = time.monotonic()
        if comes:
            assert await client.last_serial() == 42
        else:
            with pytest.raises(UpstreamUnavailable, match="too slowly"):
                await client.last_serial()
            assert time.monotonic() - started < 5


async def test_a_cancelled_call_gives_back_its_slot_and_bytes() -> None:
    """With one slot the next call would otherwise wait for ever."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(message(b"x" * 100_000, length=200_000))
        await writer.drain()
        await asyncio.sleep(60)

    async with upstream(answer, in_flight=1) as (client, server):
        task = asyncio.create_task(client.project(DEMO))
        await asyncio.sleep(0.1)
        assert client._sender._budget.used == 100_000  # type: ignore[attr-defined]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client._sender._budget.used == 0  # type: ignore[attr-defined]
        server.answer = always(FULL)
        assert isinstance(await client.project(DEMO), Document)


async def test_a_body_without_end_is_cut_at_the_limit() -> None:
    """Chunks for ever: given up after the limit, not after memory is full."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            await writer.drain()

    limits = RouteLimits(BodyLimits(MIB, MIB), 5)
    async with upstream(answer, document=limits) as (client, _):
        with pytest.raises(OversizedBody) as caught:
            await client.project(DEMO)

    assert MIB < caught.value.bytes_seen < 2 * MIB


async def test_a_bomb_costs_little() -> None:
    """A quarter of a GiB in 256 KiB: refused within the limit's memory and a second."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(MIB)) for _ in range(256)) + packer.flush()
    async with upstream(always(message(bomb, content_encoding="gzip"))) as (client, _):
        tracemalloc.start()
        started = time.monotonic()
        with pytest.raises(OversizedBody):
            await client.project(DEMO)
        seconds = time.monotonic() - started
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert peak < 64 * MIB
    assert seconds < 1


async def test_giants_share_the_byte_budget() -> None:
    """Six bodies of 4 MiB with a budget of 5: all come whole, never more than two at a time."""
    giant = bytes(4 * MIB)
    limits = RouteLimits(BodyLimits(), 15)
    async with upstream(
        always(message(giant)), in_flight=6, bytes_in_flight_max=5 * MIB, document=limits
    ) as (client, _):
        tasks = [asyncio.create_task(client.project(DEMO)) for _ in range(6)]
        most = 0
        while not all(task.done() for task in tasks):
            most = max(most, client._sender._budget.used)  # type: ignore[attr-defined]
            await asyncio.sleep(0)

        for task in tasks:
            assert task.result() == Document(giant, None, "")
    assert most <= 9 * MIB


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


async def test_nothing_is_sent_while_a_hold_is_on() -> None:
    """Eight at once, one is told to wait a second: what is sent after that waits, on all routes."""
    told: list[float] = []
    holds: list[tuple[float, str]] = []

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.01)
        if len(server.asked) >= 40 and not told:
            told.append(time.monotonic())
            writer.write(message(b"", 429, retry_after="1"))
        else:
            writer.write(FULL)

    async with raw_server(answer) as server:
        client = HttpUpstream(
            quick(server.url, in_flight=8), on_hold=lambda *hold: holds.append(hold)
        )

        async def one() -> None:
            with contextlib.suppress(PypistreamError):
                await client.permit()
                await client.project(DEMO)

        await asyncio.gather(*(one() for _ in range(60)))
        with contextlib.suppress(PypistreamError):
            await client.last_serial()
        await client.close()

    early = [a for a in server.asked if told[0] + GRACE_SECONDS < a.at < told[0] + 1]
    assert early == []
    assert len(server.asked) == 61
    assert server.asked[-1].at > told[0] + 1
    [(until, reason)] = holds
    assert until - time.time() < 1.2
    assert "429" in reason


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (message(b"", 429), LIMITED_SECONDS),
        (message(b"", 429, retry_after="soon"), LIMITED_SECONDS),
        (message(b"", 429, retry_after="7"), 7),
        (message(b"", 503, retry_after="7200"), 3600),
    ],
)
async def test_answers_that_ask_to_wait(answer: bytes, seconds: float) -> None:
    """On any route: RateLimited with the time, and a hold of that length."""
    for call in ("project", "journal", "map"):
        async with upstream(always(answer)) as (client, _):
            calls = {
                "project": lambda c: c.project(DEMO),
                "journal": lambda c: c.journal_since(1),
                "map": lambda c: c.serial_map(),
            }
            with pytest.raises(RateLimited) as caught:
                await calls[call](client)
            assert caught.value.retry_after_seconds == seconds
            assert seconds < client.held_seconds() + 0.05 < seconds + 0.2


async def test_a_hold_that_comes_while_a_connection_is_made() -> None:
    """The request was let through already, but has not left: it waits all the same."""
    async with upstream(always(FULL)) as (client, server):
        gate = client._sender.gate
        before_send = gate.before_send
        until: list[float] = []

        async def then_a_hold(*, control: bool = False) -> None:
            await before_send(control=control)
            if not until:
                until.append(time.monotonic() + 0.3)
                client.hold(time.time() + 0.3, "another process was asked to wait")

        gate.before_send = then_a_hold  # type: ignore[method-assign]
        assert isinstance(await client.project(DEMO), Document)

    assert [asked.at > until[0] for asked in server.asked] == [True]
    assert client.requests_sent == 1


async def test_requests_arrive_no_faster_than_the_rate() -> None:
    """Thirty at 100 per second, journal among them: evenly, counted where they arrive."""
    async with upstream(always(xml(7)), rate=100, in_flight=8) as (client, server):

        async def one(number: int) -> None:
            if number % 10 == 0:
                await client.last_serial()
            else:
                await client.permit()
                await client.project(DEMO)

        await asyncio.gather(*(one(number) for number in range(30)))

    times = [asked.at for asked in server.asked]
    assert times[-1] - times[0] >= 29 / 100
    for first in times:
        assert sum(first <= at < first + 0.1 for at in times) <= 12


async def test_the_journal() -> None:
    """Pages and the last serial, under our name, apart from documents that hang."""
    rows = [["demo", "1.0", 1_700_000_000, "new release", 11], ["bad"]]

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.method == "GET":
            await asyncio.sleep(60)
        writer.write(xml(12 if b"last_serial" in asked.body else rows))

    async with upstream(answer, in_flight=1) as (client, server):
        hanging = asyncio.create_task(client.project(DEMO))
        await asyncio.sleep(0.05)
        assert await client.last_serial() == await client.probe() == 12
        page = await client.journal_since(10)
        with pytest.raises(UpstreamUnavailable):
            await hanging

    assert [row.serial for row in page.rows] == [11]
    assert len(page.bad) == 1
    posts = [asked for asked in server.asked if asked.method == "POST"]
    assert {asked.target for asked in posts} == {"/pypi"}
    assert {asked.headers["content-type"] for asked in posts} == {"text/xml"}
    assert all(asked.headers["user-agent"].endswith("(+me@example.org)") for asked in posts)
    assert xmlrpc.client.loads(posts[2].body) == ((10,), "changelog_since_serial")


async def test_a_large_page_leaves_the_loop_free() -> None:
    """20 000 rows are parsed beside the loop, which goes on turning."""
    rows = [["demo", "1.0", 1_700_000_000, "new release", serial] for serial in range(1, 20_001)]
    async with upstream(always(xml(rows))) as (client, _):
        task = asyncio.create_task(client.journal_since(0))
        turns = 0
        while not task.done():
            await asyncio.sleep(0.005)
            turns += 1

    assert len(task.result().rows) == 20_000
    assert turns > 5


@pytest.mark.parametrize(
    ("answer", "expected", "at_first_start", "wait"),
    [
        (message(b"", 403), UpstreamUnavailable, UpstreamRefused, REFUSED_SECONDS),
        (message(b"", 401), UpstreamUnavailable, UpstreamRefused, REFUSED_SECONDS),
        (message(b"<html>"), UpstreamUnavailable, UpstreamRefused, None),
        (
            message(b"", 301, location="https://files.example/"),
            UpstreamUnavailable,
            UpstreamRefused,
            None,
        ),
        (message(b"", 404), JournalGone, JournalGone, None),
        (message(b"", 410), JournalGone, JournalGone, None),
        (message(b"", 501), JournalGone, JournalGone, None),
        (message(b"", 500), UpstreamUnavailable, UpstreamUnavailable, None),
        (message(b"no xml"), UpstreamUnavailable, UpstreamUnavailable, None),
        (message(b"", length=33 * MIB), UpstreamUnavailable, UpstreamUnavailable, None),
        (message(b"cut", length=30), BrokenBody, BrokenBody, None),
    ],
)
async def test_a_journal_that_is_none(
    answer: bytes,
    expected: type[PypistreamError],
    at_first_start: type[PypistreamError],
    wait: float | None,
) -> None:
    """While running it is asked again; at a first start a wrong address ends the program."""
    async with upstream(always(answer, close=True)) as (client, _):
        with pytest.raises(expected) as caught:
            await client.last_serial()
        assert getattr(caught.value, "retry_after_seconds", None) == wait
        with pytest.raises(expected):
            await client.journal_since(1)
        with pytest.raises(at_first_start):
            await client.probe()


async def test_an_xmlrpc_rate_limit_holds_everyone() -> None:
    """Its time is read from the text of the fault."""
    text = "HTTPTooManyRequests: too many requests by the client. Limit may reset in 9 seconds."
    fault = xmlrpc.client.dumps(xmlrpc.client.Fault(-32500, text), methodresponse=True).encode()
    holds: list[tuple[float, str]] = []
    async with raw_server(always(message(fault))) as server:
        client = HttpUpstream(quick(server.url), on_hold=lambda *hold: holds.append(hold))
        with pytest.raises(RateLimited) as caught:
            await client.last_serial()
        await client.close()

    assert caught.value.retry_after_seconds == 9
    assert 8.9 < client.held_seconds() < 9.2
    assert len(holds) == 1


async def test_the_serial_map() -> None:
    """PEP 691 JSON, its ETag, and 304."""
    index = {
        "meta": {"api-version": "1.4", "_last-serial": 9},
        "projects": [{"name": "Demo", "_last-serial": 8}],
    }

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.headers.get("if-none-match") == '"m"':
            writer.write(message(status=304, x_pypi_last_serial="9"))
        else:
            writer.write(packed(json.dumps(index).encode(), etag='"m"'))

    async with upstream(answer) as (client, server):
        found = await client.serial_map()
        assert not isinstance(found, NotModified)
        assert (found.last_serial, found.etag) == (9, '"m"')
        assert [(p.name, p.serial) for p in found.projects] == [("Demo", 8)]
        assert await client.serial_map('"m"') == NotModified(9)

    assert {asked.target for asked in server.asked} == {"/simple/"}
    assert {a.headers["accept"] for a in server.asked} == {"application/vnd.pypi.simple.v1+json"}


@pytest.mark.parametrize(
    "answer",
    [
        message(b"<html>", content_type="text/html"),
        message(b"{}"),
        message(b"", 404),
        message(b"", 403),
        message(status=304),
        message(b"", length=300 * MIB),
    ],
)
async def test_an_index_that_is_none(answer: bytes) -> None:
    """Asked again, whatever is wrong: there is nothing to dead-letter."""
    async with upstream(always(answer, close=True)) as (client, _):
        with pytest.raises(UpstreamUnavailable):
            await client.serial_map()


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
        client = HttpUpstream(quick(f"{server.url}/mirror/"))
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
