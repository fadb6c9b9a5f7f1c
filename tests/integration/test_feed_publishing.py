"""A feed goes on feeding while its sink's snapshot is copied."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from schemas.errors import DiskFull, ViewCorrupt
from sinks.feed import Feed
from sinks.sink import Published
from streams.log import Outgoing
from streams.memory_log import MemoryLog
from tests.support.feed_world import (
    DEADLINE_SECONDS,
    Clock,
    MemorySink,
    feeding,
    founded,
    until,
    work,
)
from tests.support.view_records import document, metadata


class HeldCopy:
    """A copy that is made when the test says so."""

    def __init__(self, sink: CopiedSink) -> None:
        assert sink.cut is not None
        self.what = (sink.cut, dict(sink.rows))
        self.go_on, self.stopped = threading.Event(), False
        self.error: Exception | None = None
        self.sink = sink

    def copied(self) -> Published | None:
        assert self.go_on.wait(DEADLINE_SECONDS)
        if self.error is not None:
            raise self.error
        if self.stopped:
            return None
        self.sink.published_rows.append(self.what)
        return Published(Path("x"), 1, None)

    def stop(self) -> None:
        self.stopped = True
        self.go_on.set()


class CopiedSink(MemorySink):
    """It takes batches in while it is copied."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: list[HeldCopy] = []
        self.held = False

    def hold(self, now_ms: int) -> HeldCopy:
        assert now_ms
        assert not self.held, "two publications at once"
        self.held = True
        self.copies.append(HeldCopy(self))
        return self.copies[-1]

    def release(self) -> None:
        assert self.copies[-1].go_on.is_set(), "released before its end"
        self.held = False

    def publish(self, now_ms: int) -> Published:
        raise AssertionError(now_ms)

    def reset(self) -> None:
        super().reset()
        self.held = False


def of(name: str) -> list[Outgoing]:
    """A document."""
    return [metadata(name, document(name))]


async def test_batches_are_taken_in_while_a_copy_is_made() -> None:
    """What is published is the cut that it was begun at, and what came since is published next."""
    log, sink, clock = await founded(MemoryLog()), CopiedSink(), Clock()
    await work(log, 0, of("a"))
    async with feeding(log, sink, clock) as feed:
        await until(lambda: sink.copies)
        for number, name in enumerate("bc", 2):
            await work(log, 0, of(name))
            await until(lambda number=number: feed.counters.cuts == number)
        assert (3, 0) == (len(sink.rows), len(sink.published_rows))
        sink.copies[0].go_on.set()
        await until(lambda: feed.counters.published is not None and not sink.held)
        clock.ms += 60_000
        await until(lambda: len(sink.copies) == 2)
        sink.copies[1].go_on.set()
        await until(lambda: len(sink.published_rows) == 2)

    assert [1, 3] == [len(rows) for _, rows in sink.published_rows]


async def test_who_wants_the_newest_cut_published_waits_for_the_copy_before() -> None:
    """`finish` publishes what it found, not what happens to be under way."""
    log, sink = await founded(MemoryLog()), CopiedSink()
    await work(log, 0, of("a"))
    async with feeding(log, sink, Clock()) as feed:
        await until(lambda: sink.copies)
        await work(log, 0, of("b"))
        finishing = asyncio.create_task(feed.finish())
        await until(lambda: feed.counters.cuts == 2)
        sink.copies[0].go_on.set()
        await until(lambda: len(sink.copies) == 2)
        await work(log, 0, of("c"))
        await until(lambda: feed.counters.cuts == 3)
        assert not finishing.done()
        sink.copies[1].go_on.set()
        assert await finishing is not None

    assert [1, 2] == [len(rows) for _, rows in sink.published_rows]


async def test_the_end_of_a_feed_gives_a_copy_up() -> None:
    log, sink = await founded(MemoryLog()), CopiedSink()
    await work(log, 0, of("a"))
    async with feeding(log, sink, Clock()):
        await until(lambda: sink.copies)

    assert ([], True, True) == (sink.published_rows, sink.copies[0].stopped, sink.closed)


async def test_a_new_beginning_gives_a_copy_up() -> None:
    """What was copied of a sink that is emptied is not published after that."""
    log, sink = await founded(MemoryLog()), CopiedSink()
    await work(log, 0, of("a"))
    async with feeding(log, sink, Clock()):
        await until(lambda: sink.copies)
        sink.fail_next = [ViewCorrupt("damaged")]
        await work(log, 0, of("b"))
        await until(lambda: len(sink.copies) == 2)
        assert (True, []) == (sink.copies[0].stopped, sink.published_rows)
        sink.copies[1].go_on.set()
        await until(lambda: sink.published_rows)

    assert [2] == [len(rows) for _, rows in sink.published_rows]


@pytest.mark.parametrize("again", [False, True])
async def test_a_copy_that_fails_is_told_to_who_wanted_it(again: bool) -> None:
    """Whoever called; the sink is released, and the next call publishes."""
    log, sink = await founded(MemoryLog()), CopiedSink()
    await work(log, 0, of("a"))
    async with Feed(log, sink, Clock(), publish_every_seconds=60) as feed:
        finishing = asyncio.create_task(feed.finish())
        await until(lambda: sink.copies)
        if again:
            sink.copies[0].stop()  # given up: it is begun anew
        else:
            sink.copies[0].error = DiskFull("no room")
            sink.copies[0].go_on.set()
            with pytest.raises(DiskFull):
                await finishing
            finishing = asyncio.create_task(feed.finish())
        await until(lambda: len(sink.copies) == 2)
        sink.copies[1].go_on.set()
        assert await finishing is not None

    assert ([1], False) == ([len(rows) for _, rows in sink.published_rows], sink.held)
