"""A DuckDB file is published while batches go on being committed."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from schemas.errors import DiskFull
from schemas.topics import Topic
from sinks import durable
from sinks.duckdb import copying, schema
from sinks.duckdb import view as duckdb_view
from sinks.duckdb.snapshot import wal_of
from sinks.duckdb.view import DuckDBView
from streams.log import TopicPartition
from tests.support.view_records import document, live, metadata, query, reach, read, take

NOW_MS = 1_700_000_100_000
NAMES = 2_100  # more than a row group: DuckDB writes these before their commit
CHANGED = 200
LOCK = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""


@pytest.fixture
def view(tmp_path: Path) -> Iterator[DuckDBView]:
    with_files = DuckDBView.in_directory(tmp_path)
    yield with_files
    with_files.close()


class Changes:
    """Batches that change, add and remove projects, at their next offsets."""

    def __init__(self, view: DuckDBView, seed: int) -> None:
        self.view = view
        self.at = 0
        self._chance = random.Random(seed)

    def take(self, names: list[str]) -> None:
        """Each with a document that was never there before."""
        noise = [self._chance.randbytes(100).hex() for _ in names]
        rows = [
            metadata(name, document(name, str(self.at), ownership={"organization": text}))
            for name, text in zip(names, noise, strict=True)
        ]
        take(self.view, read(rows, first=self.at))
        self.at += len(rows)

    def some(self) -> None:
        """Of those that are there, then as many new ones as fill a row group."""
        self.take(self._chance.sample([f"p{i}" for i in range(NAMES)], CHANGED))
        if self.at < 2 * NAMES:
            self.take([f"p{self.at + i}" for i in range(NAMES)])


def rows_of(connection: duckdb.DuckDBPyConnection) -> dict[str, list[Any]]:
    """All that it holds, but for notes about publications."""
    return {
        table.name: connection.execute(f"FROM {table.path} ORDER BY ALL").fetchall()
        for table in (*schema.KEYED, schema.CHANGELOG, schema.PROGRESS)
    }


def test_a_copy_is_the_cut_it_was_begun_at_whatever_comes_in_meanwhile(
    view: DuckDBView, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two pieces batches are committed, also such as DuckDB writes to the file early.

    Row by row the snapshot is what the view held when the copy was begun.
    """
    monkeypatch.setattr(copying, "PIECE_BYTES", 512 * 1024)
    changes = Changes(view, seed)
    changes.take([f"p{i}" for i in range(NAMES)])
    reach(view, changes.at)
    copy = view.hold(NOW_MS)
    assert view._connection is not None
    before = rows_of(view._connection)
    genuine, committed = durable.sync_file, list[int]()

    def committing(file: Any) -> None:
        genuine(file)
        if len(committed) < 2:
            changes.some()
            committed.append(changes.at)

    monkeypatch.setattr(copying, "sync_file", committing)
    published = copy.copied()
    view.release()

    assert len(committed) == 2, "one piece held it all"
    assert published is not None
    assert published.bytes == (tmp_path / "pypi.duckdb").stat().st_size
    with duckdb.connect(str(tmp_path / "pypi.duckdb"), read_only=True) as connection:
        assert before == rows_of(connection)
    assert view.standing().positions[TopicPartition(Topic.METADATA, 0)] == committed[-1]
    view.close()
    [found] = query(
        live(tmp_path),
        "SELECT count(*) AS n, count(*) FILTER (version <> '0') AS changed FROM base.project",
    )
    assert found["n"] == 2 * NAMES
    assert NAMES + CHANGED <= found["changed"] <= NAMES + 2 * CHANGED


def test_a_copy_during_which_the_file_was_checkpointed_is_thrown_away(
    view: DuckDBView, tmp_path: Path
) -> None:
    """Nothing of it can be seen, and the next publication is as ever."""
    take(view, read([metadata("a", document("a"))]))
    reach(view)
    view.publish(NOW_MS)
    take(view, read([metadata("b", document("b"))], first=1))
    second = reach(view)
    copy = view.hold(NOW_MS)
    take(view, read([metadata("c", document("c"))], first=2))
    assert view._connection is not None
    view._connection.execute("CHECKPOINT")

    assert copy.copied() is None
    view.release()
    path = tmp_path / "pypi.duckdb"
    assert [{"name": "a"}] == query(path, "SELECT name FROM projects")
    assert view.published() != second
    third = reach(view)
    view.publish(NOW_MS)
    assert [{"n": 3}] == query(path, "SELECT count(*) AS n FROM projects")
    assert third == view.published()
    assert ["pypi.duckdb", "state"] == sorted(each.name for each in tmp_path.iterdir())


