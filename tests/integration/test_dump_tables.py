"""The tables of a dump: one Parquet file each and the DuckDB file, beside the JSON they agree with.

Read as analysts and programs read them: with pandas, DuckDB, a streaming parser and `zstd`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import duckdb
import ijson
import msgspec
import pandas as pd
import pytest
import pytest_asyncio
import zstandard

from schemas.errors import DumpCorrupt
from schemas.manifest import Manifest
from sinks.duckdb import tables as duckdb_tables
from sinks.duckdb.status import VIEWS
from sinks.duckdb.tables import EXPORTED, NO_TABLES, export
from sinks.dump.reader import DumpReader
from streams.memory_log import MemoryLog
from tests.support.bootstrap_world import FILES, Clock, Other, Own
from tests.support.dump_world import cli_lines
from tests.support.tables_world import PARQUETS, Shown, some_of_everything

ALL_FILES = {*FILES, *PARQUETS, "pypi.duckdb"}

Pair = tuple[Other, Shown]


async def _made(root: Path) -> Pair:
    """An instance with some of everything, and what it has published."""
    other = await some_of_everything(root / "other", Clock())
    shown = Shown(root / "shown", other.log, other.clock)
    await shown.publish()
    return other, shown


@pytest.fixture(scope="module", name="shown")
def _shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """Of all tests that only read it."""
    other, shown = asyncio.run(_made(tmp_path_factory.mktemp("tables")))
    yield shown
    other.sink.close()


@pytest_asyncio.fixture(name="pair")
async def _pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """Of a test's own, to go on from there."""
    other, shown = await _made(tmp_path)
    yield other, shown
    other.sink.close()


def manifest_of(shown: Shown) -> Manifest:
    return DumpReader(shown.dumps).manifest


