"""Small batches wait in the DuckDB file until the tables get several at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import pytest

from schemas.errors import ViewCorrupt
from sinks.duckdb import batches, intake
from sinks.duckdb import view as duckdb_view
from sinks.duckdb.intake import Intake
from sinks.duckdb.packed import Packer
from sinks.duckdb.staged import Staged, unpacked
from sinks.duckdb.view import DuckDBView
from sinks.removed import ALL, NONE
from sinks.sink import Batch
from streams.log import Record
from tests.support.new_view import new_view
from tests.support.view_records import (
    CONFIG,
    document,
    entry,
    gone,
    live,
    metadata,
    positions,
    published,
    query,
    read,
    spoiling,
    state,
    take,
)


@pytest.fixture
def view(tmp_path: Path) -> Iterator[DuckDBView]:
    with_files = new_view(tmp_path, ALL)
    yield with_files
    with_files.close()


def projects(path: Path) -> list[str]:
    return [row["name"] for row in query(path, "SELECT name FROM base.project ORDER BY name")]


def waiting(path: Path) -> int:
    [found] = query(path, "SELECT count(*) AS n FROM base.waiting")
    return int(found["n"])


def helped(view: DuckDBView, aside: Path, records: Sequence[Record]) -> None:
    """Take records in as helpers make them: most rows come in files."""
    aside.mkdir()
    packer = Packer(CONFIG, aside)
    assert packer.add(records)
    view.apply(Batch(CONFIG, [], positions(records), ready=unpacked(packer.packed())))


def kill(view: DuckDBView) -> None:
    """Close it as a kill does: what waits goes on waiting."""
    with mock.patch.object(Intake, "bring_in"):
        view.close()


def test_what_waits_survives_a_kill_with_its_position(view: DuckDBView, tmp_path: Path) -> None:
    records = read(metadata(name, document(name)) for name in "abc")
    for record in records:
        take(view, [record])
    kill(view)
    before = (waiting(live(tmp_path)), projects(live(tmp_path)))

    assert positions(records) == view.standing().positions
    view.close()

    assert (3, []) == before
    assert (0, ["a", "b", "c"]) == (waiting(live(tmp_path)), projects(live(tmp_path)))


def test_a_publication_has_all_of_it(view: DuckDBView, tmp_path: Path) -> None:
    take(view, read([metadata("a", document("a"))]))

    path = published(view, tmp_path)

    assert (0, ["a"]) == (waiting(path), projects(path))
    take(view, read([metadata("b", document("b"))], first=1))
    assert ["a", "b"] == projects(published(view, tmp_path))


@pytest.mark.parametrize(
    "limit", [("WAITING_ROWS_MAX", 2), ("WAITING_BYTES_MAX", 2_500)], ids=["rows", "bytes"]
)
def test_not_more_waits_than_it_may(
    view: DuckDBView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: tuple[str, int]
) -> None:
    """What is too much comes into the tables together with what waited."""
    monkeypatch.setattr(intake, *limit)
    found = []
    for count in range(1, 5):
        take(view, read([metadata(f"p{count}", document(f"p{count}"))], first=count - 1))
        kill(view)
        found.append((waiting(live(tmp_path)), len(projects(live(tmp_path)))))

    assert [(1, 0), (2, 0), (0, 3), (1, 3)] == found


def test_a_removed_project_is_kept_aside_wherever_its_last_row_was(
    view: DuckDBView, tmp_path: Path
) -> None:
    """In the tables, among what waits, or in the same batch."""
    take(view, read([metadata("a", document("a"))]))
    published(view, tmp_path)
    take(view, read([metadata("b", document("b", "2"))], first=1))
    take(view, read([metadata("c", document("c", "3"))], first=2))
    take(view, read([gone("a"), gone("b"), gone("c")], first=3))
    take(view, read([metadata("c", document("c", "4"))], first=6))
    path = published(view, tmp_path)

    held = query(path, "SELECT name, version FROM base.removed_project ORDER BY name")
    assert [("a", "1.0"), ("b", "2")] == [(row["name"], row["version"]) for row in held]
    assert ["c"] == projects(path)


@pytest.mark.parametrize("by_helpers", [False, True])
def test_a_note_of_a_refused_row_goes_with_the_next_row(
    view: DuckDBView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_helpers: bool
) -> None:
    """Should a text be one that DuckDB cannot read, it is found when it comes into the table."""
    monkeypatch.setattr(duckdb_view, "staged", spoiling("bad"))
    take(view, read([metadata("good", document("good")), metadata("bad", document("bad"))]))
    monkeypatch.undo()
    noted = 'SELECT name, topic, "offset" FROM base.unreadable'
    path = published(view, tmp_path)
    first = (projects(path), query(path, noted))
    again = read([metadata("bad", document("bad"))], first=2)
    if by_helpers:
        helped(view, tmp_path / "aside", again)
    else:
        take(view, again)
    path = published(view, tmp_path)

    assert (["good"], [{"name": "bad", "topic": "metadata", "offset": None}]) == first
    assert (["bad", "good"], []) == (projects(path), query(path, noted))


def test_all_that_is_refused_is_noted_or_left_out(
    view: DuckDBView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row of the journal; the last row of what is gone is no loss: it was never stored."""
    spoils = spoiling("bad")

    def spoiled(*given: object) -> Staged:
        batch = spoils(*given)
        batch.added = [(name, b"{" + text) for name, text in batch.added]
        return batch

    monkeypatch.setattr(duckdb_view, "staged", spoiled)
    take(view, read([entry("bad", 1), entry("bad", 2), metadata("bad", document("bad"))]))
    take(view, read([gone("bad"), state("bad")], first=2))
    path = published(view, tmp_path)

    noted = query(path, "SELECT topic FROM base.unreadable WHERE name = 'bad' ORDER BY ALL")
    assert ["changelog", "changelog", "metadata", "state"] == [row["topic"] for row in noted]
    assert [] == query(path, "FROM base.removed_project")


