"""What comes with a dump's tables: the journal as history, and what was held of what is gone.

That a dump of the loaded log has the same bytes is shown in `test_dump_tables`.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

from producers.bootstrap import Loader
from producers.carried import Journal
from producers.history import end_of, next_serial, read_up_to
from pypistream.data_dir import DataDir
from pypistream.health.status_report import HistoryReport, StatusReader
from pypistream.jobs.carrying import NO_JOURNAL, NO_TABLES, carried_with
from schemas.errors import DumpCorrupt
from schemas.records import Head, History
from schemas.topics import Topic
from sinks.duckdb import carried
from sinks.dump.reader import DumpReader
from sinks.removed import HELD
from streams.log import Log, Outgoing
from streams.memory_log import MemoryLog
from streams.progress import history_since, read_progress
from tests.support.bootstrap_world import Clock, Other, Own
from tests.support.history import records_of
from tests.support.tables_world import Shown, some_of_everything


class Dumps(NamedTuple):
    """Two dumps of one instance, one after the other; the second still has the first's tables."""

    first: Path
    second: Path
    reached: int
    serials: list[int]


@pytest.fixture(name="dumps", scope="module")
def _dumps(tmp_path_factory: pytest.TempPathFactory) -> Dumps:
    root = tmp_path_factory.mktemp("carried")

    async def made() -> Dumps:
        other = await some_of_everything(root / "other", Clock())
        shown = Shown(root / "shown", other.log, other.clock)
        await shown.publish()
        reached, first = other.serial, _copied(shown, root / "first")
        serials = sorted(serial for serial, _, _ in await rows(other.log))
        await other.publish_project("new")
        await other.remove("p06")
        await other.mark()
        await shown.publish("dump", ask=False)
        other.sink.close()
        return Dumps(first, _copied(shown, root / "second"), reached, serials)

    return asyncio.run(made())


def _copied(shown: Shown, to: Path) -> Path:
    shutil.copytree(DumpReader(shown.dumps).directory, to)
    return to


@pytest.fixture(name="own")
def _own(tmp_path: Path) -> Own:
    clock = Clock()
    return Own(tmp_path / "own", MemoryLog(2, now_ms=clock), clock)


async def rows(log: Log) -> list[tuple[int, str | None, str | None]]:
    """Serial and the headers `late` and `seen` of every row of the journal in the log."""
    return [
        (json.loads(record.value or b"")["serial"], record.header("late"), record.header("seen"))
        for record in await records_of(log, Topic.CHANGELOG)
        if record.key is not None
    ]


async def head(log: Log) -> Head:
    found = (await read_progress(log)).head
    assert found is not None
    return found


async def told(own: Own) -> HistoryReport | None:
    """What `status` says."""
    return (await StatusReader(DataDir(own.root), own.log, brief=True).report()).history


async def since(log: Log) -> int | None:
    progress = await read_progress(log)
    return history_since(progress.head, progress.cuts)


async def test_the_journal_is_history_here(dumps: Dumps, own: Own) -> None:
    """Late to whoever reads it; what had been late there is told apart. Nothing more is owed."""
    await own.load(dumps.first)

    held = await rows(own.log)
    assert dumps.serials == sorted(serial for serial, _, _ in held)
    assert {(serial > 1_000) for serial, _, seen in held if seen == "true"} == {True}
    assert {(serial > 1_000) for serial, _, seen in held if seen is None} == {False}
    assert {"true"} == {late for _, late, _ in held}
    assert 900 == await since(own.log)
    assert next_serial(await head(own.log), asked=False) is None
    assert HistoryReport(900, None, asked=False) == await told(own)