def rows_of(database: Path, table: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()


def parquet_rows(path: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        return connection.execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchall()


def test_every_public_table_is_there(shown: Shown) -> None:
    """As a file that the manifest describes; those that are made of others are named."""
    manifest = manifest_of(shown)
    DumpReader(shown.dumps).verify()

    assert ALL_FILES == set(manifest.files)
    assert {view.name for view in VIEWS} == {*EXPORTED, *NO_TABLES}
    assert manifest.tables is not None
    assert {*PARQUETS, "pypi.duckdb"} == set(manifest.tables.files)
    assert manifest.vector == manifest.tables.vector
    assert manifest.watermark == manifest.tables.watermark
    filled = {name for name in PARQUETS if manifest.files[name].rows}
    wanted = {"projects", "releases", "files", "dependencies", "classifiers", "project_urls"}
    assert {f"{name}.parquet" for name in (*wanted, "removed", "exceptions", "anomalies")} <= filled


def test_parquet_is_the_duckdb_file_row_by_row(shown: Shown) -> None:
    """Of every table; those with a name in the order of the names."""
    for name in EXPORTED:
        held = parquet_rows(shown.path(f"{name}.parquet"))
        key = repr
        assert sorted(rows_of(shown.path("pypi.duckdb"), name), key=key) == sorted(held, key=key)
        assert len(held) == manifest_of(shown).files[f"{name}.parquet"].rows
    for name in ("projects", "releases", "files", "dependencies", "classifiers"):
        names = [row[0] for row in parquet_rows(shown.path(f"{name}.parquet"))]
        assert names == sorted(names), name


def test_the_duckdb_file_is_the_published_one(shown: Shown) -> None:
    """By another name of the same file: nothing is copied where it need not be."""
    assert shown.data.snapshot.samefile(shown.path("pypi.duckdb"))


def test_json_says_the_same(shown: Shown) -> None:
    """Projects, versions, files and requirements as the JSON has them, read by other hands."""
    packages = [json.loads(line) for line in cli_lines(shown.path("packages.jsonl.zst"))]
    releases = [json.loads(line) for line in cli_lines(shown.path("releases.jsonl.zst"))]
    projects = pd.read_parquet(shown.path("projects.parquet"))
    infos = [line["document"]["info"] for line in packages]

    assert [line["name"] for line in packages] == list(projects["name"])
    assert [line["serial"] for line in packages] == list(projects["serial"])
    assert [line["stale"] for line in packages] == list(projects["stale"])
    for key in ("version", "summary", "author_email", "requires_python"):
        expected = [info.get(key) or None for info in infos]
        found = [None if pd.isna(value) else value for value in projects[key]]
        assert expected == found, key

    files = pd.read_parquet(shown.path("files.parquet"))
    expected_files = [
        (line["name"], version, file["filename"], file["size"], file["digests"]["sha256"])
        for line in releases
        for version, held in line["document"]["releases"].items()
        for file in held
    ]
    columns = ["name", "version", "filename", "size", "sha256"]
    assert sorted(expected_files) == sorted(files[columns].itertuples(index=False, name=None))

    wanted = pd.read_parquet(shown.path("dependencies.parquet"))
    expected_wanted = [
        (line["name"], text)
        for line, info in zip(packages, infos, strict=True)
        for text in info.get("requires_dist") or ()
    ]
    columns = ["name", "requirement"]
    assert expected_wanted == list(wanted[columns].itertuples(index=False, name=None))


def test_other_programs_read_it_all(shown: Shown) -> None:
    """To the end: a streaming parser, `zstd --test`, pandas, DuckDB."""
    rows = {name: file.rows for name, file in manifest_of(shown).files.items()}
    with shown.path("pypicache.json.zst").open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        streamed = [each["info"]["name"] for each in ijson.items(stream, "item")]
    assert rows["pypicache.json.zst"] == len(streamed)
    frame = pd.read_json(shown.path("pypicache.json.zst"))
    assert streamed == [info["name"] for info in frame["info"]]
    for name in ALL_FILES:
        path = shown.path(name)
        if name.endswith(".zst"):
            subprocess.run(["zstd", "--test", "-q", path], check=True)
        if name.endswith(".jsonl.zst"):
            assert rows[name] == len(pd.read_json(path, lines=True)), name
        elif name.endswith(".parquet"):
            assert rows[name] == len(pd.read_parquet(path)), name
    latest = pd.read_csv(shown.path("latest.csv.zst"), dtype=str, keep_default_na=False)
    projects = pd.read_parquet(shown.path("projects.parquet"))
    expected = [
        (name, "" if pd.isna(version) else version, str(serial))
        for name, version, serial in projects[["name", "version", "serial"]].itertuples(index=False)
    ]
    assert expected == list(latest.itertuples(index=False, name=None))
    assert ["name", "version", "serial"] == list(latest.columns)
    with duckdb.connect() as connection:
        counted = f"SELECT count(*) FROM read_csv('{shown.path('latest.csv.zst')}')"
        assert [(rows["latest.csv.zst"],)] == connection.execute(counted).fetchall()


def _said(manifest: Manifest) -> dict[str, Any]:
    """All but what tells one log from another, and the length and hash of the DuckDB file."""
    said: dict[str, Any] = msgspec.to_builtins(manifest)
    for key in ("created", "log", "vector", "version"):
        assert said.pop(key)
    for key in ("created", "vector"):
        assert said["tables"].pop(key)
    said["files"]["pypi.duckdb"] = sorted(said["files"]["pypi.duckdb"])
    return said


async def test_a_round_trip_gives_the_same_bytes(shown: Shown, tmp_path: Path) -> None:
    """Dump, bootstrap, dump: JSON and Parquet byte for byte, the DuckDB file row by row.

    The other log has another number of partitions, so rows came in in another order.
    """
    own = Own(tmp_path / "own", MemoryLog(1, now_ms=shown.clock), shown.clock)
    await own.load(shown.dumps)
    again = Shown(tmp_path / "again", own.log, shown.clock)
    await again.publish()

    theirs, ours = manifest_of(shown), manifest_of(again)
    for name in sorted(ALL_FILES - {"pypi.duckdb"}):
        assert shown.path(name).read_bytes() == again.path(name).read_bytes(), name
        assert theirs.files[name] == ours.files[name]
    assert _said(theirs) == _said(ours)
    for table in {view.name for view in VIEWS} - {"progress"}:
        held = [sorted(rows_of(each.path("pypi.duckdb"), table), key=repr)
                for each in (shown, again)]  # fmt: skip
        assert held[0] == held[1], table


async def test_what_is_parted_to_be_sorted_is_whole(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pieces of a name or two it gives the same rows in the same order."""
    monkeypatch.setattr(duckdb_tables, "PIECE_BYTES", 1_000)
    folder = tmp_path / "pieces"
    folder.mkdir()
    shutil.copyfile(shown.data.snapshot, folder / "pypi.duckdb")
    told = export(folder / "pypi.duckdb", folder)

    for name in PARQUETS:
        assert parquet_rows(shown.path(name)) == parquet_rows(folder / name), name
        assert told.files[name].rows == manifest_of(shown).files[name].rows
    assert {*PARQUETS, "pypi.duckdb"} == {path.name for path in folder.iterdir()}


async def test_tables_keep_their_period(pair: Pair) -> None:
    """A dump in between has those of before, and says at which cut they stand; asked, new ones."""
    other, shown = pair
    before = manifest_of(shown)
    await other.publish_project("new")
    await other.mark()
    other.clock.ms += 600_000
    await shown.publish(ask=False)
    between = manifest_of(shown)

    assert between.tables is not None
    assert before.tables == between.tables
    assert between.vector != between.tables.vector
    assert before.files["projects.parquet"] == between.files["projects.parquet"]
    assert before.files["packages.jsonl.zst"] != between.files["packages.jsonl.zst"]
    DumpReader(shown.dumps).verify()

    await shown.publish()
    assert "new" in set(pd.read_parquet(shown.path("projects.parquet"))["name"])
    assert manifest_of(shown).tables != before.tables


async def test_a_damaged_duckdb_file_holds_up_no_dump(pair: Pair) -> None:
    """The dump is published with the tables that were made before."""
    other, shown = pair
    before = manifest_of(shown)
    await other.publish_project("new")
    await other.mark()
    shown.data.snapshot.unlink()
    shown.data.snapshot.write_bytes(b"no database")
    await shown.publish("dump")
    after = manifest_of(shown)

    assert before.tables == after.tables
    assert before.vector != after.vector
    DumpReader(shown.dumps).verify()


def test_a_table_that_is_not_as_described_is_refused(shown: Shown, tmp_path: Path) -> None:
    """Cut, longer, or with another byte: the same demands as of the other files."""
    copy = tmp_path / "copy"
    shutil.copytree(DumpReader(shown.dumps).directory, copy)
    path = copy / "files.parquet"
    whole = path.read_bytes()
    path.chmod(0o644)
    for damaged in (whole[:-1], whole + b"x", b"", whole[:50] + b"?" + whole[51:]):
        path.write_bytes(damaged)
        with pytest.raises(DumpCorrupt, match=r"files\.parquet is not the file"):
            DumpReader(copy).verify()
    path.unlink()
    with pytest.raises(DumpCorrupt, match="No such file"):
        DumpReader(copy).verify()


def test_pieces_are_cut_by_weight() -> None:
    """Each of about the weight asked for; never more than allowed; none is empty."""
    sample = [(f"n{i:03}", 10) for i in range(100)]

    assert [] == duckdb_tables.cuts(sample, 1.0, 10_000, 9)
    assert ["n050"] == duckdb_tables.cuts(sample, 1.0, 501, 9)
    assert 8 == len(duckdb_tables.cuts(sample, 1.0, 1, 9))
    assert [] == duckdb_tables.cuts([], 1.0, 100, 4)
    for low, high in itertools.pairwise(duckdb_tables.cuts(sample, 3.0, 100, 50)):
        assert low < high
