"""The DuckDB sink's files: damaged, held by others, full disks, kills; and what rows cannot do."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from schemas.errors import DataDirectoryInUse, StorageFailed, ViewCorrupt
from schemas.records import Status
from schemas.topics import Topic
from sinks.duckdb import compaction
from sinks.duckdb import view as duckdb_view
from sinks.duckdb.intake import Intake
from sinks.duckdb.snapshot import wal_of
from sinks.duckdb.view import DuckDBView
from sinks.sink import Rewound, Standing
from streams.log import TopicPartition
from tests.support import inline_child, view_left
from tests.support.inline_child import InlineChild
from tests.support.new_view import new_view
from tests.support.view_records import (
    document,
    entry,
    file,
    live,
    metadata,
    positions,
    published,
    query,
    read,
    releases,
    slim,
    spoiling,
    state,
    take,
)

HOLDER = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def view(tmp_path: Path) -> Iterator[DuckDBView]:
    with_files = new_view(tmp_path)
    yield with_files
    with_files.close()


def bulk(noise: random.Random) -> dict[str, str]:
    """3 KB that do not compress well."""
    return {"organization": noise.randbytes(1500).hex()}


def test_another_writer_is_told_so(view: DuckDBView, tmp_path: Path) -> None:
    view.standing()

    with pytest.raises(DataDirectoryInUse, match="another process"):
        DuckDBView.in_directory(tmp_path).standing()


def test_what_a_killed_rebuild_left_is_removed_by_who_comes_next(tmp_path: Path) -> None:
    """Gigabytes of lines, at the size of all of PyPI; and nobody else's, while somebody writes."""
    scratch = tmp_path / "state" / duckdb_view.SPILL_DIRECTORY
    scratch.mkdir(parents=True)
    (scratch / "project.jsonl").write_bytes(b"{}\n")
    (scratch / "duckdb_temp_storage_DEFAULT-0.tmp").write_bytes(b"x")
    first = new_view(tmp_path)
    first.standing()
    left = sorted(path.name for path in scratch.iterdir())
    (scratch / "project.jsonl").write_bytes(b"its own")
    with pytest.raises(DataDirectoryInUse):
        new_view(tmp_path).standing()
    kept = (scratch / "project.jsonl").read_bytes()
    first.close()

    assert [] == left
    assert b"its own" == kept


def test_another_writers_files_are_not_reset(view: DuckDBView, tmp_path: Path) -> None:
    take(view, read([metadata("a", document("a"))]))

    with pytest.raises(DataDirectoryInUse, match="another process"):
        DuckDBView.in_directory(tmp_path).reset()
    assert "log-1" == view.standing().log_id


def test_another_program_that_holds_the_live_file_is_named(tmp_path: Path) -> None:
    view = DuckDBView.in_directory(tmp_path)
    view.standing()
    view.close()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            HOLDER,
            str(live(tmp_path)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(DataDirectoryInUse, match=str(holder.pid)):
            view.standing()
    finally:
        holder.communicate()
    assert Standing("", {}) == view.standing()
    view.close()


@pytest.mark.parametrize("damage", ["garbage", "cut", "format"])
def test_a_damaged_file_is_refused_and_can_be_reset(
    damage: str, view: DuckDBView, tmp_path: Path
) -> None:
    """It is moved aside as evidence; the view begins anew."""
    take(view, read([metadata("a", document("a"))]))
    view.close()
    path = live(tmp_path)
    if damage == "garbage":
        path.write_bytes(b"x" * 100_000)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:5_000])
    else:
        with duckdb.connect(str(path)) as connection:
            connection.execute("UPDATE base.memo SET value = '0' WHERE key = 'format'")

    with pytest.raises(ViewCorrupt):
        view.standing()
    view.reset()
    assert Standing("", {}) == view.standing()
    assert (damage != "format") == path.with_name("live.duckdb.damaged").exists()


