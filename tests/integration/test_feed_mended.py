"""What a sink's feed does when something breaks: the log, the view, the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import DataDirectoryInUse, DiskFull, ViewCorrupt
from schemas.topics import Offset, Topic
from sinks import feed as feed_module
from sinks.feed import Feed
from sinks.sink import Batch, Rewound, Standing
from streams.log import TopicPartition
from streams.memory_log import MemoryLog
from tests.support.feed_world import (
    Clock,
    MemorySink,
    feeding,
    found,
    until,
    work,
)
from tests.support.new_view import new_view
from tests.support.view_records import document, entry, metadata, query


async def test_another_log_means_another_view() -> None:
    """A sink built from a log of another id starts over."""
    sink, clock = MemorySink(), Clock()
    for log_id in ("log-1", "log-2"):
        log = MemoryLog()
        await found(log, log_id)
        await work(log, 0, [metadata(log_id, document(log_id)), entry("a", 1)])
        async with Feed(log, sink, clock, publish_every_seconds=60) as feed:
            await feed.finish()

    assert (1, "log-2", [0]) == (sink.resets, sink.at.log_id, sink.journal)
    assert {("metadata", "log-2")} == set(sink.rows)


async def test_a_sink_beyond_the_log_starts_over() -> None:
    """The log was put back to an older state under the same id."""
    log, sink = MemoryLog(), MemorySink()
    await found(log)
    await work(log, 0, [metadata("a", document("a"))])
    sink.at = Standing("log-1", {TopicPartition(topic, 0): Offset(9) for topic in sink.topics})
    async with Feed(log, sink, Clock(), publish_every_seconds=60) as feed:
        await feed.finish()

    assert (1, {("metadata", "a")}) == (sink.resets, set(sink.rows))


def truncate(log: MemoryLog, at: TopicPartition, start: int) -> None:
    """Records before `start` are gone, as an operator's retention or a broker's loss would do."""
    held = log._store.held[at]
    held.rows = [row for row in held.rows if row.offset >= start]
    held.start = start


@pytest.mark.parametrize("running", [False, True])
async def test_a_position_that_the_log_has_no_more_means_another_view(
    running: bool, tmp_path: Path
) -> None:
    """Truncated while the sink was away, or under an open reader: it holds what the log holds."""
    log, clock = MemoryLog(), Clock()
    view = new_view(tmp_path)
    await found(log)
    await work(log, 0, [entry("a", 1), metadata("a", document("a"))])
    async with feeding(log, view, clock, every=0) as feed:
        await until(lambda: feed.counters.cuts == 1)
        async with feed._turn:
            if not running:
                feed._standing = None  # as after a restart: the reader is opened anew
            await work(log, 0, [entry("b", 2), entry("c", 3)])
            truncate(log, TopicPartition(Topic.CHANGELOG, 0), 2)
        await until(lambda: feed.counters.cuts == 2)
        await feed.finish()

    assert 1 == feed.counters.resets
    path = tmp_path / "pypi.duckdb"
    assert [{"serial": 3}] == query(path, "SELECT serial FROM changelog")
    assert [{"name": "a"}] == query(path, "SELECT name FROM projects")


async def test_damage_is_mended_by_building_anew() -> None:
    """The published file is replaced by the same content."""
    log, sink, clock = MemoryLog(), MemorySink(), Clock()
    await found(log)
    await work(log, 0, [metadata("a", document("a"))])
    async with feeding(log, sink, clock) as feed:
        await until(lambda: len(sink.published_rows) == 1)
        sink.fail_next = [ViewCorrupt("a flipped bit")]
        await work(log, 0, [metadata("b", document("b"))])
        await until(lambda: len(sink.rows) == 2)

    assert (1, 1) == (sink.resets, feed.counters.resets)


async def test_damage_that_comes_back_is_reported() -> None:
    """Building anew for ever would hide a broken disk."""
    log, sink = MemoryLog(), MemorySink()
    await found(log)
    await work(log, 0, [metadata("a", document("a"))])
    sink.fail_next = [ViewCorrupt("one"), ViewCorrupt("two")]
    async with Feed(log, sink, Clock(), publish_every_seconds=60) as feed:
        with pytest.raises(ViewCorrupt, match="two"):
            await feed.run()


async def test_a_full_disk_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same batch comes again; meanwhile it is said what is missing."""
    monkeypatch.setattr(feed_module, "RETRY_SECONDS", 0.01)
    log, sink = MemoryLog(), MemorySink()
    await found(log)
    await work(log, 0, [entry("a", 1), metadata("a", document("a"))])
    sink.fail_next = [DiskFull("no space left")] * 3
    async with feeding(log, sink, Clock()) as feed:
        await until(lambda: feed.counters.trouble == "no space left")
        await until(lambda: len(sink.published_rows) == 1)
        await until(lambda: feed.counters.trouble == "")

    assert ([0], 0) == (sink.journal, sink.resets)


async def test_a_disk_too_full_to_begin_anew_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reset is owed until it has been done."""
    monkeypatch.setattr(feed_module, "RETRY_SECONDS", 0.01)
    log, sink = MemoryLog(), MemorySink()
    genuine, refusals = sink.reset, [DiskFull("no space left")] * 2

    def reset() -> None:
        if refusals:
            raise refusals.pop()
        genuine()

    sink.reset = reset  # type: ignore[method-assign]  # the sink is the test's own
    await found(log)
    await work(log, 0, [entry("a", 1)])
    sink.fail_next = [ViewCorrupt("a flipped bit")]
    async with feeding(log, sink, Clock()):
        await until(lambda: len(sink.published_rows) == 1)

    assert (1, [0]) == (sink.resets, sink.journal)


async def test_other_errors_end_it() -> None:
    """Another process owns the file: waiting does not help, nor does building anew."""
    log, sink = MemoryLog(), MemorySink()
    await found(log)
    await work(log, 0, [metadata("a", document("a"))])
    sink.fail_next = [DataDirectoryInUse("locked")]
    async with Feed(log, sink, Clock(), publish_every_seconds=60) as feed:
        with pytest.raises(DataDirectoryInUse):
            await feed.run()


class RewindingSink(MemorySink):
    """It goes back to a place where it stood before, as often as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.back_to: list[tuple[Standing, dict[tuple[str, str], bytes], list[int]]] = []

    def apply(self, batch: Batch) -> None:
        if self.back_to:
            self.at, self.rows, self.journal = self.back_to.pop()
            raise Rewound
        super().apply(batch)


async def test_a_sink_that_went_back_is_given_again_what_it_lacks() -> None:
    """Each record once in the end; what is published only ever goes on."""
    log, sink = MemoryLog(), RewindingSink()
    await found(log)
    await work(log, 0, [metadata("a", document("a")), entry("a", 1)])
    async with Feed(log, sink, Clock(), publish_every_seconds=60) as feed:
        await feed.finish()
        early = (sink.at, dict(sink.rows), list(sink.journal))
        await work(log, 0, [metadata("b", document("b")), entry("b", 2)])
        await feed.finish()
        later = (sink.at, dict(sink.rows), list(sink.journal))
        await work(log, 0, [metadata("c", document("c")), entry("c", 3)])
        sink.back_to = [early, later]
        await feed.finish()

    assert ([0, 1, 2], 0) == (sink.journal, sink.resets)
    assert {("metadata", name) for name in "abc"} == set(sink.rows)
    shown = [len(rows) for _, rows in sink.published_rows]
    assert shown == [1, 2, 3]
