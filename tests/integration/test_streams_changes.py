"""`/v1/stream/changes`, over ASGI: order, resume, filters, hashes, times."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from schemas.records import Kind
from sinks.http.streams.endpoint import Streams, routes
from sinks.http.streams.hub import Limits
from sinks.http.streams.selection import SECURITY_KINDS
from streams.memory_log import MemoryLog
from tests.support.changes_world import BEGIN, Journal, Page, row
from tests.support.logs import opened_log
from tests.support.memory_library import MemoryLibrary
from tests.support.sse import connected
from tests.support.streams_world import streaming

PATH = "/v1/stream/changes"


async def founded(partitions: int = 3, base: int = 0) -> Journal:
    journal = Journal(MemoryLog(partitions), base)
    await journal.found()
    return journal


def serials(events: list[Any]) -> list[int]:
    return [event.value["serial"] for event in events]


@pytest.mark.parametrize("adapter", ["memory", "sqlite", "kafka"])
async def test_a_stream_goes_on_where_a_client_left_it(adapter: str, tmp_path: Path) -> None:
    """Live, resumed out of the ring, and resumed out of the log by a new server: no gap."""
    async with opened_log(adapter, 3, tmp_path) as opened:
        journal = Journal(opened.log)
        await journal.found()
        async with streaming(opened.log, journal) as world:
            async with connected(world.app, PATH) as client:
                await client.until(lambda: client.frames)
                await journal.rows([row(1, "a"), row(2, "b"), row(4, "c")])
                first = await client.take(3)
                last = client.last_id
            await journal.rows([row(5, "a"), row(7, "b")])
            async with connected(world.app, PATH, headers={"Last-Event-ID": str(last)}) as client:
                second = await client.take(2)
                last = client.last_id
        await journal.rows([row(8, "z"), row(9, "y")])
        async with (
            streaming(opened.log, journal) as world,
            connected(world.app, PATH, headers={"Last-Event-ID": str(last)}) as client,
        ):
            third = await client.take(2)
            await journal.rows([row(11, "x")])
            fourth = (await client.take(3))[2:]

    assert [1, 2, 4, 5, 7, 8, 9, 11] == serials([*first, *second, *third, *fourth])
    assert ["1", "2", "4"] == [frame.id for frame in first]
    assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert client.frames[0].retry


async def test_what_is_said_of_a_change() -> None:
    """The row, its project's normalised name, and its time as people write it."""
    journal = await founded()
    await journal.rows([row(3, "Zope.Interface", "new release", "5.0")])
    async with (
        streaming(journal.log, journal) as world,
        connected(world.app, PATH, "since=0") as client,
    ):
        [event] = await client.take(1)

    assert event.value == {
        "serial": 3,
        "project": "zope-interface",
        "name": "Zope.Interface",
        "version": "5.0",
        "time": "2023-11-14T22:13:23Z",
        "action": "new release",
        "kind": "new-release",
        "source": "journal",
    }


async def test_far_behind_it_reads_the_log_and_then_goes_live() -> None:
    """More rows than the ring holds, in pages, to a client that began at 0; late ones left out."""
    journal = await founded()
    for start in range(0, 15_000, 1_000):
        rows = [row(serial, f"p{serial % 97}") for serial in range(start + 1, start + 1_001)]
        await journal.write(Page([*rows, row(start + 5, "old", late=True)], marker=True))
    async with (
        streaming(journal.log, journal) as world,
        connected(world.app, PATH, "since=0") as client,
    ):
        await client.take(15_000)
        await journal.rows([row(15_001, "new")])
        events = await client.take(15_001)

    assert list(range(1, 15_002)) == serials(events)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("project=zope-*", [1, 6]),
        ("project=Zope.*&project=alpha", [1, 2, 3, 6]),
        ("project=alpha,beta&kind=yank", [4]),
        ("kind=remove-project", [6]),
        ("kind=security", [3, 4, 6]),
        ("project=[ab]*&kind=new-release,role", [2, 3, 5]),
        ("project=nothing", []),
    ],
)
async def test_filters(query: str, expected: list[int]) -> None:
    """Globs on names and kinds, together, past and live; the position moves all the same."""
    journal = await founded()
    rows = [
        row(1, "zope.interface"), row(2, "alpha"), row(3, "alpha", "add Owner eve", None),
        row(4, "beta", "yank release"), row(5, "beta"), row(6, "zope-i18n", "remove project", None),
    ]  # fmt: skip
    limits = Limits(heartbeat_seconds=0.05)
    async with streaming(journal.log, journal, limits=limits) as world:
        async with connected(world.app, PATH, query) as live:
            await live.until(lambda: live.frames)
            await journal.rows(rows)
            await live.until(lambda: live.last_id == "6")
        async with connected(world.app, PATH, f"since=0&{query}") as past:
            await past.until(lambda: past.last_id == "6")

    assert expected == serials(live.events) == serials(past.events)


async def test_times_are_serials() -> None:
    """From the first change at that time on, whatever its offset from UTC, plus signs unescaped."""
    journal = await founded()
    await journal.rows([row(serial, f"p{serial}") for serial in range(1, 30)])
    assert BEGIN + 20 == 1_700_000_020
    times = ("2023-11-14T22:13:40Z", "2023-11-15T00:13:40+02:00", "2023-11-14T22:13:40%2B00:00")
    async with streaming(journal.log, journal) as world:
        for time in times:
            async with connected(world.app, PATH, f"since={time}") as client:
                assert list(range(20, 30)) == serials(await client.take(10))