@pytest.mark.parametrize("ending", ["stop", "close", "reset"])
def test_a_copy_that_is_ended_publishes_nothing(
    ending: str, view: DuckDBView, tmp_path: Path
) -> None:
    """A stop, the end of the view, and a new beginning all leave what was published before."""
    take(view, read([metadata("a", document("a"))]))
    reach(view)
    copy = view.hold(NOW_MS)
    (copy.stop if ending == "stop" else getattr(view, ending))()

    assert copy.copied() is None
    view.release()
    assert ["state"] == [each.name for each in tmp_path.iterdir()]
    assert view.published() is None


def test_the_wal_of_a_copy_is_bounded(
    view: DuckDBView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that finds it too long waits for the copy, after which checkpoints happen again."""
    monkeypatch.setattr(duckdb_view, "WAL_BYTES_MAX", 0)
    monkeypatch.setattr(duckdb_view, "CHECKPOINT_AFTER", "1KB")
    take(view, read([metadata("a", document("a"))]))
    reach(view)
    copy = view.hold(NOW_MS)
    take(view, read([metadata("b", document("b"))], first=1))
    assert wal_of(live(tmp_path)).stat().st_size > 1_000
    waited = []
    monkeypatch.setattr(copy.done, "wait", lambda: waited.append(copy.copied()))
    take(view, read([metadata("c", document("c"))], first=2))
    take(view, read([metadata("d", document("d"))], first=3))  # the WAL is too long before it

    assert len(waited) == 1
    assert not wal_of(live(tmp_path)).exists()
    assert [{"name": "a"}] == query(tmp_path / "pypi.duckdb", "SELECT name FROM projects")
    view.release()


def test_another_program_is_kept_off_the_live_file_after_a_copy(
    view: DuckDBView, tmp_path: Path
) -> None:
    """Closing a descriptor of the file would let go of the lock that DuckDB has on it."""
    take(view, read([metadata("a", document("a"))]))
    reach(view)
    view.publish(NOW_MS)
    reach(view)
    view.publish(NOW_MS)
    command = [sys.executable, "-S", "-c", LOCK, str(live(tmp_path))]

    assert subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode
    view.close()
    assert not subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode


@pytest.mark.parametrize("refusal", [errno.EOPNOTSUPP, errno.EXDEV, None])
def test_a_system_that_cannot_copy_by_itself_is_served(
    refusal: int | None, view: DuckDBView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes are read and written where the kernel, or the file system, does not do it."""

    def refusing(*_: object) -> int:
        assert refusal is not None
        raise OSError(refusal, os.strerror(refusal))

    if refusal is None:
        monkeypatch.delattr(os, "copy_file_range")
    else:
        monkeypatch.setattr(os, "copy_file_range", refusing)
    take(view, read([metadata("a", document("a"))]))
    reach(view)
    view.publish(NOW_MS)

    assert [{"name": "a"}] == query(tmp_path / "pypi.duckdb", "SELECT name FROM projects")


def test_a_full_disk_ends_a_copy(
    view: DuckDBView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, what was published stays, and checkpoints happen again."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    take(view, read([metadata("a", document("a"))]))
    reach(view)
    view.publish(NOW_MS)
    with monkeypatch.context() as patched:
        patched.setattr(os, "copy_file_range", full)
        with pytest.raises(DiskFull):
            view.publish(NOW_MS)

    assert [{"name": "a"}] == query(tmp_path / "pypi.duckdb", "SELECT name FROM projects")
    assert ["pypi.duckdb", "state"] == sorted(each.name for each in tmp_path.iterdir())
    assert view._connection is not None
    [(held,)] = view._connection.execute(
        "SELECT current_setting('checkpoint_threshold')"
    ).fetchall()
    assert held == "61.0 MiB"
