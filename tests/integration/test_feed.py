"""The feed between a log and a sink: cuts, publications, and everything that may go wrong."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from schemas.records import BackfillProgress
from schemas.topics import Topic
from sinks import reading
from sinks.duckdb.view import DuckDBView
from sinks.feed import Feed
from sinks.sink import Batch, Published
from streams.log import Reader, Record
from streams.memory_log import MemoryLog
from tests.support.feed_world import (
    DEADLINE_SECONDS,
    Clock,
    MemorySink,
    feeding,
    found,
    founded,
    until,
    work,
)
from tests.support.logs import EMBEDDED, opened_log
from tests.support.view_records import document, entry, gone, metadata, query, state


@pytest.mark.parametrize("adapter", EMBEDDED)
@pytest.mark.parametrize("partitions", [1, 4, 12])
async def test_what_the_workers_write_arrives(
    partitions: int, adapter: str, tmp_path: Path
) -> None:
    """Records of every partition, tombstones too; published once every worker has said so."""
    sink, clock = MemorySink(), Clock()
    async with (
        opened_log(adapter, partitions, tmp_path) as opened,
        feeding(await founded(opened.log), sink, clock) as feed,
    ):
        log = opened.log
        for partition in range(partitions):
            names = [f"n{partition}-{i}" for i in range(3)]
            await work(log, partition, [metadata(name, document(name)) for name in names])
            await work(log, partition, [gone(names[0]), state(names[1]), entry(names[2], 7)])
        await until(lambda: len(sink.rows) == partitions * 3)
        last = await feed.finish()

    assert last is not None
    assert sink.closed
    vector, rows = sink.published_rows[-1]
    assert all(cut is not None for cut in vector.cuts)
    assert partitions * 3 == len(rows)
    assert partitions == len(sink.journal)


async def test_nothing_happens_before_there_is_a_cut() -> None:
    """A log without config, or without any worker's progress, is waited for."""
    log, sink = MemoryLog(), MemorySink()
    async with feeding(log, sink, Clock()) as feed:
        assert await feed.finish() is None
        await found(log)
        assert await feed.finish() is None

    assert [] == sink.batches


async def test_a_cut_without_records_is_reached() -> None:
    """The sink of a log in which nothing happened yet publishes an empty snapshot."""
    log, sink = MemoryLog(2), MemorySink()
    await found(log)
    await work(log, 1, [])
    async with Feed(log, sink, Clock(), publish_every_seconds=60) as feed:
        assert await feed.finish() is not None

    assert [0] == sink.batches
    assert (None, True) == (sink.published_rows[0][0].cuts[0], sink.at.log_id == "log-1")


async def test_it_publishes_when_the_period_is_over_and_something_changed() -> None:
    """At once at first; then not before the period is over, and not without a change."""
    log, sink, clock = MemoryLog(), MemorySink(), Clock()
    await found(log)
    await work(log, 0, [metadata("a", document("a"))])
    async with feeding(log, sink, clock) as feed:
        await until(lambda: len(sink.published_rows) == 1)
        await work(log, 0, [metadata("b", document("b"))])
        await until(lambda: feed.counters.cuts == 2)
        await asyncio.sleep(0.1)
        assert 1 == len(sink.published_rows)
        clock.ms += 60_000
        await until(lambda: len(sink.published_rows) == 2)
        clock.ms += 600_000
        await asyncio.sleep(0.1)

    assert 2 == len(sink.published_rows)


async def test_publishing_takes_a_fifth_of_the_time_at_most() -> None:
    """A sink whose publication takes long rests four times as long."""
    log, sink, clock = MemoryLog(), MemorySink(), Clock()
    genuine = sink.publish

    def slow(now_ms: int) -> Published:
        clock.ms += 50_000
        return genuine(now_ms)

    sink.publish = slow  # type: ignore[method-assign]  # the sink is the test's own
    await found(log)
    await work(log, 0, [metadata("a", document("a"))])
    async with feeding(log, sink, clock) as feed:
        await until(lambda: len(sink.published_rows) == 1)
        await work(log, 0, [metadata("b", document("b"))])
        await until(lambda: feed.counters.cuts == 2)
        clock.ms += 190_000
        await asyncio.sleep(0.1)
        assert 1 == len(sink.published_rows)
        clock.ms += 10_001
        await until(lambda: len(sink.published_rows) == 2)


async def test_a_restart_goes_on_where_the_sink_stands() -> None:
    """Nothing is read twice, what is published already is not published again."""
    log, sink, clock = MemoryLog(), MemorySink(), Clock()
    await found(log)
    await work(log, 0, [entry("a", 1), metadata("a", document("a"))])
    async with feeding(log, sink, clock):
        await until(lambda: len(sink.published_rows) == 1)
    async with feeding(log, sink, clock):
        await work(log, 0, [entry("b", 2)])
        await until(lambda: len(sink.journal) == 2)

    assert [0, 1] == sink.journal
    assert 0 == sink.resets


