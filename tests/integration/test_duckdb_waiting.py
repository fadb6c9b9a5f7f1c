"""Small batches wait in the DuckDB file until the tables get several at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import duckdb
import pytest

from schemas.errors import ViewCorrupt
from sinks.duckdb import intake, rows
from sinks.duckdb import view as duckdb_view
from sinks.duckdb.intake import Intake
from sinks.duckdb.view import DuckDBView
from sinks.removed import ALL
from tests.support.new_view import new_view
from tests.support.view_records import (
    document,
    gone,
    live,
    metadata,
    positions,
    published,
    query,
    read,
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


def test_a_note_of_a_refused_row_goes_with_the_next_row(
    view: DuckDBView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should a text be one that DuckDB cannot read, it is found when it comes into the table."""
    genuine = rows.staged

    def spoiling(*given: object) -> object:
        batch = genuine(*given)  # type: ignore[arg-type]  # passed on as it is
        for texts in batch.keyed.values():
            texts.update({key: b"{" for key, text in texts.items() if key == "bad" and text})
        return batch

    monkeypatch.setattr(duckdb_view, "staged", spoiling)
    take(view, read([metadata("good", document("good")), metadata("bad", document("bad"))]))
    monkeypatch.undo()
    noted = 'SELECT name, topic, "offset" FROM base.unreadable'
    path = published(view, tmp_path)
    first = (projects(path), query(path, noted))
    take(view, read([metadata("bad", document("bad"))], first=2))
    path = published(view, tmp_path)

    assert (["good"], [{"name": "bad", "topic": "metadata", "offset": None}]) == first
    assert (["bad", "good"], []) == (projects(path), query(path, noted))


def test_what_waits_and_cannot_be_read_is_damage(view: DuckDBView, tmp_path: Path) -> None:
    take(view, read([metadata("a", document("a"))]))
    kill(view)
    with duckdb.connect(str(live(tmp_path))) as connection:
        connection.execute("UPDATE base.waiting SET rows = 'x'::BLOB")

    with pytest.raises(ViewCorrupt, match="waits"):
        view.standing()
    view.reset()

    assert {} == view.standing().positions
