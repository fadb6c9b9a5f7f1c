"""Sinks on a log whose offsets have gaps, as on Kafka: control records, what was aborted."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.topics import Offset, Topic
from sinks import reading
from sinks.duckdb.view import DuckDBView
from sinks.feed import Feed
from streams import watching
from streams.log import Log, TopicPartition
from tests.support.feed_world import (
    Clock,
    MemorySink,
    found,
    transact,
    work,
)
from tests.support.gappy_log import GappyLog, GappyWriter
from tests.support.view_records import document, entry, gone, metadata, query, state

PARTITIONS = 4
CUTS = 60


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that stands before a gap waits for its end once."""
    for module in (reading, watching):
        monkeypatch.setattr(module, "READ_WAIT_SECONDS", 0.005)


async def founded(log: Log) -> None:
    """A log in which every worker has written something."""
    await found(log)
    for partition in range(PARTITIONS):
        name = f"first{partition}"
        await work(log, partition, [entry(name, 1), metadata(name, document(name)), state(name)])


async def test_one_reader_serves_all_cuts() -> None:
    """Positions lie in gaps, before and behind the reader's own: it is never opened again."""
    log, sink = GappyLog(PARTITIONS), MemorySink()
    await founded(log)
    async with Feed(log, sink, Clock(), publish_every_seconds=60) as feed:
        await feed.finish()
        writers = [await log.writer(f"worker-{partition}") for partition in range(PARTITIONS)]
        for serial in range(2, CUTS):
            partition = serial % PARTITIONS
            name = f"n{serial}"
            records = [entry(name, serial), metadata(name, document(name)), state(name)]
            records = records[serial % 3 :]  # some transactions leave topics out
            if serial % 7 == 0:
                stale = writers[partition]
                assert isinstance(stale, GappyWriter)
                await stale.abort([each._replace(partition=partition) for each in records])
            if serial % 5 == 0:  # the new one names ends that lie behind all control records
                writers[partition] = await log.writer(f"worker-{partition}")
            await transact(writers[partition], partition, records, serial=serial)
            await feed.finish()

    assert 0 == feed.counters.resets
    assert CUTS - 1 == feed.counters.cuts
    assert 1 == log.readers_opened
    ends = await log.ends(Topic.METADATA)
    assert any(sink.at.positions[at] < end for at, end in ends.items()), "no cut lay in a gap"
    tables = [await log.table(TopicPartition(Topic.METADATA, p)) for p in range(PARTITIONS)]
    names = {name for table in tables for name in table.rows}
    assert names == {name for topic, name in sink.rows if topic == Topic.METADATA}


async def test_nothing_but_gaps_is_a_cut_too() -> None:
    """A new worker's first cut lies behind what a killed one left: nothing is there to be read."""
    log, sink = GappyLog(1), MemorySink()
    await found(log)
    await work(log, 0, [metadata("a", document("a")), state("a")])
    async with Feed(log, sink, Clock(), publish_every_seconds=60) as feed:
        await feed.finish()
        before = dict(sink.at.positions)
        writer = await log.writer("worker-0")
        await writer.abort([metadata("b", document("b"))._replace(partition=0)])
        await work(log, 0, [])
        await feed.finish()

    assert {("metadata", "a"), ("state", "a")} == set(sink.rows)
    assert before[TopicPartition(Topic.METADATA, 0)] == Offset(1)
    assert sink.at.positions[TopicPartition(Topic.METADATA, 0)] == Offset(4)
    assert (2, 1) == (feed.counters.cuts, log.readers_opened)


async def test_a_sink_that_stands_in_a_gap_starts_there(tmp_path: Path) -> None:
    """The real sink, ended and started at control records: everything once, nothing anew."""
    log, clock = GappyLog(2), Clock()
    view = DuckDBView.in_directory(tmp_path)
    await found(log)
    for serial, name in enumerate(("a", "b", "c"), 1):
        await work(log, serial % 2, [entry(name, serial), metadata(name, document(name))])
        async with Feed(log, view, clock, publish_every_seconds=60) as feed:
            await feed.finish()
        assert 0 == feed.counters.resets
    await work(log, 1, [gone("a")])
    async with Feed(log, view, clock, publish_every_seconds=60) as feed:
        await feed.finish()

    assert 0 == feed.counters.resets
    path = tmp_path / "pypi.duckdb"
    names = query(path, "SELECT name FROM projects ORDER BY name")
    assert [{"name": "b"}, {"name": "c"}] == names
    serials = query(path, "SELECT serial FROM changelog ORDER BY serial")
    assert [{"serial": 1}, {"serial": 2}, {"serial": 3}] == serials