async def test_each_row_is_written_once(
    dumps: Dumps, own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill in the middle of it, and once more over what is there."""
    monkeypatch.setattr("producers.bootstrap.BATCH_RECORDS_MAX", 10)
    commit = Loader._commit

    async def dying(self: Loader, records: Sequence[Outgoing], *, count: bool = True) -> None:
        if records[0].topic is Topic.CHANGELOG and self.rows:
            raise RuntimeError("killed")
        await commit(self, records, count=count)

    with monkeypatch.context() as patch:
        patch.setattr(Loader, "_commit", dying)
        with pytest.raises(RuntimeError, match="killed"):
            await own.load(dumps.first)
    assert 0 < len(await rows(own.log)) < len(dumps.serials)

    for again in (False, True):
        await own.load(dumps.first, replace_all=again)
        assert Counter(dumps.serials) == Counter(serial for serial, _, _ in await rows(own.log))
    assert 900 == await since(own.log)


async def test_rows_after_the_tables_are_owed(dumps: Dumps, own: Own) -> None:
    """Where the tables stand at an earlier cut, the journal is whole once these were read, too."""
    await own.load(dumps.second)

    found = await head(own.log)
    assert dumps.serials == sorted(serial for serial, _, _ in await rows(own.log))
    assert (dumps.reached, found.base) == (next_serial(found, asked=False), end_of(found))
    assert found.base > dumps.reached
    assert found.base == await since(own.log)
    assert HistoryReport(found.base, dumps.reached, asked=False, begun=900) == await told(own)
    gone = await tombstones(own.log)
    assert {"p02", "p05"} == {name for name in gone if HELD in gone[name]}
    assert "p06" in gone


async def tombstones(log: Log) -> dict[str, dict[str, str]]:
    """Headers of the tombstones in `releases`."""
    return {
        record.key or "": {name: value.decode() for name, value in record.headers}
        for record in await records_of(log, Topic.RELEASES)
        if record.value is None
    }


async def test_a_tombstone_says_what_was_held(dumps: Dumps, own: Own) -> None:
    """When it went, and each file by name and hash; of what was never held there is none."""
    await own.load(dumps.first)

    gone = await tombstones(own.log)
    assert {"p02", "p05"} == set(gone)
    assert "removed" == gone["p05"]["reason"]
    held = json.loads(gone["p05"][HELD])
    assert "1.0" == held["latest"]
    assert len(held["filename"]) == len(held["sha256"]) == len(held["version"]) > 0
    assert gone["p02"]["ce_time"] < gone["p05"]["ce_time"]
    assert gone["p05"]["ce_time"] != DumpReader(dumps.first).manifest.created


async def test_a_follower_keeps_what_it_loaded(tmp_path: Path, own: Own) -> None:
    """Deltas have no journal: it is no longer whole up to where the log stands, and says so."""
    other = Other(tmp_path / "other", 1, clock=own.clock)
    await other.found()
    await other.publish_project("a")
    await other.publish()
    async with own.loading(other.dumps) as work:
        await work.load(replace_all=False)
        work.loader._history = History(other.serial, (0, 0), 7)
        loaded = other.serial
        await other.publish_project("b")
        await other.publish()
        await work.look()
    found = await head(own.log)
    assert History(loaded, (0, 0), 7) == found.history
    assert found.base == other.serial == await since(own.log)
    async with own.loading(other.dumps) as work:
        await work.go_on()
        await other.publish_project("c")
        await other.publish()
        await work.look()
    assert History(loaded, (0, 0), 7) == (await head(own.log)).history


async def test_what_lacks_is_said(dumps: Dumps, own: Own, tmp_path: Path) -> None:
    """Of a dump without these tables, and of one of an older version; both are loaded."""
    bare, older = tmp_path / "bare", tmp_path / "older"
    for folder in (bare, older):
        shutil.copytree(dumps.first, folder)
    (bare / "removed.parquet").unlink()
    manifest = older / "manifest.json"
    told = json.loads(manifest.read_bytes())
    del told["tables"]["history_since"]
    manifest.unlink()
    manifest.write_text(json.dumps(told))

    assert NO_TABLES == carried_with(DumpReader(bare)).lacking
    assert NO_JOURNAL == carried_with(DumpReader(older)).lacking
    await own.load(bare)
    assert [] == await rows(own.log)
    assert (await head(own.log)).history is None
    assert {"p02", "p05"} == set(await tombstones(own.log))


async def test_a_damaged_table_is_refused(dumps: Dumps, own: Own, tmp_path: Path) -> None:
    """Before anything of it is taken."""
    shutil.copytree(dumps.first, tmp_path / "bad")
    path = tmp_path / "bad" / "changelog.parquet"
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole[:40] + b"?" + whole[41:])
    with pytest.raises(DumpCorrupt, match=r"changelog\.parquet is not the file"):
        await own.load(tmp_path / "bad")
    assert [] == await rows(own.log)


@pytest.mark.parametrize(
    ("file", "query", "why"),
    [
        ("changelog", "SELECT 1 AS serial", "cannot be read"),
        ("changelog", "FROM x WHERE serial % 2 = 1 UNION ALL FROM x WHERE serial % 2 = 0", "order"),
        ("removed", "SELECT * REPLACE ('x' AS held) FROM x", "cannot be read"),
        ("removed", "FROM x ORDER BY name DESC", "order"),
        ("removed", "FROM x WHERE name = 'p02'", "which is not gone"),
        ("removed_files", "SELECT name FROM x", "cannot be read"),
    ],
)
def test_a_table_that_is_none_of_ours_is_refused(
    dumps: Dumps, tmp_path: Path, file: str, query: str, why: str
) -> None:
    """Its hash may be right all the same."""
    for each in ("changelog", "removed", "removed_files"):
        shutil.copyfile(dumps.first / f"{each}.parquet", tmp_path / f"{each}.parquet")
    path = tmp_path / f"{file}.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE x AS FROM '{path}'")
        connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    with pytest.raises(DumpCorrupt, match=why):
        _all_of(tmp_path)


def _all_of(folder: Path) -> tuple[list[Any], list[Any]]:
    return list(carried.journal(folder, 0, 10_000)), list(carried.removed(folder))


def test_what_is_owed_of_a_journal_that_came_with_a_dump() -> None:
    """First up to where the log begins; then, if somebody asks, what was before it."""
    at = Head(90, 60, 1, (5,), history=History(40, (3,), since=20))
    assert (40, 60) == (next_serial(at, asked=False), end_of(at))
    assert History(50, (), 20) == _without_offsets(read_up_to(at, 50))
    whole = Head(90, 60, 1, (5,), history=History(60, (4,), since=20))
    assert next_serial(whole, asked=False) is None
    assert (0, 20) == (next_serial(whole, asked=True), end_of(whole))
    half = Head(90, 60, 1, (5,), history=read_up_to(whole, 15))
    assert (15, 20) == (next_serial(half, asked=False), end_of(half))
    assert History(60, (), 0, 0) == _without_offsets(read_up_to(half, 20))


def _without_offsets(held: History) -> History:
    return History(held.serial, (), held.since, held.earlier)


def test_rows_join_what_the_log_has() -> None:
    """To a head of its own only without a gap, and not if it has history already."""
    journal = Journal((), since=20, reached=60)
    assert History(60, (), 20) == journal.history(None)
    assert Journal((), 60, 60).history(None) is None
    assert History(50, (), 20) == journal.history(Head(90, 50, 1, ()))
    assert journal.history(Head(90, 70, 1, ())) is None
    assert journal.history(Head(90, 20, 1, ())) is None
    assert journal.history(Head(90, 50, 1, (), history=History(50, ()))) is None
