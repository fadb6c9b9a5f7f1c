"""The HTTP client, journal and index: whatever comes in their place is an error of ours."""

from __future__ import annotations

import asyncio
import json
import xmlrpc.client

import pytest

from schemas.errors import (
    BrokenBody,
    JournalGone,
    PypistreamError,
    RateLimited,
    UpstreamUnavailable,
)
from tests.support.fake_clock import FakeClock
from tests.support.raw_server import Asked, always, message, packed, raw_server
from tests.support.upstream_world import DEMO, unpaced, upstream, xml
from upstream.answers import REFUSED_SECONDS
from upstream.client import HttpUpstream
from upstream.limits import HOLD_MARGIN_SECONDS
from upstream.settings import MIB
from upstream.source import NotModified


async def test_the_journal() -> None:
    """Pages and the last serial, under our name, apart from documents that hang."""
    rows = [["demo", "1.0", 1_700_000_000, "new release", 11], ["bad"]]
    hangs = asyncio.Event()

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.method == "GET":
            hangs.set()
            await asyncio.sleep(60)
        writer.write(xml(12 if b"last_serial" in asked.body else rows))

    async with upstream(answer, in_flight=1) as (client, server):
        hanging = asyncio.create_task(client.project(DEMO))
        await hangs.wait()
        assert await client.last_serial() == 12
        page = await client.journal_since(10)
        assert not hanging.done()
        hanging.cancel()
        await asyncio.wait([hanging])

    assert [row.serial for row in page.rows] == [11]
    assert len(page.bad) == 1
    posts = [asked for asked in server.asked if asked.method == "POST"]
    assert {asked.target for asked in posts} == {"/pypi"}
    assert {asked.headers["content-type"] for asked in posts} == {"text/xml"}
    assert all(asked.headers["user-agent"].endswith("(+me@example.org)") for asked in posts)
    assert xmlrpc.client.loads(posts[1].body) == ((10,), "changelog_since_serial")


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
    ("answer", "expected", "wait"),
    [
        (message(b"", 403), UpstreamUnavailable, REFUSED_SECONDS),
        (message(b"", 401), UpstreamUnavailable, REFUSED_SECONDS),
        (message(b"<html>"), UpstreamUnavailable, None),
        (
            message(b"", 301, location="https://files.example/"),
            UpstreamUnavailable,
            None,
        ),
        (message(b"", 404), JournalGone, None),
        (message(b"", 410), JournalGone, None),
        (message(b"", 501), JournalGone, None),
        (message(b"", 500), UpstreamUnavailable, None),
        (message(b"no xml"), UpstreamUnavailable, None),
        (message(b"", length=33 * MIB), UpstreamUnavailable, None),
        (message(b"cut", length=30), BrokenBody, None),
    ],
)
async def test_a_journal_that_is_none(
    answer: bytes,
    expected: type[PypistreamError],
    wait: float | None,
) -> None:
    """What may be a fault of the moment is asked again; what says that it is gone is not."""
    async with upstream(always(answer, close=True)) as (client, _):
        with pytest.raises(expected) as caught:
            await client.last_serial()
        assert getattr(caught.value, "retry_after_seconds", None) == wait
        with pytest.raises(expected):
            await client.journal_since(1)


async def test_an_xmlrpc_rate_limit_holds_everyone() -> None:
    """Its time is read from the text of the fault."""
    text = "HTTPTooManyRequests: too many requests by the client. Limit may reset in 9 seconds."
    fault = xmlrpc.client.dumps(xmlrpc.client.Fault(-32500, text), methodresponse=True).encode()
    holds: list[tuple[float, str]] = []
    async with raw_server(always(message(fault))) as server:
        client = HttpUpstream(
            unpaced(server.url), clock=FakeClock(), on_hold=lambda *hold: holds.append(hold)
        )
        with pytest.raises(RateLimited) as caught:
            await client.last_serial()
        await client.close()

    assert caught.value.retry_after_seconds == 9
    assert client.held_seconds() == 9 + HOLD_MARGIN_SECONDS
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