async def test_the_log_does_not_reach_back_so_far() -> None:
    """Rows from before its base are not held; the client is told so, then all there is comes."""
    journal = await founded(base=100)
    await journal.rows([row(101, "a"), row(102, "b")])
    async with streaming(journal.log, journal) as world:
        async with connected(world.app, PATH, "since=50") as client:
            reset, *events = await client.take(3)
        async with connected(world.app, PATH, "since=100") as complete:
            await complete.take(2)

    assert ("reset", 100) == (reset.event, reset.value["serial"])
    assert [101, 102] == serials(events) == serials(complete.events)


async def test_the_log_does_not_reach_back_to_that_time() -> None:
    """As with serials; of a time since which everything is held nothing is said."""
    journal = await founded(base=100)
    await journal.rows([row(101, "a"), row(102, "b")])
    assert BEGIN + 101 == 1_700_000_101
    async with streaming(journal.log, journal) as world:
        async with connected(world.app, PATH, "since=2023-11-14T00:00:00Z") as client:
            reset, *events = await client.take(3)
        async with connected(world.app, PATH, "since=2023-11-14T22:15:02Z") as client:
            [complete] = await client.take(1)

    assert ("reset", 100) == (reset.event, reset.value["serial"])
    assert [101, 102] == serials(events)
    assert [102] == serials([complete])


async def test_a_serial_of_tomorrow_waits_for_it() -> None:
    """Another instance may be ahead of this one: nothing at or below it is given again."""
    journal = await founded()
    await journal.rows([row(5, "a")])
    async with (
        streaming(journal.log, journal) as world,
        connected(world.app, PATH, headers={"Last-Event-ID": "7"}) as client,
    ):
        await client.until(lambda: client.frames)
        await journal.rows([row(6, "b"), row(7, "c"), row(8, "d"), row(9, "e")])
        events = await client.take(2)

    assert [8, 9] == serials(events)


async def test_a_removal_carries_the_last_known_hashes() -> None:
    """Of the project, the release or the file concerned; additions carry none, nor the unknown."""
    library = MemoryLibrary()
    files = {
        version: [{"filename": f"a-{version}.tar.gz", "digests": {"sha256": version * 2},
                   "url": f"https://files.example.org/a-{version}.tar.gz"}]
        for version in ("1.0", "2.0")
    }  # fmt: skip
    library.put({"info": {"name": "a", "version": "2.0"}, "last_serial": 1}, files)
    journal = await founded()
    await journal.rows(
        [
            row(2, "a", "yank release", "1.0"), row(3, "a", "add Owner eve", None),
            row(4, "a", "remove file a-2.0.tar.gz", "2.0"),
            row(5, "a", "project quarantined", None),
            row(6, "a", "new release", "3.0"), row(7, "unknown", "remove project", None),
        ]
    )  # fmt: skip
    async with (
        streaming(journal.log, journal, library=library) as world,
        connected(world.app, PATH, "since=0") as client,
    ):
        events = [event.value for event in await client.take(6)]

    assert [["1.0"], ["2.0"], ["2.0"], ["2.0", "1.0"], None, None] == [
        [file["version"] for file in event["files"]] if "files" in event else None
        for event in events
    ]
    assert events[0]["files"] == [
        {
            "filename": "a-1.0.tar.gz",
            "version": "1.0",
            "digests": {"sha256": "1.01.0"},
            "url": "https://files.example.org/a-1.0.tar.gz",
        }
    ]
    assert Kind.ROLE in SECURITY_KINDS


async def test_hashes_outlive_what_was_removed() -> None:
    """Who reads the removal later, out of the log, is told what there was, too."""
    library = MemoryLibrary()
    files = {"1.0": [{"filename": "a-1.0.tar.gz", "digests": {"sha256": "ab"}}]}
    name = library.put({"info": {"name": "a", "version": "1.0"}, "last_serial": 1}, files)
    journal = await founded()
    await journal.rows([row(2, "a", "remove project", None)])
    library.remove(name, 2, BEGIN + 2)
    async with (
        streaming(journal.log, journal, library=library) as world,
        connected(world.app, PATH, "since=0") as client,
    ):
        [event] = await client.take(1)

    assert [("a-1.0.tar.gz", {"sha256": "ab"})] == [
        (file["filename"], file["digests"]) for file in event.value["files"]
    ]


async def test_what_was_there_before_is_no_news() -> None:
    """A server just started gives a client that asks for nothing old what comes, and only that."""
    journal = await founded()
    await journal.rows([row(serial, f"p{serial}") for serial in range(1, 200)])
    async with (
        streaming(journal.log, journal) as world,
        connected(world.app, PATH) as client,
    ):
        await client.until(lambda: client.frames)
        await journal.rows([row(200, "new")])
        events = await client.take(1)

    assert [200] == serials(events) == serials(client.events)


async def test_before_the_log_is_founded_it_says_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """503 with Retry-After, and no stream that would begin at an unknown place."""
    monkeypatch.setattr("sinks.http.streams.sse.BEGIN_SECONDS", 0.05)
    journal = Journal(MemoryLog(1))
    streams = Streams(journal.log)
    app = Starlette(routes=routes(streams))
    running = asyncio.create_task(streams.run())
    try:
        async with connected(app, PATH) as client:
            await client.until(lambda: client.ended)
        await journal.found()
        monkeypatch.setattr("sinks.http.streams.sse.BEGIN_SECONDS", 10)
        async with connected(app, PATH) as later:
            await later.until(lambda: later.frames)
    finally:
        running.cancel()
        await asyncio.wait({running})

    assert (503, 200) == (client.status, later.status)
    assert client.headers["retry-after"]