async def test_batches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By records and by bytes."""
    monkeypatch.setattr(reading, "BATCH_RECORDS_MAX", 10)
    monkeypatch.setattr(reading, "BATCH_BYTES_MAX", 5_000)
    log, sink = MemoryLog(2), MemorySink()
    await found(log)
    for partition in (0, 1):
        await work(log, partition, [entry(f"n{i}", i) for i in range(25)])
        await work(log, partition, [metadata(f"n{partition}-{i}", b"x" * 3_000) for i in range(7)])
    async with Feed(log, sink, Clock(), publish_every_seconds=60) as feed:
        await feed.finish()

    assert 64 == sum(sink.batches)
    assert 10 == max(sink.batches)
    assert 14 == len(sink.rows)


async def test_partitions_far_ahead_of_their_worker_do_not_fill_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A journal that a worker has not reached is not read with the others, again and again."""
    monkeypatch.setattr(reading, "AHEAD_BYTES_MAX", 2_000)
    monkeypatch.setattr(reading, "BATCH_RECORDS_MAX", 10)
    log, sink = MemoryLog(2), MemorySink()
    await found(log)
    await log.append([entry(f"n{i}", i)._replace(partition=0) for i in range(400)])
    await work(log, 0, [], changelog=3)
    await work(log, 1, [metadata(f"m{i}", document(f"m{i}")) for i in range(50)])
    async with Feed(log, sink, Clock(), publish_every_seconds=60) as feed:
        await feed.finish()
        assert ([0, 1, 2], 50) == (sink.journal, len(sink.rows))
        await work(log, 0, [], changelog=400)
        await feed.finish()

    assert list(range(400)) == sink.journal


async def test_a_cancel_waits_for_the_call_under_way() -> None:
    """A thread that is still writing must not meet the one that closes the file."""
    log, sink = MemoryLog(), MemorySink()
    started, go_on = threading.Event(), threading.Event()
    genuine = sink.apply

    def slow(batch: Batch) -> None:
        started.set()
        assert go_on.wait(DEADLINE_SECONDS)
        genuine(batch)
        assert not sink.closed

    sink.apply = slow  # type: ignore[method-assign]  # the sink is the test's own
    await found(log)
    await work(log, 0, [metadata("a", document("a"))])
    async with Feed(log, sink, Clock(), publish_every_seconds=60) as feed:
        running = asyncio.create_task(feed.run())
        await until(started.is_set)
        running.cancel()
        await asyncio.sleep(0.05)
        assert not running.done()
        go_on.set()
        await asyncio.wait([running])

    assert running.cancelled()
    assert ([1], True) == (sink.batches, sink.closed)


class SlowReader:
    """Time passes while it reads, and a worker goes on writing."""

    def __init__(self, genuine: Reader, log: SlowLog) -> None:
        self._genuine, self._log = genuine, log
        self.position, self.close = genuine.position, genuine.close

    async def read(self, max_records: int, wait_seconds: float) -> list[Record]:
        if self._log.slow_reads > 0:
            self._log.slow_reads -= 1
            self._log.clock.ms += 301_000
            await work(self._log, 0, [metadata("a", document("a", "2"))])
        return await self._genuine.read(max_records, wait_seconds)


class SlowLog(MemoryLog):
    """A log whose readers of `metadata` take five minutes for their first reads."""

    slow_reads = 0
    clock = Clock()

    async def reader(self, positions: Any) -> Any:
        genuine = await super().reader(positions)
        if any(at.topic is Topic.METADATA for at in positions):
            return SlowReader(genuine, self)
        return genuine


async def test_a_cut_that_took_too_long_gives_way_to_a_newer_one() -> None:
    """After half the time that the log keeps replaced records, an older cut proves nothing."""
    log, sink = SlowLog(), MemorySink()
    log.slow_reads = 1
    await found(log)
    await work(log, 0, [metadata("a", document("a", "1"))])
    async with Feed(log, sink, log.clock, publish_every_seconds=60) as feed:
        await feed.finish()

    cut = sink.published_rows[-1][0].cuts[0]
    assert cut is not None
    assert 2 == cut.metadata
    assert 1 == feed.counters.cuts


async def test_the_duckdb_view_follows_a_log(tmp_path: Path) -> None:
    """The real sink: snapshot, restart, damage, and what an owed backfill looks like."""
    log, clock = MemoryLog(2), Clock()
    await found(log)
    backfill = BackfillProgress("run", names=10, done=4)
    await work(log, 0, [entry("a", 5), metadata("a", document("a"))], base=3, backfill=backfill)
    view = DuckDBView.in_directory(tmp_path)
    path = tmp_path / "pypi.duckdb"
    async with Feed(log, view, clock, publish_every_seconds=60) as feed:
        await feed.finish()
        first = query(path, "FROM progress")[0]
        await work(log, 1, [metadata("b", document("b"))])
        await work(log, 0, [gone("a"), state("a", gone=11)])
        await feed.finish()
    (tmp_path / "state" / "live.duckdb").write_bytes(b"damage" * 1000)
    async with Feed(log, view, clock, publish_every_seconds=60) as feed:
        await feed.finish()

    assert (None, 4, 10, 3) == tuple(
        first[key] for key in ("watermark", "backfill_done", "backfill_names", "base")
    )
    assert [{"name": "b"}] == query(path, "SELECT name FROM projects")
    assert [{"name": "a"}] == query(path, "SELECT name FROM removed")
    assert [{"watermark": 5, "names": 1}] == query(path, "SELECT watermark, names FROM progress")
    assert [{"serial": 5}] == query(path, "SELECT serial FROM changelog")
    assert 1 == feed.counters.resets