def test_a_flipped_bit_in_the_wal_is_noticed_or_harmless(tmp_path: Path, seed: int) -> None:
    """Either the file is refused, or rows and positions are those of an earlier moment."""
    chance = random.Random(seed)
    whole = tmp_path / "whole"
    killed = [sys.executable, "-m", "tests.support.view_killed", str(whole), "once"]
    subprocess.run(killed, check=True, stdout=subprocess.DEVNULL)
    outcomes = set()
    for number in range(12):
        root = tmp_path / str(number)
        shutil.copytree(whole, root)
        wal = wal_of(live(root))
        raw = bytearray(wal.read_bytes())
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        wal.write_bytes(raw)
        view = DuckDBView.in_directory(root)
        try:
            place = view.standing().positions.get(TopicPartition(Topic.CHANGELOG, 0), 0)
        except ViewCorrupt:
            outcomes.add("refused")
            view.reset()
            assert Standing("", {}) == view.standing()
            view.close()
            continue
        view.close()
        rows = query(live(root), "FROM base.changelog ORDER BY serial")
        assert list(range(1, place + 1)) == [row["serial"] for row in rows]

    assert "refused" in outcomes


def test_hostile_values_stop_nothing(view: DuckDBView, tmp_path: Path) -> None:
    """NUL, huge numbers, wrong types, quotes, a 15 MB field, deep nesting: each in its own row."""
    hostile = {
        "nul": document("nul", "1\0"),
        "huge": {**document("huge"), "last_serial": 2**70, "info": {"name": 2**64}},
        "types": {"info": {"classifiers": {"a": 1}, "requires_dist": [5, None], "yanked": "no"}},
        "quotes": document("'; DROP TABLE base.project; --"),
        "long": document("long", "1", ownership={"organization": "x" * 15_000_000}),
        "times": {**document("times"), "urls": [{"upload_time_iso_8601": "infinity"}]},
        "wide": {"info": {"requires_dist": [f"p{i}>={i}" for i in range(30_000)]}},
    }
    rows = [metadata(name, value) for name, value in hostile.items()]
    odd = slim("huge", {"1": [file("a.zip", size=2**64, digests=5, url=["x"])]}, "1")
    broken = [metadata("broken", b"{"), releases("huge", odd), releases("broken", b"\xff")]
    take(view, read([*rows, *broken, state("broken", Status.DEAD), entry("a\0", 2**62)]))
    path = published(view, tmp_path)

    names = [row["name"] for row in query(path, "SELECT name FROM projects ORDER BY name")]
    assert sorted(hostile) == names
    assert [{"version": "1\0"}] == query(path, "SELECT version FROM projects WHERE name = 'nul'")
    assert [{"n": 30_000}] == query(path, "SELECT count(*) AS n FROM dependencies")
    assert [("broken", "metadata"), ("broken", "releases")] == [
        (row["name"], row["topic"])
        for row in query(path, "FROM anomalies WHERE anomaly LIKE 'unreadable%' ORDER BY topic")
    ]
    odd_names = query(path, "SELECT DISTINCT name FROM anomalies ORDER BY name")
    assert ["broken", "huge", "times", "types"] == [row["name"] for row in odd_names]


