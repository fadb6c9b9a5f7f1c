"""Streams under clients that are slow, many, or hostile."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest

from sinks.http.streams import changes as streams_changes
from sinks.http.streams import channel as streams_channel
from sinks.http.streams import hub as streams_hub
from sinks.http.streams.channel import QUEUE_BYTES_MAX, QUEUE_CHUNKS_MAX
from sinks.http.streams.hub import Limits
from streams.memory_log import MemoryLog
from tests.support.changes_world import Journal, row
from tests.support.sse import SseClient, connected
from tests.support.streams_world import StreamsWorld, document, publish, streaming

PATH = "/v1/stream/changes"


async def founded(partitions: int = 1) -> Journal:
    journal = Journal(MemoryLog(partitions))
    await journal.found()
    return journal


def serials(client: SseClient) -> list[int]:
    return [event.value["serial"] for event in client.events if event.event == "message"]


async def chunks(world: StreamsWorld, client: SseClient, first: int, count: int) -> None:
    """So many writes to a client that reads, each of its own."""
    for serial in range(first, first + count):
        await world.journal.rows([row(serial, f"p{serial}")])
        await reached(client, serial)


async def begun(*clients: SseClient) -> None:
    """All are served."""
    for client in clients:
        await client.until(partial(_has_frames, client))


async def reached(client: SseClient, serial: int) -> None:
    """It has that change, or the position."""
    await client.until(partial(_is_at, client, str(serial)))


async def ended(client: SseClient) -> None:
    """It got its whole answer."""
    await client.until(partial(_has_ended, client))


async def rest(world: StreamsWorld, last: int, end: int) -> list[int]:
    """The serials after `last`; on a busy machine, over more than one connection."""
    had: list[int] = []
    while last < end:
        async with connected(world.app, PATH, headers={"Last-Event-ID": str(last)}) as client:
            await client.until(lambda: client.ended or serials(client)[-1:] == [end])
        had += serials(client)
        last = had[-1] if had else last
    return had


def _has_frames(client: SseClient) -> bool:
    return bool(client.frames)


def _is_at(client: SseClient, last: str) -> bool:
    return client.last_id == last


def _has_ended(client: SseClient) -> bool:
    return client.ended


async def test_a_slow_client_is_dropped_with_retry_and_resumes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that stops reading holds up nobody, costs a bounded queue, and loses nothing by it."""
    monkeypatch.setattr("sinks.http.streams.changes.GATHER_SECONDS", 0.0)
    monkeypatch.setattr(streams_channel, "QUEUE_CHUNKS_MAX", 8)
    journal = await founded()
    async with (
        streaming(journal.log, journal) as world,
        connected(world.app, PATH) as slow,
        connected(world.app, PATH, address="192.0.2.2") as quick,
    ):
        await begun(slow, quick)
        await chunks(world, quick, 1, 3)
        await slow.take(3)
        slow.stop_reading()
        await chunks(world, quick, 4, 20)
        held = max(len(each.chunks) for each in world.streams.changes._channels.values())
        slow.read_on()
        await ended(slow)
        dropped, last = world.streams.dropped, slow.last_id
        async with connected(world.app, PATH, headers={"Last-Event-ID": str(last)}) as again:
            await reached(again, 23)

    assert serials(slow) == list(range(1, int(str(last)) + 1))
    assert serials(slow) + serials(again) == list(range(1, 24)) == serials(quick)
    assert (1, 8) == (dropped, held)
    assert slow.frames[-1].retry
    assert QUEUE_CHUNKS_MAX == 256


async def test_a_connection_that_takes_nothing_is_ended() -> None:
    """A write that is not done in time ends its connection; the others do not notice."""
    journal = await founded()
    async with (
        streaming(journal.log, journal, limits=Limits(write_seconds=0.05)) as world,
        connected(world.app, PATH) as stuck,
        connected(world.app, PATH, address="192.0.2.2") as quick,
    ):
        await begun(stuck)
        await begun(quick)
        stuck.stop_reading()
        await chunks(world, quick, 1, 1)
        assert stuck.task is not None
        await asyncio.wait_for(stuck.task, 60)
        clients = world.streams.clients
        await chunks(world, quick, 2, 1)

    assert (1, 1) == (clients, world.streams.dropped)
    assert [1, 2] == serials(quick)


