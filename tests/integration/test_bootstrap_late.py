"""What the other instance does while it is loaded from, and what comes late or without a row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from pypistream.jobs import bootstrapping
from schemas.records import Status
from schemas.topics import Topic
from sinks.dump.records import Project, of_dump
from streams.memory_log import MemoryLog
from tests.support import deltas
from tests.support.bootstrap_world import Clock, Other, Own, files, rows_of

NAMES = [f"p{number:02}" for number in range(20)]
CHANGE_AFTER = 10  # projects


@pytest_asyncio.fixture
async def other(tmp_path: Path) -> AsyncIterator[Other]:
    """It has published once."""
    made = Other(tmp_path / "other", 4, clock=Clock())
    await made.found()
    for name in NAMES:
        await made.publish_project(name)
    await made.stale("p01")
    await made.publish()
    yield made
    made.sink.close()


@pytest.fixture
def own(other: Other, tmp_path: Path) -> Own:
    return Own(tmp_path / "own", MemoryLog(1, now_ms=other.clock), other.clock)


async def names_of(own: Own) -> set[str]:
    """Projects that the log holds a document of."""
    return {name for topic, name in await rows_of(own.log) if topic is Topic.METADATA}


async def test_changes_during_a_bootstrap_are_all_there(
    other: Other, own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New ones, newer ones, removed ones: behind the place that the load has come to, and before.

    What was removed meanwhile is not there, though the dump that is loaded has it.
    """
    loop = asyncio.get_running_loop()

    async def change() -> None:
        for name in ("p02", "p18"):
            await other.remove(name)
        for name in ("p03", "p17", "p00a", "p19a"):
            await other.publish_project(name, "during")
        await other.publish()

    def interrupted(*given: Any) -> Iterator[Project]:
        for number, project in enumerate(of_dump(*given)):
            if number == CHANGE_AFTER:  # in the loader's thread: the loop is free
                asyncio.run_coroutine_threadsafe(change(), loop).result()
            yield project

    monkeypatch.setattr(bootstrapping, "of_dump", interrupted)
    await own.load(other.dumps)

    assert {*NAMES, "p00a", "p19a"} - {"p02", "p18"} == await names_of(own)
    assert files(other.dumps) == await own.dumped()
    assert other.serial == (await own.watermark()).serial


async def test_what_was_removed_never_comes_back_in_a_follower(other: Other, own: Own) -> None:
    """Not by the dump of before, not by a delta that is given again, and not by a new dump."""
    async with own.loading(other.dumps) as follower:
        await follower.load(replace_all=False)
        await other.remove("p04")
        await other.publish()
        await follower.look()
        gone = [await names_of(own)]
        await other.publish_project("p05", "again")
        await other.publish()
        await follower.look()
        await follower.look()
        gone.append(await names_of(own))
    await own.load(other.dumps, replace_all=True)
    gone.append(await names_of(own))

    assert [set(NAMES) - {"p04"}] * 3 == gone
    assert files(other.dumps) == await own.dumped()


async def test_a_project_settled_between_two_dumps_is_in_the_delta(other: Other, own: Own) -> None:
    """Its document comes late: no row tells of it, no serial of the journal rises."""
    async with own.loading(other.dumps) as follower:
        await follower.load(replace_all=False)
        before, serial = other.states["p01"], other.serial
        await other.arrive("p01")
        await other.publish()
        [*_, entry] = deltas.manifest_of(other.dumps)["deltas"]
        lines = deltas.delta_lines(other.dumps, entry)
        await follower.look()

    assert (Status.PARKED, Status.OK) == (before.status, other.states["p01"].status)
    assert serial == other.serial == entry["watermark"]
    assert [("p01", topic) for topic in deltas.FILES] == [
        (line["name"], line["topic"]) for line in lines
    ]
    assert before.event == lines[0]["serial"] > before.body
    assert not lines[0]["stale"]
    assert files(other.dumps) == await own.dumped()


async def test_what_a_sweep_finds_is_in_the_delta(other: Other, own: Own) -> None:
    """Another document of the serial that is published, shown twice: nothing tells of it but it."""
    async with own.loading(other.dumps) as follower:
        await follower.load(replace_all=False)
        before, serial = other.states["p02"], other.serial
        for _ in range(2):
            await other.arrive("p02")
        await other.publish()
        [*_, entry] = deltas.manifest_of(other.dumps)["deltas"]
        lines = deltas.delta_lines(other.dumps, entry)
        await follower.look()

    after = other.states["p02"]
    assert (before.event, before.body) == (after.event, after.body)
    assert before.hash != after.hash
    assert serial == other.serial == entry["watermark"]
    assert [("p02", topic) for topic in deltas.FILES] == [
        (line["name"], line["topic"]) for line in lines
    ]
    assert files(other.dumps) == await own.dumped()