def test_a_row_that_duckdb_refuses_does_not_take_others_along(
    view: DuckDBView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should a text ever be one that DuckDB cannot read: a note for it, rows for the rest."""
    monkeypatch.setattr(duckdb_view, "staged", spoiling("bad"))
    records = read([metadata("good", document("good")), metadata("bad", document("bad"))])
    take(view, records)
    path = published(view, tmp_path)

    assert [{"name": "good"}] == query(path, "SELECT name FROM projects")
    assert [{"name": "bad", "topic": "metadata"}] == query(
        path, "SELECT name, topic FROM anomalies"
    )
    assert positions(records) == view.standing().positions


def test_updates_do_not_make_the_file_grow_for_ever(
    view: DuckDBView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it is longer than it need be it is written anew, and nothing is lost by that."""
    monkeypatch.setattr(compaction, "COMPACT_ABOVE_BYTES", 256 * 1024)
    monkeypatch.setattr(compaction, "Child", InlineChild)
    monkeypatch.setattr(inline_child, "LOOKS", 0)
    noise = random.Random(1)
    sizes, rewound = [], 0
    path = tmp_path / "pypi.duckdb"
    for turn in range(10):
        rows = [
            metadata(f"p{i}", document(f"p{i}", str(turn), ownership=bulk(noise)))
            for i in range(300)
        ]
        records = read(rows, first=turn * 300)
        before = view.standing()
        try:
            take(view, records)
        except Rewound:
            assert view.standing().positions == before.positions  # nothing came in meanwhile
            take(view, records)
            rewound += 1
        published(view, tmp_path)
        sizes.append(path.stat().st_size)

    assert rewound > 1
    assert max(sizes) < 2 * sizes[0]
    assert [{"n": 300, "v": "9"}] == query(
        path, "SELECT count(*) AS n, min(version) AS v FROM projects"
    )
    assert 3000 == view.standing().positions[TopicPartition(Topic.METADATA, 0)]


def test_a_view_whose_memory_is_used_up_is_opened_anew(
    view: DuckDBView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is taken in by an instance that has its memory to itself; if not, nothing is."""
    take(view, read([metadata("a", document("a"))]))
    genuine, asked = Intake.take, list[object]()

    def refusing(intake: Intake, *given: Any) -> None:
        asked.append(intake)
        if len(asked) != 2:
            raise duckdb.OutOfMemoryException("Out of Memory Error: could not allocate block")
        genuine(intake, *given)

    monkeypatch.setattr(Intake, "take", refusing)
    take(view, read([metadata("b", document("b"))], first=1))
    assert asked[0] is not asked[1]
    with pytest.raises(StorageFailed, match="more memory"):
        take(view, read([metadata("c", document("c"))], first=2))
    monkeypatch.undo()
    take(view, read([metadata("d", document("d"))], first=2))
    view.close()

    rows = query(live(tmp_path), "SELECT name FROM base.project ORDER BY name")
    assert ["a", "b", "d"] == [row["name"] for row in rows]


def test_a_full_disk_loses_nothing_and_heals(tmp_path: Path) -> None:
    """Batches and publications that do not fit raise DiskFull; what is published stays readable.

    A limit on the size of files stands for the disk: the same refusal, without a file system.
    """
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.view_crowded", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "ok") == (ended.returncode, ended.stdout[:2]), ended.stderr


def test_a_kill_at_any_moment_leaves_rows_and_positions_together(tmp_path: Path, seed: int) -> None:
    """Every journal row exactly once up to the position, the last document of each project."""
    chance = random.Random(seed)
    acknowledged = 0
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.support.view_killed", str(tmp_path)],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        acknowledged = max(acknowledged, int(child.stdout.readline()))
        time.sleep(chance.random() * 0.3)
        child.send_signal(signal.SIGKILL)
        seen = child.stdout.read().split()
        child.wait()
        child.stdout.close()
        acknowledged = max([acknowledged, *map(int, seen[:-1])])
        place, _ = view_left.opened(tmp_path, acknowledged)
        path = live(tmp_path)

        assert place >= acknowledged
        assert list(range(1, place + 1)) == [
            row["serial"] for row in query(path, "FROM base.changelog ORDER BY serial")
        ]
        newest = {f"p{i % 7}": str(i) for i in range(place)}
        assert newest == {row["name"]: row["version"] for row in query(path, "FROM base.project")}
        if (tmp_path / "pypi.duckdb").exists():
            snapshot = query(tmp_path / "pypi.duckdb", "SELECT count(*) AS n FROM changelog")
            assert snapshot[0]["n"] % 100 == 0


def test_a_directory_that_may_not_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a directory should be")

    with pytest.raises(StorageFailed):
        DuckDBView.in_directory(tmp_path).standing()