async def test_a_slow_client_does_not_keep_the_log_from_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who is far behind has a turn at the log; who reads too slowly loses it, and resumes."""
    monkeypatch.setattr(streams_changes, "RECENT_SERIALS", 0)
    journal = await founded()
    await journal.rows([row(serial, f"p{serial}") for serial in range(1, 2_001)])
    limits = Limits(slots=1, turn_seconds=0.1)
    async with streaming(journal.log, journal, limits=limits) as world:
        async with connected(world.app, PATH, "since=0") as slow:
            await slow.until(lambda: serials(slow))
            slow.stop_reading()
            other = await rest(world, 0, 2_000)
        again = await rest(world, int(slow.last_id or 0), 2_000)

    assert serials(slow) + again == list(range(1, 2_001)) == other


async def test_a_server_that_stops_does_not_say_that_all_is_there() -> None:
    """`live` is said to who has the whole present state, and to nobody else."""
    journal = await founded()
    await publish(journal.log, [document(f"p{number}", number, "x") for number in range(5_000)])
    async with (
        streaming(journal.log, journal) as world,
        connected(world.app, "/v1/stream/metadata", "since=0") as client,
    ):
        await client.until(lambda: client.events)
        client.stop_reading()
        world.streams.close()
        client.read_on()
        await ended(client)

    assert 0 < len(client.events) < 5_000
    assert {"message"} == {event.event for event in client.events}


async def test_a_burst_waits_for_its_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of journal far larger than the queue: whoever reads gets all of it, live."""
    monkeypatch.setattr(streams_hub, "BURST_SECONDS_MAX", 60.0)  # however busy this machine is
    journal = await founded()
    count = 2 * QUEUE_BYTES_MAX // 200  # bytes of a frame
    async with streaming(journal.log, journal) as world, AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(connected(world.app, PATH, address=f"192.0.2.{n}"))
            for n in range(5)
        ]
        for client in clients:
            await begun(client)
        rows = [row(serial, f"p{serial}", "x" * 100) for serial in range(1, count + 1)]
        await journal.rows(rows)
        for client in clients:
            await reached(client, count)

    assert all(serials(client) == list(range(1, count + 1)) for client in clients)
    assert world.streams.dropped == 0


async def test_all_clients_get_the_same_bytes_in_the_same_writes() -> None:
    """Encoded once: events of one moment are one write, and its bytes are one object for all."""
    journal = await founded(3)
    async with (
        streaming(journal.log, journal) as world,
        connected(world.app, PATH) as a,
        connected(world.app, PATH) as b,
    ):
        for client in (a, b):
            await begun(client)
        await journal.rows([row(serial, f"p{serial}") for serial in range(1, 21)])
        await a.take(20)
        await b.take(20)

    assert a.raw.partition(b"\n\n")[2] == b.raw.partition(b"\n\n")[2]
    assert (2, 2) == (a.writes, b.writes)


async def test_clients_per_address_and_in_all_are_limited() -> None:
    """429 for one more of an address, 503 for one more at all; room is given back."""
    journal = await founded()
    limits = Limits(clients=3, clients_per_address=2)
    async with streaming(journal.log, journal, limits=limits) as world:
        async with (
            connected(world.app, PATH) as one,
            connected(world.app, PATH) as two,
        ):
            await begun(one)
            await begun(two)
            async with connected(world.app, PATH) as third:
                await ended(third)
            async with connected(world.app, PATH, address="192.0.2.9") as other:
                await begun(other)
                async with connected(world.app, PATH, address="192.0.2.10") as fourth:
                    await ended(fourth)
        async with connected(world.app, PATH) as later:
            await begun(later)
        hub = world.streams.changes

        assert (200, 429, 200, 503, 200) == (
            one.status, third.status, other.status, fourth.status, later.status,
        )  # fmt: skip
        assert "retry-after" in third.headers
        assert (set(), {}, {}) == (hub.clients, hub._channels, dict(hub._addresses))


async def test_a_client_that_hangs_up_is_forgotten() -> None:
    """At once, not at the next event."""
    journal = await founded()
    async with streaming(journal.log, journal) as world:
        async with connected(world.app, PATH) as client:
            await begun(client)
            assert world.streams.clients == 1
        assert world.streams.clients == 0


async def test_stopping_ends_every_stream_with_retry() -> None:
    """The server need not wait for clients; they come again."""
    journal = await founded()
    async with (
        streaming(journal.log, journal) as world,
        connected(world.app, PATH) as changes,
        connected(world.app, "/v1/stream/metadata", "since=0") as metadata,
    ):
        await begun(changes)
        await metadata.until(lambda: metadata.events)
        world.streams.close()
        for client in (changes, metadata):
            await ended(client)
            assert client.frames[-1].retry
        async with connected(world.app, PATH) as late:
            await ended(late)

    assert late.status == 503


