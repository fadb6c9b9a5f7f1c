"""The journal from before the log began, read in afterwards: every row once, live rows first."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest
from msgspec.structs import replace

from processors.metadata import Worker, WorkerSettings
from processors.slots import Slots
from producers.history import CALL_SECONDS, HISTORY_KEY, history_of, next_serial
from pypistream.data_dir import DataDir
from pypistream.health.status_report import HistoryReport, StatusReader
from schemas import codec
from schemas.errors import UpstreamUnavailable
from schemas.records import DeadLetter, History
from schemas.topics import Topic
from sinks.feed import Feed
from streams.clock import SystemClock
from streams.log import Log, Outgoing
from streams.progress import HEAD_KEY, progress_record, read_progress
from streams.watching import plain_place
from tests.support import virtual_time
from tests.support.history import records_of
from tests.support.history_world import BASE, POLL_SECONDS, World
from tests.support.new_view import new_view
from tests.support.scripted_upstream import document
from upstream.source import BadRow, JournalPage, JournalRow

OLD, LIVE = list(range(3, BASE + 1, 3)), list(range(BASE + 3, 601, 3))


@pytest.fixture(params=[1, 4])
def partitions(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


def simulated(partitions: int, play: Callable[[World], Awaitable[None]]) -> None:
    """In virtual time."""

    async def whole() -> None:
        await play(World(partitions))

    virtual_time.run(whole())


def test_nothing_is_read_that_nobody_asked_for(partitions: int) -> None:
    async def play(world: World) -> None:
        await world.run(100)
        assert await world.rows(late=True) == []
        assert (await world.head()).history is None
        assert min(since for _, since in world.upstream.calls) == BASE

    simulated(partitions, play)


def test_every_row_from_before_comes_once_and_late(partitions: int) -> None:
    """In the order of the serials within a partition; live rows are as they were."""

    async def play(world: World) -> None:
        await world.run(5)
        live = await world.rows(late=False)
        await world.ask()
        await world.run(100)

        assert sorted(await world.rows(late=True)) == OLD
        assert await world.rows(late=False) == live
        assert sorted(live) == LIVE
        head = await world.head()
        ends = await world.log.ends(Topic.CHANGELOG)
        assert head.history is not None
        assert (head.history.serial, head.base, head.serial) == (BASE, BASE, 600)
        assert all(
            end <= ends[at] for at, end in zip(sorted(ends), head.history.changelog, strict=True)
        )

        calls = len(world.upstream.calls)
        await world.ask()
        await world.run(50)
        assert all(since == 600 for _, since in world.upstream.calls[calls:])
        assert sorted(await world.rows(late=True)) == OLD

    simulated(partitions, play)


def test_calls_are_a_second_apart_and_polls_keep_their_period() -> None:
    """History fills what is left between them."""

    async def play(world: World) -> None:
        world.upstream.page_rows_max = 2
        await world.run(1)
        await world.ask()
        world.upstream.calls.clear()
        await world.run(40)

        times = [at for at, since in world.upstream.calls if since < BASE]
        polls = [at for at, since in world.upstream.calls if since >= BASE]
        every = sorted(at for at, _ in world.upstream.calls)
        assert len(times) > 20
        assert min(b - a for a, b in pairwise(every) if a >= polls[0]) >= CALL_SECONDS
        assert max(b - a for a, b in pairwise(polls)) <= POLL_SECONDS + CALL_SECONDS

    simulated(1, play)


@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.0, 3.5, 7.0])
def test_killed_and_begun_again_no_row_comes_twice(partitions: int, seconds: float) -> None:
    """Wherever it ends: rows and position are one transaction."""

    async def play(world: World) -> None:
        await world.ask()
        for _ in range(40):
            await world.run(seconds)

        assert sorted(await world.rows(late=True)) == (OLD if seconds > CALL_SECONDS else [])
        assert sorted(await world.rows(late=False)) == LIVE

    simulated(partitions, play)


async def test_killed_between_two_transactions_of_a_page_it_goes_on_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A successor that took the id reads on after the last row that is in."""
    monkeypatch.setattr("producers.head_writer.TRANSACTION_ROWS_MAX", 4)
    world = World(4)
    world.upstream.page_rows_max = 50
    world.clock = SystemClock()  # type: ignore[assignment]
    made = await world.producer()
    writer = made._writer._writer
    assert writer is not None
    commit, left = writer.commit, 3

    async def dying(*given: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise asyncio.CancelledError
        return await commit(*given)

    monkeypatch.setattr(writer, "commit", dying)
    with pytest.raises(asyncio.CancelledError):
        await made.history.read(0)
    assert (await world.head()).history == History(36, (await world.head()).changelog)

    again = await world.producer()
    while (since := next_serial(await world.head(), asked=False)) is not None:
        await again.history.read(since)
    assert sorted(await world.rows(late=True)) == OLD


async def test_what_came_with_a_dump_is_read_on_to_where_the_log_begins() -> None:
    """By itself; what was before it once somebody asks. No row that is held comes again."""
    world = World(2)
    world.clock = SystemClock()  # type: ignore[assignment]
    made = await world.producer()
    await made.close()
    head = replace(await world.head(), history=History(BASE - 90, (0, 0), since=60))
    await world.log.append([progress_record(2, HEAD_KEY, head, world.clock.now_ms())])

    made = await world.producer()
    while (since := next_serial(await world.head(), asked=False)) is not None:
        await made.history.read(since)
    assert sorted(await world.rows(late=True)) == list(range(BASE - 87, BASE + 1, 3))
    found = await world.head()
    assert found.history == History(BASE, found.changelog, since=60)

    while (since := next_serial(await world.head(), asked=True)) is not None:
        await made.history.read(since)
    late = sorted(await world.rows(late=True))
    assert late == [*range(3, 61, 3), *range(BASE - 87, BASE + 1, 3)]
    found = await world.head()
    assert found.history == History(BASE, found.changelog)
    await made.close()


def test_pages_that_do_not_come_hold_no_live_row_up() -> None:
    """It is tried again after a while, and then it goes on."""

    async def play(world: World) -> None:
        await world.ask()
        world.upstream.refuse = BASE
        await world.run(200)
        assert sorted(await world.rows(late=False)) == LIVE
        polls = [at for at, since in world.upstream.calls if since >= BASE]
        assert max(b - a for a, b in pairwise(polls)) <= POLL_SECONDS + CALL_SECONDS
        assert 2 <= sum(since < BASE for _, since in world.upstream.calls) <= 5

        world.upstream.refuse = 0
        await world.run(60)
        assert sorted(await world.rows(late=True)) == OLD

    simulated(1, play)


def test_workers_fetch_nothing_for_it_and_their_markers_are_as_before(partitions: int) -> None:
    """Their cut passes late rows by."""

    async def play(world: World) -> None:
        for number in range(7):
            newest = max(serial for serial in LIVE if serial % 7 == number)
            world.upstream.script(f"p-{number}", document(f"P.{number}", newest))
        made = await world.producer()
        config = await made.begin()
        await made.poll()
        slots = Slots(4)
        tasks = []
        for partition in range(partitions):
            settings = WorkerSettings(partition, config, settle_seconds=0)
            worker = Worker(world.log, world.upstream, slots, world.clock, settings)
            tasks.append(asyncio.create_task(worker.run()))
        await asyncio.sleep(30)
        before = await read_progress(world.log)
        asked = len(world.upstream.asked)
        while (since := next_serial(await world.head(), asked=True)) is not None:
            await made.history.read(since)
        await asyncio.sleep(30)
        after = await read_progress(world.log)
        ends = await world.log.ends(Topic.CHANGELOG)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        assert asked == 7
        assert len(world.upstream.asked) == asked
        assert after.watermark == before.watermark
        assert [cut.changelog for cut in after.cuts if cut] == [ends[at] for at in sorted(ends)]

    simulated(partitions, play)


async def test_what_is_no_row_is_a_dead_letter_and_what_is_no_request_asks_for_nothing() -> None:
    """Any process may write where requests lie."""
    world = World(1)
    world.clock = SystemClock()  # type: ignore[assignment]
    made = await world.producer()
    plain = plain_place(world.log).partition
    await world.log.inner.append([Outgoing(Topic.PROGRESS, HISTORY_KEY, b"[1]", (), plain)])
    assert not await made.history._asks.asked()
    await world.ask()
    assert await made.history._asks.asked()
    await made.close()

    made = await world.producer()
    world.upstream.journal.insert(0, JournalRow("../x", None, 1, "create", 1))
    world.upstream.journal.insert(1, JournalRow("P.1", None, 1, "create", 2))
    await made.history.read(0)
    letters = [
        codec.decode(record.value or b"", DeadLetter).serial
        for record in await records_of(world.log, Topic.DEAD_LETTER)
    ]
    assert letters == [1]
    assert (await world.rows(late=True))[:2] == [2, 3]
    await made.close()


def test_a_page_is_cut_at_the_log_s_start() -> None:
    """And one that is full and leads no further is asked for again later."""
    rows = [JournalRow("a", None, 1, "create", serial) for serial in (5, 9, 12)]
    bad = [BadRow("why", serial, "") for serial in (0, 8, 13)]

    part = history_of(JournalPage(rows, bad, full=False), 0, 10)
    assert ([row.serial for row in part.rows], part.reached) == ([5, 9], 10)
    assert [row.serial for row in part.bad] == [0, 8]
    assert history_of(JournalPage(rows[:1], (), full=True), 0, 10).reached == 5
    assert history_of(JournalPage(rows, (), full=True), 0, 10).reached == 10
    assert history_of(JournalPage((), (), full=False), 5, 10).reached == 10
    with pytest.raises(UpstreamUnavailable):
        history_of(JournalPage((), (bad[0],), full=True), 5, 10)


async def test_status_and_the_published_file_say_since_when_rows_are_held(tmp_path: Path) -> None:
    """The file only once it holds them; late rows are marked in it."""
    world = World(2)
    world.clock = SystemClock()  # type: ignore[assignment]
    made = await world.producer()
    await made.poll()
    config = await made.begin()
    reports = [await _history(world.log, tmp_path)]
    await world.ask()
    reports.append(await _history(world.log, tmp_path))
    await made.history.read(0)
    reports.append(await _history(world.log, tmp_path))

    rows = []
    slots = Slots(1)
    for partition in range(2):
        settings = WorkerSettings(partition, config, settle_seconds=0)
        task = asyncio.create_task(
            Worker(world.log, world.upstream, slots, world.clock, settings).run()
        )
        await _read_all(world.log, partition)
        task.cancel()
        await asyncio.wait([task])
    rows.append(await _published(world.log, tmp_path))
    while (since := next_serial(await world.head(), asked=True)) is not None:
        await made.history.read(since)
    reports.append(await _history(world.log, tmp_path))
    rows.append(await _published(world.log, tmp_path))
    for partition in range(2):
        settings = WorkerSettings(partition, config, settle_seconds=0)
        task = asyncio.create_task(
            Worker(world.log, world.upstream, slots, world.clock, settings).run()
        )
        await _read_all(world.log, partition)
        task.cancel()
        await asyncio.wait([task])
    rows.append(await _published(world.log, tmp_path))
    await made.close()

    assert reports == [
        HistoryReport(BASE, None, asked=False),
        HistoryReport(BASE, None, asked=True),
        HistoryReport(BASE, 60, asked=False),
        HistoryReport(0, BASE, asked=False),
    ]
    assert rows[0] == (BASE, list(range(3, 61, 3)), LIVE)
    assert rows[1][0] == BASE  # all of it is in the log, not all of it here
    assert rows[2] == (0, OLD, LIVE)


async def _history(log: Log, folder: Path) -> HistoryReport | None:
    return (await StatusReader(DataDir(folder), log, brief=True).report()).history


async def _read_all(log: Log, partition: int) -> None:
    """Until the worker of that partition has passed all rows."""
    async with asyncio.timeout(60):
        while True:
            ends = await log.ends(Topic.CHANGELOG)
            cut = (await read_progress(log)).cuts[partition]
            if cut is not None and cut.changelog == dict(enumerate(ends.values()))[partition]:
                return
            await asyncio.sleep(0.02)


async def _published(log: Log, folder: Path) -> tuple[int, list[int], list[int]]:
    """`history_since`, late serials, other serials of the file that is published now."""
    async with Feed(log, new_view(folder), SystemClock(), publish_every_seconds=60) as feed:
        await feed.finish()
    with duckdb.connect(str(folder / "pypi.duckdb"), read_only=True) as connection:
        [(since,)] = connection.execute("SELECT history_since FROM progress").fetchall()
        found = connection.execute("SELECT late, serial FROM changelog ORDER BY serial").fetchall()
    counted = Counter(serial for _, serial in found)
    assert set(counted.values()) == {1}
    return since, [s for late, s in found if late], [s for late, s in found if not late]
