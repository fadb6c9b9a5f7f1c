"""Sinks on Apache Kafka: one reader for all cuts, restarts, and a log that was truncated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from schemas.topics import Offset, Topic
from sinks.duckdb.view import DuckDBView
from sinks.feed import Feed
from streams.kafka_log import KafkaLog
from streams.kafka_reader import KafkaReader
from streams.log import TopicPartition
from tests.support.feed_world import Clock, MemorySink, found, reached, transact, work
from tests.support.logs import opened_log
from tests.support.view_records import document, entry, metadata, query, state

PARTITIONS = 4
CUTS = 24

pytestmark = pytest.mark.usefixtures("kafka_bootstrap")


def counted(log: KafkaLog, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows with each reader of documents that the log opens: a consumer of its own."""
    opened: list[object] = []
    genuine = log.reader

    async def reader(positions: Mapping[TopicPartition, Offset]) -> KafkaReader:
        if any(at.topic is Topic.METADATA for at in positions):
            opened.append(positions)
        return await genuine(positions)

    monkeypatch.setattr(log, "reader", reader)
    return opened


async def test_one_consumer_serves_all_cuts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Through control records and new writers; then a restart in the middle of them."""
    sink = MemorySink()
    async with opened_log("kafka", PARTITIONS, tmp_path) as opened:
        log = opened.log
        assert isinstance(log, KafkaLog)
        await found(log)
        writers = [await log.writer(f"worker-{partition}") for partition in range(PARTITIONS)]
        for partition, writer in enumerate(writers):
            name = f"first{partition}"
            await transact(writer, partition, [metadata(name, document(name))], serial=1)
        readers = counted(log, monkeypatch)
        async with Feed(log, sink, Clock(), publish_every_seconds=60) as feed:
            await reached(feed, 1)
            for serial in range(2, CUTS):
                partition = serial % PARTITIONS
                if serial % 8 == 0:  # its first cut names ends that lie behind all control records
                    writers[partition] = await log.writer(f"worker-{partition}")
                name = f"n{serial}"
                records = [entry(name, serial), metadata(name, document(name)), state(name)]
                await transact(writers[partition], partition, records[serial % 3 :], serial=serial)
                await reached(feed, serial)
            assert (0, 1) == (feed.counters.resets, len(readers))
        await transact(writers[0], 0, [metadata("last", document("last"))], serial=CUTS)
        async with Feed(log, sink, Clock(), publish_every_seconds=60) as feed:
            await reached(feed, 1)
        tables = [await log.table(TopicPartition(Topic.METADATA, p)) for p in range(PARTITIONS)]

    assert (0, 2) == (feed.counters.resets, len(readers))
    names = {name for table in tables for name in table.rows}
    assert "last" in names
    assert names == {name for topic, name in sink.rows if topic == Topic.METADATA}


async def test_what_the_broker_has_deleted_means_another_view(tmp_path: Path) -> None:
    """A position before the first record that is left: the sink is built anew by itself."""
    async with opened_log("kafka", 1, tmp_path) as opened:
        log = opened.log
        assert isinstance(log, KafkaLog)
        await found(log)
        await work(log, 0, [entry("a", 1), metadata("a", document("a"))])
        view = DuckDBView.in_directory(tmp_path)
        async with Feed(log, view, Clock(), publish_every_seconds=60) as feed:
            await reached(feed, 1)
        await work(log, 0, [entry("b", 2), entry("c", 3)])
        await truncate(log, TopicPartition(Topic.CHANGELOG, 0), 3)
        async with Feed(log, view, Clock(), publish_every_seconds=60) as feed:
            await reached(feed, 1)

    assert 1 == feed.counters.resets
    path = tmp_path / "pypi.duckdb"
    assert [{"serial": 3}] == query(path, "SELECT serial FROM changelog")
    assert [{"name": "a"}] == query(path, "SELECT name FROM projects")


async def truncate(log: KafkaLog, at: TopicPartition, start: int) -> None:
    """Delete the records before an offset, as an operator's command would."""
    settings = log._settings
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    await admin.start()
    try:
        place = KafkaPartition(settings.prefix + at.topic, at.partition)
        await admin.delete_records({place: RecordsToDelete(before_offset=start)})
    finally:
        await admin.close()
