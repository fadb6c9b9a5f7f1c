"""While a sink takes a batch in, the feed reads the next one and has it prepared."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from schemas.errors import DiskFull
from schemas.records import Config
from sinks import reading
from sinks.duckdb.view import LIVE_FILE, DuckDBView
from sinks.feed import Feed
from sinks.sink import Batch
from streams.log import Record
from streams.memory_log import MemoryLog
from tests.support.feed_world import Clock, MemorySink, found, work
from tests.support.view_records import CONFIG, document, entry, metadata, positions, query, read

PATIENCE_SECONDS = 60.0


class Ahead(MemorySink):
    """Takes its first batch in only when the second is prepared."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared_batches = 0
        self._second = threading.Event()

    def prepared(self, records: Sequence[Record], config: Config) -> object:
        assert "log-1" == config.log_id
        self.prepared_batches += 1
        if self.prepared_batches == 2:
            self._second.set()
        return [record.offset for record in records]

    def apply(self, batch: Batch) -> None:
        assert [record.offset for record in batch.records] == batch.ready
        if not self.batches:
            assert self._second.wait(PATIENCE_SECONDS), "nothing was read meanwhile"
        super().apply(batch)


async def journal_of_25() -> MemoryLog:
    log = MemoryLog()
    await found(log)
    await work(log, 0, [entry(f"n{i}", i) for i in range(25)])
    return log


async def test_the_next_batch_is_made_ready_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch comes with what was prepared of its own records, in order, once."""
    monkeypatch.setattr(reading, "BATCH_RECORDS_MAX", 10)
    log, sink = await journal_of_25(), Ahead()
    async with Feed(log, sink, Clock(), publish_every_seconds=60) as feed:
        await feed.finish()

    assert ([10, 10, 5], 3) == (sink.batches, sink.prepared_batches)
    assert list(range(25)) == sink.journal


async def test_what_was_read_ahead_of_a_failure_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sink refused the batch before it: nothing is skipped, nothing comes twice."""
    monkeypatch.setattr(reading, "BATCH_RECORDS_MAX", 10)
    log, sink = await journal_of_25(), Ahead()
    sink.fail_next = [DiskFull("full", hint="make room")]
    async with Feed(log, sink, Clock(), publish_every_seconds=60) as feed:
        with pytest.raises(DiskFull):
            await feed.finish()
        assert [] == sink.journal
        await feed.finish()

    assert list(range(25)) == sink.journal
    assert 25 == feed.counters.records


def test_what_is_stored_already_is_left_out_of_what_was_prepared(tmp_path: Path) -> None:
    """Rows made of a whole batch do not count where a part of it is in the file."""
    view = DuckDBView.in_directory(tmp_path)
    records = read([entry("a", 5), entry("a", 6), metadata("a", document("a"))])
    view.apply(Batch(CONFIG, records[:1], positions(records[:1])))
    ready = view.prepared(records, CONFIG)
    view.apply(Batch(CONFIG, records, positions(records), ready=ready))
    view.close()

    live = tmp_path / "state" / LIVE_FILE
    serials = query(live, "SELECT serial FROM base.changelog ORDER BY serial")
    assert [{"serial": 5}, {"serial": 6}] == serials
    assert [{"name": "a"}] == query(live, "SELECT name FROM base.project")
