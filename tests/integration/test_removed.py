"""What the DuckDB file keeps of projects that are gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from schemas.records import Config, Status
from schemas.topics import Topic
from sinks.duckdb.view import DuckDBView
from sinks.removed import ALL, HASHES, NONE
from sinks.sink import Batch
from streams.log import Outgoing
from tests.support.new_view import new_view
from tests.support.view_records import (
    CONFIG,
    document,
    file,
    gone,
    metadata,
    positions,
    query,
    reach,
    read,
    releases,
    slim,
    state,
    take,
)

FILES = {"1.0": [file("foo-1.0.tar.gz")], "2.0": [file("foo-2.0.tar.gz", size=7)]}
THERE = [
    metadata("foo", document("foo", "2.0")),
    releases("foo", slim("foo", FILES, "2.0")),
    state("foo"),
]
TOMBSTONES = [gone("foo"), gone("foo", topic=Topic.RELEASES)]
ABSENT = state("foo", Status.ABSENT, attempts=2, gone=11)
GONE = [*TOMBSTONES, ABSENT]
KEPT = (True, "2.0", ["foo-1.0.tar.gz", "foo-2.0.tar.gz"], ["5" * 64] * 2)
UNKNOWN = (False, None, None, None)


class View:
    """A sink whose every step is published."""

    def __init__(self, folder: Path, keep: str = HASHES) -> None:
        self.view = new_view(folder, keep)
        self.path = folder / "pypi.duckdb"
        self._offset = 0

    def take(self, *records: Outgoing, config: Config = CONFIG) -> None:
        """Take the records in, and publish."""
        take(self.view, read(records, self._offset), config)
        self._offset += 10
        reach(self.view, config=config)
        self.view.publish(1)

    def removed(self) -> list[Any]:
        """What is said of projects that are gone, but for when and why."""
        rows = query(self.path, "FROM removed")
        return [tuple(row[k] for k in ("held", "version", "filenames", "sha256")) for row in rows]


@pytest.fixture
def view(tmp_path: Path) -> Iterator[View]:
    made = View(tmp_path)
    yield made
    made.view.close()


def test_a_project_that_is_gone_leaves_what_was_held_last(view: View) -> None:
    """Version, file names, hashes; of the files also one row each."""
    view.take(*THERE)
    assert [] == view.removed()
    view.take(*GONE)

    assert [KEPT] == view.removed()
    [row] = query(view.path, "FROM removed")
    assert ("removed", 11, 7) == (row["reason"], row["serial"], row["last_serial"])
    assert (row["author"], row["summary"]) == (None, None)
    assert [("1.0", "foo-1.0.tar.gz", None, None), ("2.0", "foo-2.0.tar.gz", None, None)] == [
        (row["version"], row["filename"], row["size"], row["url"])
        for row in query(view.path, "FROM removed_files ORDER BY filename")
    ]
    assert [] == query(view.path, "FROM files")


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_the_order_of_tombstones_does_not_matter(view: View, *, turned: bool, apart: bool) -> None:
    """Nor whether they come in the batch of what they remove, or twice."""
    tombstones = [*TOMBSTONES[:: -1 if turned else 1], *TOMBSTONES]
    steps = [[*THERE], *([each] for each in tombstones), [ABSENT]]
    if not apart:
        steps = [[record for step in steps for record in step]]
    for step in steps:
        view.take(*step)

    assert [KEPT] == view.removed()


def test_a_project_that_is_back_is_not_gone(view: View) -> None:
    """And when it goes again, the last rows are those of the second time."""
    view.take(*THERE)
    view.take(*GONE, *THERE)
    assert [] == view.removed()
    again = {"3.0": [file("foo-3.0.tar.gz")]}
    view.take(metadata("foo", document("foo", "3.0")), releases("foo", slim("foo", again, "3.0")))
    view.take(*GONE)

    assert [(True, "3.0", ["foo-3.0.tar.gz"], ["5" * 64])] == view.removed()


def test_without_the_topic_releases_the_files_of_the_document_are_kept(view: View) -> None:
    latest = Config("log-1", 1, 1, releases="latest")
    view.take(THERE[0], THERE[2], config=latest)
    view.take(gone("foo"), ABSENT, config=latest)

    assert [(True, "2.0", ["foo-2.0.tar.gz"], ["5" * 64])] == view.removed()


def test_what_was_never_held_is_said_to_be_unknown(view: View) -> None:
    view.take(*GONE)
    assert [UNKNOWN] == view.removed()


def test_a_setting_that_keeps_less_lets_go_of_the_rest(tmp_path: Path) -> None:
    """All, then hashes, then none; and none is kept where none is to be."""
    view = View(tmp_path, ALL)
    view.take(*THERE)
    view.take(*GONE)
    assert [KEPT] == view.removed()
    assert ["a summary"] == [row["summary"] for row in query(view.path, "FROM removed")]
    found = query(view.path, "SELECT size, url FROM removed_files ORDER BY filename")
    assert [(each["size"], each["url"]) for each in (FILES["1.0"][0], FILES["2.0"][0])] == [
        (row["size"], row["url"]) for row in found
    ]
    for keep, expected in ((HASHES, KEPT), (NONE, UNKNOWN)):
        view.view.close()
        view.view = DuckDBView.in_directory(tmp_path, keep)
        reach(view.view)
        view.view.publish(1)
        assert [expected] == view.removed()
        assert [None] == [row["summary"] for row in query(view.path, "FROM removed")]
    view.take(*THERE)
    view.take(*GONE)
    assert [UNKNOWN] == view.removed()
    view.view.close()


def test_a_view_built_anew_takes_over_what_was_published(view: View) -> None:
    """The log has only tombstones by then."""
    view.take(*THERE)
    view.take(*GONE)
    view.view.reset()
    view.take(*GONE)

    assert [KEPT] == view.removed()


def test_a_file_that_had_lists_is_taken_over_too(view: View) -> None:
    """Until format 10 the texts of files were lists."""
    nameless = releases("foo", slim("foo", {**FILES, "2.0": [file("", digests={})]}, "2.0"))
    view.take(THERE[0], nameless, ABSENT)
    view.take(*GONE)
    before = view.removed()
    view.view.reset()
    with duckdb.connect(str(view.path)) as connection:
        lists = ", ".join(
            f"[nullif(each, '') FOR each IN string_split({column}, chr(31))] AS {column}"
            for column in ("version", "filename", "sha256")
        )
        table = "base.removed_releases_of"
        connection.execute(f"CREATE TABLE lists AS SELECT * REPLACE ({lists}) FROM {table}")
        connection.execute(f"DROP TABLE {table}")
        connection.execute(f"CREATE TABLE {table} AS FROM lists")
    view.take(*GONE)

    assert [(True, "2.0", ["foo-1.0.tar.gz", ""], ["5" * 64, ""])] == before == view.removed()


def test_what_went_while_a_view_was_away_is_taken_from_what_it_had_published(view: View) -> None:
    """Then the published file holds the project itself, and the log nothing but that it is gone."""
    view.take(*THERE, metadata("bar", document("bar")), state("bar"))
    view.view.reset()
    view.take(ABSENT, metadata("bar", document("bar")), state("bar"))

    assert [KEPT] == view.removed()


def test_after_a_redaction_only_names_and_hashes_are_taken_over(tmp_path: Path) -> None:
    """A field that is left out from now on may stand in the published file."""
    view = View(tmp_path, ALL)
    view.take(*THERE)
    view.take(*GONE)
    view.view.reset()
    records = read(GONE)
    view.view.apply(Batch(CONFIG, records, positions(records), rules=1))
    reach(view.view)
    view.view.publish(1)
    view.view.close()

    assert [KEPT] == view.removed()
    assert [None] == [row["summary"] for row in query(view.path, "FROM removed")]


@pytest.mark.parametrize("lost", ["no file", "damaged", "another log", "an older format"])
def test_without_a_published_file_of_this_log_nothing_is_made_up(view: View, lost: str) -> None:
    """The view is built all the same, and says that it does not know."""
    config = CONFIG
    view.take(*THERE)
    view.take(*GONE)
    view.view.reset()
    if lost == "no file":
        view.path.unlink()
    elif lost == "damaged":
        view.path.write_bytes(view.path.read_bytes()[:8192] + b"x" * 8192)
    elif lost == "another log":
        config = Config("log-2", 1, 1)
    else:
        _older(view.path)
    view.take(*GONE, config=config)

    assert [UNKNOWN] == view.removed()


def _older(path: Path) -> None:
    """As a version before this one made it."""
    with duckdb.connect(str(path)) as connection:
        for view in ("removed", "removed_files"):
            connection.execute(f"DROP VIEW {view}")
        for table in ("removed_project", "removed_releases_of"):
            connection.execute(f"DROP TABLE base.{table}")
