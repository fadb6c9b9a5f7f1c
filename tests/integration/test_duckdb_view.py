"""The DuckDB sink on a real file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from schemas.records import Status
from sinks.duckdb.view import DuckDBView
from sinks.sink import Reached, Standing
from tests.support.new_view import new_view
from tests.support.view_records import (
    CONFIG,
    NOW_MS,
    document,
    entry,
    file,
    gone,
    live,
    metadata,
    positions,
    published,
    query,
    reach,
    read,
    releases,
    slim,
    state,
    take,
)


@pytest.fixture
def view(tmp_path: Path) -> Iterator[DuckDBView]:
    with_files = new_view(tmp_path)
    yield with_files
    with_files.close()


def test_every_view_of_the_snapshot_answers(view: DuckDBView, tmp_path: Path) -> None:
    """One project with everything, one that is gone, one that is owed."""
    whole = document("Foo.Bar", "2.0")
    whole["info"] |= {"classifiers": ["Topic :: X"], "requires_dist": ["x>=1; extra == 'd'"]}
    whole["info"]["project_urls"] = {"Home": "https://example.org"}
    whole["ownership"] = {"organization": None, "roles": [{"role": "Owner", "user": "u"}]}
    whole["vulnerabilities"] = [{"id": "PYSEC-1", "withdrawn": "2024-01-01T00:00:00Z"}]
    wheel = file("foo_bar-2.0-cp311-abi3-manylinux_2_17_x86_64.whl")
    both = {"1.0rc1": [file("foo_bar-1.0rc1.zip")], "2.0": [file("foo_bar-2.0.tar.gz"), wheel]}
    records = read(
        [
            entry("foo-bar", 5),
            metadata("foo-bar", whole, anomalies="odd"),
            releases("foo-bar", slim("foo-bar", both, "2.0")),
            state("foo-bar"),
            gone("dead"),
            state("dead", Status.ABSENT, attempts=2, gone=11),
            state("late", Status.PARKED, reason="stale", next_ms=NOW_MS, body=0),
        ]
    )
    take(view, records)
    path = published(view, tmp_path)

    assert [("foo-bar", "Foo.Bar", "2.0", 2, 3, 300)] == [
        tuple(row[k] for k in ("name", "display_name", "version"))
        + tuple(row[k] for k in ("release_count", "file_count", "bytes"))
        for row in query(path, "FROM projects")
    ]
    assert [("1.0rc1", 1, True, False), ("2.0", 2, False, True)] == [
        (row["version"], row["ordinal"], row["is_prerelease"], row["is_latest"])
        for row in query(path, "FROM releases ORDER BY ordinal")
    ]
    found = query(path, "FROM files WHERE packagetype = 'bdist_wheel'")
    assert [(wheel["url"], "cp311", "abi3", "manylinux_2_17_x86_64")] == [
        (row["url"], row["python_tag"], row["abi_tag"], row["platform_tag"]) for row in found
    ]
    assert [("x", ">=1", "d")] == [
        (row["dependency"], row["specifier"], row["extra"])
        for row in query(path, "FROM dependencies")
    ]
    assert [("foo-bar", "Topic :: X")] == [
        (row["name"], row["classifier"]) for row in query(path, "FROM classifiers")
    ]
    assert [("Home", "https://example.org")] == [
        (row["label"], row["url"]) for row in query(path, "FROM project_urls")
    ]
    assert [("PYSEC-1", 2024)] == [
        (row["id"], row["withdrawn"].year) for row in query(path, "FROM vulnerabilities")
    ]
    assert [("Owner", "u")] == [(row["role"], row["user"]) for row in query(path, "FROM roles")]
    assert [(5, "new release")] == [
        (row["serial"], row["action"]) for row in query(path, "FROM changelog")
    ]
    assert [("dead", "removed", 11)] == [
        (row["name"], row["reason"], row["serial"]) for row in query(path, "FROM removed")
    ]
    assert [("foo-bar", "metadata", "odd")] == [
        tuple(row.values()) for row in query(path, "FROM anomalies")
    ]
    assert [("late", "parked", "stale", 9, 0)] == [
        tuple(row[k] for k in ("name", "status", "reason", "event_serial", "serial"))
        for row in query(path, "FROM exceptions")
    ]
    assert [(50, 99, 49, 1, 1)] == [
        tuple(row[k] for k in ("watermark", "head_serial", "lag", "projects", "exceptions"))
        for row in query(path, "FROM progress")
    ]
    assert [{"n": "a-b"}] == query(path, "SELECT norm('A._b') AS n")


def test_every_column_of_the_snapshot_has_a_comment(view: DuckDBView, tmp_path: Path) -> None:
    take(view, [])
    path = published(view, tmp_path)
    columns = query(
        path,
        "SELECT table_name, column_name, comment FROM duckdb_columns()"
        " WHERE schema_name = 'main' AND NOT internal",
    )

    assert len(columns) > 100
    assert [] == [row for row in columns if not row["comment"]]


def test_a_batch_is_applied_once(view: DuckDBView, tmp_path: Path) -> None:
    """Records below the stored position are skipped: journal rows are not doubled."""
    records = read([entry("a", 5), entry("a", 6), metadata("a", document("a"))])
    take(view, records[:1])
    take(view, records)
    take(view, records)
    view.close()

    assert [5, 6] == [
        row["serial"] for row in query(live(tmp_path), "FROM base.changelog ORDER BY serial")
    ]


def test_positions_and_log_id_survive_a_restart(view: DuckDBView, tmp_path: Path) -> None:
    assert Standing("", {}) == view.standing()
    records = read([entry("a", 5), metadata("a", document("a"))])
    take(view, records)
    view.close()

    assert Standing("log-1", positions(records), rules=0) == view.standing()


def test_what_is_published_is_known_while_it_is_there(view: DuckDBView, tmp_path: Path) -> None:
    assert view.published() is None
    take(view, read([metadata("a", document("a"))]))
    vector = reach(view)
    outcome = view.publish(NOW_MS)

    assert (vector, 50) == (view.published(), outcome.watermark)
    assert outcome.bytes == (tmp_path / "pypi.duckdb").stat().st_size
    (tmp_path / "pypi.duckdb").unlink()
    assert view.published() is None


def test_nothing_is_published_between_two_cuts(view: DuckDBView) -> None:
    """Half of a worker's transaction may be in the tables then."""
    take(view, read([metadata("a", document("a"))]))
    reach(view)
    take(view, read([metadata("b", document("b"))], first=1))

    with pytest.raises(AssertionError, match="between two cuts"):
        view.publish(NOW_MS)


def test_a_cut_the_view_does_not_stand_at_is_refused(view: DuckDBView) -> None:
    take(view, read([metadata("a", document("a"))]))
    vector = reach(view)
    take(view, read([metadata("b", document("b"))], first=1))

    with pytest.raises(AssertionError):
        view.reached(Reached(vector, CONFIG, None))


def test_readers_keep_the_file_they_have_open(view: DuckDBView, tmp_path: Path) -> None:
    """A publication is a rename: who reads the old file reads on, who opens gets the new one."""
    take(view, read([metadata("a", document("a"))]))
    path = published(view, tmp_path)
    with duckdb.connect(str(path), read_only=True) as old:
        take(view, read([metadata("b", document("b"))], first=1))
        published(view, tmp_path)

        assert [(1,)] == old.execute("SELECT count(*) FROM projects").fetchall()
    assert [{"n": 2}] == query(path, "SELECT count(*) AS n FROM projects")
    assert ["pypi.duckdb", "state"] == sorted(path.name for path in tmp_path.iterdir())
