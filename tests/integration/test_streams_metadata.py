"""`/v1/stream/metadata`, over ASGI: the present state first, cursors, and when they are refused."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sinks.away import AWAY_MS_MAX
from sinks.http.streams.cursor import CURSOR_CHARACTERS_MAX, Cursor, cursor_of, text_of
from streams.memory_log import MemoryLog
from tests.support.changes_world import Journal
from tests.support.logs import Clock, opened_log
from tests.support.sse import SseClient, connected
from tests.support.streams_world import document, publish, streaming

PATH = "/v1/stream/metadata"


async def founded(partitions: int = 3) -> Journal:
    journal = Journal(MemoryLog(partitions))
    await journal.found()
    return journal


def told(client: SseClient) -> list[tuple[str, int | None]]:
    """Project and serial of each document, "gone" and its reason for a tombstone."""
    return [
        (event.value["project"], event.value["serial"])
        for event in client.events
        if event.event == "message"
    ]


def _holds(client: SseClient, what: tuple[str, int]) -> bool:
    return what in told(client)


@pytest.mark.parametrize("adapter", ["memory", "sqlite", "kafka"])
async def test_present_state_then_changes_then_resumed(adapter: str, tmp_path: Path) -> None:
    """`since=0`: all there is, `live`, what comes; then by cursor on another server: no gap."""
    async with opened_log(adapter, 3, tmp_path) as opened:
        journal = Journal(opened.log)
        await journal.found()
        names = [f"p{number}" for number in range(40)]
        await publish(opened.log, [document(name, 1, "old") for name in names])
        async with (
            streaming(opened.log, journal, clock=opened.clock) as world,
            connected(world.app, PATH, "since=0") as client,
        ):
            await client.until(lambda: any(event.event == "live" for event in client.events))
            present = told(client)
            await publish(opened.log, [document("p3", 2), document("p7", 3, None)])
            await client.until(lambda: len(told(client)) == 42)
            changes, last = told(client)[40:], client.last_id
        await publish(opened.log, [document("p5", 4), document("new", 5)])
        async with (
            streaming(opened.log, journal, clock=opened.clock) as world,
            connected(world.app, PATH, headers={"Last-Event-ID": str(last)}) as client,
        ):
            await client.until(lambda: len(told(client)) == 2)
            await publish(opened.log, [document("newer", 6)])
            await client.until(lambda: len(told(client)) == 3)
            resumed = told(client)

    assert sorted((name, 1) for name in names) == sorted(present)
    assert sorted([("p3", 2), ("p7", None)]) == sorted(changes, key=str)
    assert {("p5", 4), ("new", 5), ("newer", 6)} == set(resumed)
    assert "reset" not in {event.event for event in client.events}


async def test_what_is_said_of_a_document() -> None:
    """PyPI's own JSON in one line, beside what the record's headers say; null for a tombstone."""
    journal = await founded(1)
    async with (
        streaming(journal.log, journal) as world,
        connected(world.app, PATH) as client,
    ):
        await client.until(lambda: client.frames)
        await publish(journal.log, [document("a", 7, "\u2028 <script>"), document("b", 8, None)])
        a, b = await client.take(2)

    assert a.value == {
        "project": "a",
        "serial": 7,
        "event_serial": 7,
        "time": "2023-11-14T22:13:27Z",
        "metadata": {"info": {"name": "a", "summary": "\u2028 <script>"}, "last_serial": 7},
    }
    assert (None, "removed") == (b.value["metadata"], b.value["reason"])


async def test_every_cursor_resumes_exactly_there() -> None:
    """Each id of a stream over partitions: what came after it comes, what came before does not."""
    journal = await founded(3)
    await publish(journal.log, [document(f"p{number}", number) for number in range(1, 400)])
    async with streaming(journal.log, journal) as world:
        async with connected(world.app, PATH, "since=0") as client:
            await client.until(lambda: len(told(client)) == 399)
        events = [event for event in client.events if event.event == "message"]
        for index in (0, 1, 57, 200, 397, 398):
            async with connected(world.app, PATH, f"since={events[index].id}") as again:
                last = (f"last-{index}", 1_000 + index)
                await publish(journal.log, [document(*last)])
                await again.until(partial(_holds, again, last))
            rest = {event.value["serial"] for event in events[index + 1 :]}
            given = {serial for _, serial in told(again) if serial is not None and serial < 1_000}

            assert rest == given


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"log_id": "another"}, "this is another log"),
        ({"positions": (0,)}, "this is another log"),
        ({"positions": (0, 0, 99)}, "the log does not have that place"),
        ({"as_of": 0}, "what was removed since may have been compacted away"),
    ],
)
async def test_a_cursor_that_cannot_be_trusted_begins_anew(
    change: dict[str, Any], reason: str
) -> None:
    """Older than tombstones are kept, of another log, of no place: `reset`, then all there is."""
    journal = await founded(3)
    await publish(journal.log, [document(name, 1) for name in ("a", "b", "c")])
    async with streaming(journal.log, journal) as world:
        async with connected(world.app, PATH, "since=0") as client:
            await client.until(lambda: len(told(client)) == 3)
        cursor = cursor_of(str(client.last_id))
        fields = {"log_id": cursor.log_id, "as_of": cursor.as_of, "positions": cursor.positions}
        bad = text_of(Cursor(**{**fields, **change}))
        async with connected(world.app, PATH, headers={"Last-Event-ID": bad}) as again:
            await again.until(lambda: any(event.event == "live" for event in again.events))

    assert ("reset", {"reason": reason}) == (again.events[0].event, again.events[0].value)
    assert [("a", 1), ("b", 1), ("c", 1)] == sorted(told(again))


async def test_a_cursor_lives_as_long_as_tombstones_surely_do() -> None:
    """One that was given out half that time ago resumes; a minute more, and it begins anew."""
    clock, journal = Clock(), await founded(1)
    await publish(journal.log, [document("a", 1)])
    async with streaming(journal.log, journal, clock=clock) as world:
        async with connected(world.app, PATH, "since=0") as client:
            await client.until(lambda: told(client))
        last = str(client.last_id)
        first_events = []
        for later in (AWAY_MS_MAX, 60_000):
            clock.ms += later
            async with connected(world.app, PATH, headers={"Last-Event-ID": last}) as again:
                await again.until(lambda: again.frames)
                await publish(journal.log, [document("b", 2)])
                first_events.append((await again.take(1))[0].event)

    assert ["message", "reset"] == first_events


async def test_a_filter_on_names() -> None:
    """Globs, as in the stream of changes; a kind means nothing here."""
    journal = await founded()
    await publish(journal.log, [document(name, 1) for name in ("django", "django-x", "flask")])
    async with streaming(journal.log, journal) as world:
        async with connected(world.app, PATH, "since=0&project=Django*") as client:
            await client.until(lambda: any(event.event == "live" for event in client.events))
        async with connected(world.app, PATH, "kind=yank") as refused:
            await refused.until(lambda: refused.ended)

    assert [("django", 1), ("django-x", 1)] == sorted(told(client))
    assert refused.status == 400


def test_cursors_are_short_and_survive_a_round_trip() -> None:
    """512 partitions with offsets of nine digits still fit into 4 KiB."""
    cursor = Cursor("0" * 32, 1_700_000_000, tuple(900_000_000 + i for i in range(512)))

    assert cursor == cursor_of(text_of(cursor))
    assert len(text_of(cursor)) <= CURSOR_CHARACTERS_MAX


async def test_compaction_under_a_client_loses_nothing() -> None:
    """A place between records that are gone is still a place: the last record per key comes."""
    journal = await founded(1)
    log = journal.log
    await publish(log, [document("a", 1), document("b", 1)])
    async with streaming(log, journal) as world:
        async with connected(world.app, PATH, "since=0") as client:
            await client.until(lambda: len(told(client)) == 2)
        first = client.events[0].id
        await publish(log, [document("a", 2), document("b", 2), document("c", 2)])
        await log.clean(2_000_000_000_000)
        async with connected(world.app, PATH, f"since={first}") as again:
            await again.until(lambda: len(told(again)) >= 3)

    assert [("a", 2), ("b", 2), ("c", 2)] == told(again)[-3:]
