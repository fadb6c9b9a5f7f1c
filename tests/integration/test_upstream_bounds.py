"""The HTTP client's bounds: time, memory, holds and pace, against a server that keeps none."""

from __future__ import annotations

import asyncio
import contextlib
import time
import tracemalloc
from typing import Any

import pytest

from schemas.errors import (
    OversizedBody,
    PypistreamError,
    RateLimited,
    UpstreamUnavailable,
)
from tests.support.fake_clock import FakeClock
from tests.support.raw_server import Asked, always, message, raw_server
from tests.support.upstream_world import DEMO, FULL, unpaced, upstream, xml
from upstream.answers import LIMITED_SECONDS
from upstream.client import HttpUpstream
from upstream.limits import HOLD_MARGIN_SECONDS
from upstream.settings import MIB, BodyLimits, RouteLimits
from upstream.source import Document
from upstream.standin.faults.content import bomb

STEPS_MAX = 1_000  # of the loop; a call on loopback takes some 20


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", message(b"", length=9)])
async def test_a_hang_ends(start: bytes) -> None:
    """No answer, half a head, no body: over after the read time-out."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        await writer.drain()
        await asyncio.sleep(60)

    async with upstream(answer, read_seconds_max=0.3) as (client, _):
        with pytest.raises(UpstreamUnavailable, match="ReadTimeout"):
            await client.project(DEMO)


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

    limits = RouteLimits(BodyLimits(), 0.5)
    async with upstream(answer, in_flight=1, document=limits) as (client, server):
        with pytest.raises(UpstreamUnavailable, match="no whole answer"):
            await client.project(DEMO)
        server.answer, found = always(FULL), None
        while found is None:  # its slot is free; half a second may be short on a busy machine
            with contextlib.suppress(UpstreamUnavailable):
                found = await client.project(DEMO)
        assert isinstance(found, Document)


@pytest.mark.parametrize(("pause", "comes"), [(0.2, False), (0.05, True)])
async def test_a_journal_that_drips_does_not_use_up_its_long_deadline(
    pause: float, comes: bool
) -> None:
    """Below the least pace it is given up long before; a poor line above it is waited for."""
    page, clock = xml(42), FakeClock()

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        for place in range(0, len(page), 20):
            writer.write(page[place : place + 20])
            await writer.drain()
            await clock.advance(pause)

    limits = RouteLimits(BodyLimits(), 60, slow_after_seconds=0.2, slow_bytes_per_second=200)
    async with upstream(answer, clock, journal=limits) as (client, _):
        if comes:
            assert await client.last_serial() == 42
        else:
            with pytest.raises(UpstreamUnavailable, match="too slowly"):
                await client.last_serial()


async def test_a_cancelled_call_gives_back_its_slot_and_bytes() -> None:
    """With one slot the next call would otherwise wait for ever."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(message(b"x" * 100_000, length=200_000))
        await writer.drain()
        await asyncio.sleep(60)

    async with upstream(answer, in_flight=1) as (client, server):
        task = asyncio.create_task(client.project(DEMO))
        while client._sender._budget.used < 100_000:  # type: ignore[attr-defined]  # noqa: ASYNC110 (no event says so)
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client._sender._budget.used == 0  # type: ignore[attr-defined]
        server.answer = always(FULL)
        assert isinstance(await client.project(DEMO), Document)


@pytest.mark.parametrize("warm", [False, True], ids=["new connection", "kept connection"])
async def test_a_call_may_be_cancelled_at_any_step(warm: bool) -> None:
    """Wherever a worker's end meets a request, the next one on the only slot is answered.

    Cancelled while it put its connection back, it had left it in use for ever: each later call on
    that slot ended with a PoolTimeout.
    """
    for steps in range(STEPS_MAX):
        async with upstream(always(FULL), in_flight=1, connect_seconds_max=1.0) as (client, _):
            if warm:
                await client.project(DEMO)
            task = asyncio.create_task(client.project(DEMO))
            for _ in range(steps):
                await asyncio.sleep(0)
            if task.done():
                assert steps > 5  # it was cancelled in the midst of things before
                return
            task.cancel()
            await asyncio.wait([task])
            assert isinstance(await client.project(DEMO), Document), steps
    pytest.fail("a call has no end")


async def test_a_body_without_end_is_cut_at_the_limit() -> None:
    """Chunks for ever: given up after the limit, not after memory is full."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            await writer.drain()

    limits = RouteLimits(BodyLimits(MIB, MIB), 60)
    async with upstream(answer, document=limits) as (client, _):
        with pytest.raises(OversizedBody) as caught:
            await client.project(DEMO)

    assert MIB < caught.value.bytes_seen < 2 * MIB


async def test_a_bomb_costs_little() -> None:
    """A quarter of a GiB in 256 KiB: refused long before its end, within the limit's memory."""
    answer = message(bomb(b"demo", 256), content_encoding="gzip")
    async with upstream(always(answer)) as (client, _):
        tracemalloc.start()
        with pytest.raises(OversizedBody) as caught:
            await client.project(DEMO)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert peak < 64 * MIB
    assert caught.value.bytes_seen < 64 * MIB


async def test_giants_share_the_byte_budget() -> None:
    """Six bodies of 4 MiB with a budget of 5: all come whole, never more than two at a time."""
    giant = bytes(4 * MIB)
    limits = RouteLimits(BodyLimits(), 60)
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


async def test_nothing_is_sent_while_a_hold_is_on() -> None:
    """Eight at once, one is told to wait a second: what is sent after that waits, on all routes."""
    told: list[float] = []
    holds: list[tuple[float, str]] = []
    sent: list[int] = []  # when the client learned of it

    def on_hold(*hold: Any) -> None:
        holds.append(hold)
        sent.append(client.requests_sent)

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.01)
        if len(server.asked) >= 40 and not told:
            told.append(time.monotonic())
            writer.write(message(b"", 429, retry_after="1"))
        else:
            writer.write(FULL)

    async with raw_server(answer) as server:
        client = HttpUpstream(unpaced(server.url, in_flight=8), on_hold=on_hold)

        async def one() -> None:
            with contextlib.suppress(PypistreamError):
                await client.permit()
                await client.project(DEMO)

        await asyncio.gather(*(one() for _ in range(60)))
        with contextlib.suppress(PypistreamError):
            await client.last_serial()
        await client.close()

    assert [asked for asked in server.asked[sent[0] :] if asked.at < told[0] + 1] == []
    assert 40 <= sent[0] < len(server.asked) == 61
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
        async with upstream(always(answer), FakeClock()) as (client, _):
            calls = {
                "project": lambda c: c.project(DEMO),
                "journal": lambda c: c.journal_since(1),
                "map": lambda c: c.serial_map(),
            }
            with pytest.raises(RateLimited) as caught:
                await calls[call](client)
            assert caught.value.retry_after_seconds == seconds
            assert client.held_seconds() == seconds + HOLD_MARGIN_SECONDS


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
    """Thirty at 100 per second, journal among them, counted where they arrive."""
    async with upstream(always(xml(7)), rate=100, in_flight=8) as (client, server):

        async def one(number: int) -> None:
            if number % 10 == 0:
                await client.last_serial()
            else:
                await client.permit()
                await client.project(DEMO)

        begun = time.monotonic()
        await asyncio.gather(*(one(number) for number in range(30)))

    # How evenly they leave, a clock by hand shows: tests/unit/test_upstream_limits.py.
    assert server.asked[-1].at - begun >= 29 / 100