def test_rows_of_helpers_replace_those_that_wait(view: DuckDBView, tmp_path: Path) -> None:
    take(view, read([metadata("a", document("a")), metadata("b", document("b")), entry("a", 1)]))
    take(view, read([gone("b")], first=2))
    records = [metadata("a", document("a", "2")), metadata("b", document("b", "2")), entry("b", 2)]
    helped(view, tmp_path / "aside", read(records, first=3))
    path = published(view, tmp_path)

    found = query(path, "SELECT name, version FROM base.project ORDER BY name")
    assert [("a", "2"), ("b", "2")] == [(row["name"], row["version"]) for row in found]
    assert [{"n": 2}] == query(path, "SELECT count(*) AS n FROM base.changelog")
    assert [] == query(path, "FROM base.removed_project")


def test_a_batch_of_helpers_that_was_committed_is_not_taken_in_again(
    view: DuckDBView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory ran out after the commit: the file is opened again, and has the rows already."""
    genuine, calls = batches.write, []

    def late(*given: Any) -> None:
        genuine(*given)
        calls.append(given)
        if len(calls) == 1:
            raise duckdb.OutOfMemoryException("Out of Memory Error: could not allocate block")

    monkeypatch.setattr(batches, "write", late)
    helped(view, tmp_path / "aside", read([entry("a", 1), entry("b", 2)]))
    path = published(view, tmp_path)

    assert [{"n": 2}] == query(path, "SELECT count(*) AS n FROM base.changelog")
    assert len(calls) == 1


def test_less_is_kept_of_what_waits_too(view: DuckDBView, tmp_path: Path) -> None:
    take(view, read([metadata("a", document("a"))]))
    published(view, tmp_path)
    take(view, read([gone("a")], first=1))
    kill(view)
    again = DuckDBView.in_directory(tmp_path, NONE)

    assert [] == query(published(again, tmp_path), "FROM base.removed_project")
    again.close()


def test_what_waits_and_cannot_be_read_is_damage(view: DuckDBView, tmp_path: Path) -> None:
    take(view, read([metadata("a", document("a"))]))
    kill(view)
    with duckdb.connect(str(live(tmp_path))) as connection:
        connection.execute("UPDATE base.waiting SET rows = 'x'::BLOB")

    with pytest.raises(ViewCorrupt, match="waits"):
        view.standing()
    view.reset()

    assert live(tmp_path).with_name("live.duckdb.damaged").exists()
    assert {} == view.standing().positions
