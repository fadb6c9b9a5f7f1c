"""A fold that takes several read transactions is exact, whatever is written and cleaned between."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from schemas.topics import TOPICS, Offset, Topic
from streams import sqlite_reader
from streams.cleaning import COMPACTION_LAG_MS
from streams.log import Table
from streams.sqlite_clean import clean_piece
from streams.sqlite_log import SqliteLog
from streams.sqlite_reader import Fold, read_batch
from streams.sqlite_schema import READER_CACHE_KIB, connect, partition_tables
from streams.sqlite_writer import WriteSide
from tests.support.logs import STATE_0, Clock, cleaned, state

TABLES = partition_tables(1)
TOMBSTONE_MS = TOPICS[Topic.STATE].tombstone_ms or 0
ROUNDS = 60


class Folding:
    """A log, and a fold of it that goes on one step at a time."""

    def __init__(self, log: SqliteLog, clock: Clock, path: Path) -> None:
        self.log = log
        self.clock = clock
        self.path = path
        self.connection = connect(path, cache_kib=READER_CACHE_KIB)
        self.fold = Fold(TABLES[STATE_0])

    def step(self) -> Table | None:
        return self.fold.step(self.connection, TABLES)

    def finish(self) -> Table:
        for _ in range(10_000):
            if table := self.step():
                return table
        raise AssertionError("the fold does not come to an end")

    async def clean(self, later_ms: int) -> int:
        self.clock.ms += later_ms
        return await cleaned(self.log, self.clock.ms)


@pytest_asyncio.fixture
async def folding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Folding]:
    monkeypatch.setattr(sqlite_reader, "READ_ROWS_MAX", 3)
    clock = Clock()
    path = tmp_path / "log.sqlite"
    log = await SqliteLog.open(path, now_ms=clock)
    folding = Folding(log, clock, path)
    yield folding
    folding.connection.close()
    await log.close()


def values(table: Table) -> dict[str, bytes | None]:
    return {key: record.value for key, record in table.rows.items()}


async def test_stops_where_it_began_to(folding: Folding) -> None:
    """Without cleaning, the fold is the log as it was at the first step."""
    await folding.log.append([state(f"k{n}", "1") for n in range(8)])
    assert folding.step() is None
    await folding.log.append([state("k0", "2"), state("k9", "2")])
    table = folding.finish()

    assert {f"k{n}": b"1" for n in range(8)} == values(table)
    assert table.next_offset == 8


async def test_row_replaced_beyond_the_end_was_removed(folding: Folding) -> None:
    """A row that cleaning took before it was folded is missed by no one: the fold goes further."""
    await folding.log.append([state(f"k{n}", "1") for n in range(8)])
    assert folding.step() is None
    await folding.log.append([state("k7", "2"), state("k6", "2")])
    assert 2 == await folding.clean(COMPACTION_LAG_MS)
    table = folding.finish()

    assert {f"k{n}": b"1" if n < 6 else b"2" for n in range(8)} == values(table)
    assert table.next_offset == 10


async def test_tombstone_was_purged(folding: Folding) -> None:
    """A key whose tombstone went before it could be folded is not brought back to life."""
    await folding.log.append([state(f"k{n}", "1") for n in range(8)])
    await folding.log.append([state("k0", None), state("k9", "1")])
    assert folding.step() is None
    assert 2 == await folding.clean(TOMBSTONE_MS)
    table = folding.finish()

    assert {*(f"k{n}" for n in range(1, 8)), "k9"} == set(table.rows)


async def test_any_interleaving(folding: Folding, seed: int) -> None:
    """Random writes and cleanings between the steps: always the log at `next_offset`."""
    rng = random.Random(seed)
    history: list[tuple[str, str | None]] = []
    for _ in range(ROUNDS):
        folding.fold = Fold(TABLES[STATE_0])
        table = None
        while table is None:
            for _ in range(rng.randrange(3)):
                key = f"k{rng.randrange(8)}"
                value = None if rng.random() < 0.3 else str(len(history))
                await folding.log.append([state(key, value)])
                history.append((key, value))
            if rng.random() < 0.4:
                await folding.clean(rng.choice([0, COMPACTION_LAG_MS, TOMBSTONE_MS]))
            table = folding.step()
        expected: dict[str, bytes] = {}
        for key, value in history[: table.next_offset]:
            if value is None:
                expected.pop(key, None)
            else:
                expected[key] = value.encode()

        assert expected == values(table)


async def test_one_read_sees_one_state(folding: Folding) -> None:
    """Between the statements of one read the log may change: the read does not see it."""
    for n in range(3):
        await folding.log.append([state("a", str(n))])
    path = folding.path
    positions = {STATE_0: Offset(0)}
    overtaken = 0

    def overtake(statement: str) -> None:
        nonlocal overtaken
        if overtaken == 0 and "FROM state_0" in statement:
            overtaken = 1
            other = connect(path, cache_kib=READER_CACHE_KIB)
            side = WriteSide(TABLES, 1, folding.clock)
            side.append(other, [state("a", "3"), state("b", "1")])
            folding.clock.ms += COMPACTION_LAG_MS
            overtaken += clean_piece(other, TABLES[STATE_0], folding.clock.ms)
            other.close()

    folding.connection.set_trace_callback(overtake)
    batch = read_batch(folding.connection, TABLES, positions, 0, 100)
    folding.connection.set_trace_callback(None)

    assert overtaken == 1 + 3
    assert [b"0", b"1", b"2"] == [record.value for record in batch.records]
    assert {STATE_0: 3} == batch.positions
    again = read_batch(folding.connection, TABLES, batch.positions, 0, 100)
    assert [b"3", b"1"] == [record.value for record in again.records]


async def test_purged_key_is_forgotten(folding: Folding) -> None:
    """With its tombstone, a key leaves nothing behind in the list of latest offsets."""
    await folding.log.append([state("a", "1"), state("a", None), state("b", "1")])
    await folding.clean(TOMBSTONE_MS)
    latest = folding.connection.execute("SELECT key, offset FROM state_0_latest").fetchall()

    assert [("b", 2)] == latest
