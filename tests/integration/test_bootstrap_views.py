"""Who begins with a dump answers as the one who made it: the DuckDB files are equal row by row."""

from __future__ import annotations

from pathlib import Path

import duckdb

from pypistream.data_dir import DataDir
from sinks.duckdb.view import DuckDBView
from sinks.feed import Feed
from streams.log import Log
from streams.memory_log import MemoryLog
from tests.support.bootstrap_world import Clock, Other, Own

# Their rows are of the journal, of this log, of the moment, or of what was held here.
OWN_TABLES = {"changelog", "progress", "removed_files"}
COLUMNS = {"removed": "name, display_name, reason, serial"}


async def test_the_same_rows(tmp_path: Path) -> None:
    """All tables of the public schema; of `removed` what stands in a dump."""
    clock = Clock()
    other = Other(tmp_path / "other", 4, clock=clock)
    await other.found()
    for number in range(12):
        await other.publish_project(f"p{number:02}", requires_dist=["idna>=3; extra == 'x'", "b"])
    await other.publish_project("odd", classifiers="no list")
    await other.stale("p01")
    await other.remove("p02")
    await other.remove("p03")
    await other.publish_project("p03", "again")
    await other.fail("p04")
    await other.publish()
    own = Own(tmp_path / "own", MemoryLog(1, now_ms=clock), clock)
    await own.load(other.dumps)
    theirs = await _tables(other.log, tmp_path / "view-a", clock)
    ours = await _tables(own.log, tmp_path / "view-b", clock)

    assert theirs.keys() == ours.keys()
    assert {"projects", "releases", "files", "dependencies", "removed", "exceptions"} <= ours.keys()
    filled = set()
    for table in ours.keys() - OWN_TABLES:
        assert theirs[table] == ours[table], table
        if ours[table]:
            filled.add(table)
    assert {"projects", "files", "dependencies", "removed", "anomalies", "exceptions"} <= filled
    other.sink.close()


async def _tables(log: Log, folder: Path, clock: Clock) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every public view, in order."""
    DataDir(folder).create()
    view = DuckDBView.in_directory(folder)
    async with Feed(log, view, clock, publish_every_seconds=0, wall_ms=clock.now_ms) as feed:
        assert await feed.finish() is not None
    found: dict[str, list[tuple[object, ...]]] = {}
    with duckdb.connect(str(folder / "pypi.duckdb"), read_only=True) as connection:
        names = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main'"
        ).fetchall()
        for (name,) in names:
            columns = COLUMNS.get(name, "*")
            rows = connection.execute(f"SELECT {columns} FROM {name} ORDER BY ALL").fetchall()
            found[name] = rows
    return found