async def test_silence_is_broken_by_where_to_resume() -> None:
    """Signs of life carry an id and no data: no event, but a client that comes again sends it."""
    journal = await founded()
    async with (
        streaming(journal.log, journal, limits=Limits(heartbeat_seconds=0.02)) as world,
        connected(world.app, PATH, "project=nothing") as client,
    ):
        await journal.rows([row(1, "a"), row(5, "b")])
        await reached(client, 5)

    assert client.events == []


HOSTILE: list[Any] = [
    "since=12345678901234567890", "since=9223372036854775808", "since=-1", "since=1e9",
    "since=%D9%A1%D9%A2", "since=", "since=2026-01-31", "since=2026-01-31T12:00:00",
    "since=0001-01-01T00:00:00Z", "since=9999-12-31T23:59:59-23:59x", "since=" + "9" * 4000,
    "since=1&since=2", "since=1%0d%0aid:%202", "kind=nonsense", "kind=", "kind=" + ",yank" * 60,
    "project=", "project=" + "a" * 201, "project=" + "*a" * 9, "project=..%2f..%2fetc",
    "project=%00", "project=a%0ab", "project=caf%C3%A9", "project=(a%2B)%2B$",
    "&".join(f"project=p{number}" for number in range(21)),
]  # fmt: skip


@pytest.mark.parametrize("query", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_queries_are_refused(query: str) -> None:
    """400 with a text, at once, and nothing of the query in a header."""
    journal = await founded()
    async with (
        streaming(journal.log, journal) as world,
        connected(world.app, PATH, query) as client,
    ):
        await ended(client)

    assert client.status == 400
    assert client.headers["content-type"] == "application/json"
    assert b'{"error":' in client.raw


@pytest.mark.parametrize(
    "last", ["9" * 20, "x" * 5_000, "abc", "-5", "1 2", "0x10", "\u0661".encode().decode("latin-1")]
)
@pytest.mark.parametrize("path", [PATH, "/v1/stream/metadata"])
async def test_hostile_ids_are_refused(path: str, last: str) -> None:
    """No serial, no cursor, longer than either: 400."""
    journal = await founded()
    async with (
        streaming(journal.log, journal) as world,
        connected(world.app, path, headers={"Last-Event-ID": last}) as client,
    ):
        await ended(client)

    assert client.status == 400


@pytest.mark.parametrize("glob", ["*" * 8, "[!a]*", "[z-a]", "[", "]", "[]", "*[a-z]*[0-9]*", "!"])
async def test_odd_globs_are_globs(glob: str) -> None:
    """Whatever the set of characters is: an answer, and quickly."""
    journal = await founded()
    async with (
        streaming(journal.log, journal, limits=Limits(heartbeat_seconds=0.02)) as world,
        connected(world.app, PATH, f"since=0&project={glob}") as client,
    ):
        await journal.rows([row(1, "a" * 200), row(2, "0" * 200)])
        await reached(client, 2)

    assert client.status == 200


async def test_nothing_in_a_row_breaks_a_frame() -> None:
    """Line ends, colons, script and surrogates of upstream stay within one line of JSON."""
    journal = await founded()
    action = 'add file \r\nid: 99\n\ndata: {"serial":1}\r\r<script>\u2028\u0000'
    async with (
        streaming(journal.log, journal) as world,
        connected(world.app, PATH, "since=0") as client,
    ):
        await journal.rows([row(1, "a", action, "1\n2"), row(2, "b")])
        events = await client.take(2)

    assert [action, "new release"] == [event.value["action"] for event in events]
    assert ["1", "2"] == [event.id for event in events]


async def test_a_document_of_megabytes_arrives() -> None:
    """In writes of a bounded size; it counts as one event."""
    journal = await founded()
    text = "x" * 3_000_000
    async with (
        streaming(journal.log, journal) as world,
        connected(world.app, "/v1/stream/metadata") as client,
    ):
        await begun(client)
        await publish(journal.log, [document("a", 1, text), document("b", 2)])
        a, b = await client.take(2)

    assert text == a.value["metadata"]["info"]["summary"]
    assert b.value["project"] == "b"
    assert client.writes > 40


async def test_a_head_request_ends() -> None:
    """It asks for no stream."""
    journal = await founded()
    async with (
        streaming(journal.log, journal) as world,
        connected(world.app, PATH, method="HEAD") as client,
    ):
        await ended(client)

    assert (200, b"", 0) == (client.status, bytes(client.raw), world.streams.clients)
