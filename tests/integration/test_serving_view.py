"""The serving view on a real file: what it holds, and that it survives what a sink must."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.codec import encode
from schemas.errors import DataDirectoryInUse, DiskFull, ViewCorrupt
from schemas.names import NormalizedName
from schemas.records import ChangelogEntry, Config, Kind
from schemas.topics import Topic
from sinks.serving.reader import ServingLibrary
from sinks.serving.view import ServingView
from sinks.sink import Sink, Standing
from streams.log import Outgoing, TopicPartition
from tests.support.view_records import (
    TIME,
    document,
    entry,
    gone,
    metadata,
    reach,
    read,
    releases,
    slim,
    state,
    take,
)

NOW_MS = 1_700_000_100_000
FOO = NormalizedName("foo")


@pytest.fixture
def view(tmp_path: Path) -> Iterator[ServingView]:
    with_files = ServingView(tmp_path)
    yield with_files
    with_files.close()


@pytest.fixture
def library(tmp_path: Path, view: ServingView) -> Iterator[ServingLibrary]:
    reading = ServingLibrary(tmp_path, view.suspect)
    yield reading
    reading.close()


def publish(view: ServingView, library: ServingLibrary, serial: int = 50) -> None:
    reach(view, serial)
    view.publish(NOW_MS)
    library.renew()


def test_readers_see_cuts_only(view: ServingView, library: ServingLibrary) -> None:
    """What was applied since shows when the next cut is published, all of it at once."""
    take(view, read([metadata("foo", document("foo", "1.0"))]))
    assert library.view() is None
    publish(view, library)
    first = library.document(FOO)
    take(view, read([metadata("foo", document("foo", "2.0")), metadata("bar", document("bar"))], 1))

    assert first == library.document(FOO)
    assert library.listed(NormalizedName("bar")) is None

    publish(view, library)

    assert "2.0" == library.projects()[1].version
    assert ["bar", "foo"] == [line.name for line in library.projects()]


def test_stands_where_it_stood_when_opened_again(tmp_path: Path, view: ServingView) -> None:
    """Rows and positions are of one transaction, and survive an end without closing."""
    take(view, read([metadata("foo", document("foo"))]))
    reach(view)
    stood = view.standing()
    view.close()
    again = ServingView(tmp_path)

    assert stood == again.standing()
    assert 1 == stood.positions[TopicPartition(Topic.METADATA, 0)]

    again.close()


def test_a_file_left_at_a_cut_is_served_before_anything_is_read(
    tmp_path: Path, view: ServingView
) -> None:
    """After a restart the answers are there at once; between two cuts they are not."""
    take(view, read([metadata("foo", document("foo"))]))
    reach(view)
    view.close()
    library = ServingLibrary(tmp_path)
    library.renew()

    assert library.document(FOO) is not None

    library.close()
    again = ServingView(tmp_path)
    take(again, read([metadata("bar", document("bar"))], 1))
    again.close()
    library.renew()

    assert library.view() is None
    assert library.document(FOO) is None


def test_a_batch_that_finds_the_disk_full_leaves_nothing_and_can_be_made_again(
    view: ServingView, library: ServingLibrary
) -> None:
    """DiskFull, rows and positions as before; with room the same call succeeds."""
    take(view, read([metadata("foo", document("foo"))]))
    publish(view, library)
    before = view.standing()
    connection = view._connection
    assert connection is not None
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    rows = [metadata("bar", document("bar", notes="x" * 100_000)), state("bar")]
    with pytest.raises(DiskFull):
        take(view, read(rows, 1))

    assert before == view.standing()

    connection.execute("PRAGMA max_page_count = 1000000")
    take(view, read(rows, 1))
    publish(view, library)

    assert ["bar", "foo"] == [line.name for line in library.projects()]
    seen = library.view()
    assert seen is not None
    assert (1, 2) == (seen.names, seen.projects)


def test_a_damaged_file_is_told_and_begun_anew(
    tmp_path: Path, view: ServingView, library: ServingLibrary
) -> None:
    """Bytes that are no database: ViewCorrupt until the reset, and one copy kept as evidence."""
    take(view, read([metadata("foo", document("foo"))]))
    publish(view, library)
    view.close()
    library.close()
    (tmp_path / "serving.sqlite").write_bytes(os.urandom(100_000))
    with pytest.raises(ViewCorrupt):
        view.standing()
    view.reset()

    assert Standing("", {}) == view.standing()
    assert (tmp_path / "serving.sqlite.damaged").is_file()

    take(view, read([metadata("foo", document("foo"))]))
    publish(view, library)

    assert library.document(FOO) is not None


def test_damage_that_a_reader_finds_is_the_sinks_matter(
    view: ServingView, library: ServingLibrary
) -> None:
    """The reader says so; the sink's next call tells the feed, which resets it."""
    take(view, read([metadata("foo", document("foo")), releases("foo", slim("foo", {}, "1"))]))
    reach(view)
    assert view._connection is not None
    view._connection.execute("UPDATE releases SET packed = 1, body = x'00'")
    publish(view, library)
    with pytest.raises(ViewCorrupt):
        library.releases(FOO)
    with pytest.raises(ViewCorrupt):
        view.standing()


def test_a_reset_leaves_readers_what_they_have(view: ServingView, library: ServingLibrary) -> None:
    """Until the new file has reached a cut, the old answers hold."""
    take(view, read([metadata("foo", document("foo"))]))
    publish(view, library)
    view.reset()
    library.renew()
    take(view, read([metadata("bar", document("bar"))]))

    assert library.document(FOO) is not None

    publish(view, library)

    assert ["bar"] == [line.name for line in library.projects()]


def test_a_file_of_another_version_is_built_anew(tmp_path: Path, view: ServingView) -> None:
    """Nothing is kept of it: it is no damage."""
    view.standing()
    view.close()
    with sqlite3.connect(tmp_path / "serving.sqlite") as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(ViewCorrupt):
        view.standing()
    view.reset()

    assert Standing("", {}) == view.standing()
    assert not (tmp_path / "serving.sqlite.damaged").exists()


def test_killed_at_any_moment_rows_and_positions_agree(tmp_path: Path, seed: int) -> None:
    """And nothing that was acknowledged is lost."""
    chance, acknowledged = random.Random(seed), 0
    for _ in range(5):
        killed = [sys.executable, "-m", "tests.support.view_killed", str(tmp_path), "serving"]
        with subprocess.Popen(killed, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            acknowledged = max(acknowledged, int(child.stdout.readline()))
            time.sleep(chance.random() * 0.2)
            child.kill()
            acknowledged = max([acknowledged, *map(int, child.stdout.read().split()[:-1])])
        view = ServingView(tmp_path)
        place = view.standing().positions[TopicPartition(Topic.CHANGELOG, 0)]
        reach(view, place)
        view.close()
        library = ServingLibrary(tmp_path)
        library.renew()
        serials = [entry.serial for entry in library.recent(frozenset())]

        assert place >= acknowledged
        assert list(range(place, place - len(serials), -1)) == serials
        assert {f"p{i % 7}": str(i) for i in range(place)} == {
            line.name: line.version for line in library.projects()
        }

        library.close()


def test_one_process_owns_the_file(tmp_path: Path, view: ServingView) -> None:
    view.standing()
    second = ServingView(tmp_path)
    with pytest.raises(DataDirectoryInUse):
        second.standing()


def test_the_wal_shrinks_although_readers_never_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it has grown, readers are asked to let go for the moment of a checkpoint."""
    monkeypatch.setattr("sinks.serving.view.WAL_BYTES_KEPT", 1_000_000)
    rests: list[int] = []
    library = ServingLibrary(tmp_path / "x")

    def rest() -> None:
        rests.append(1)
        library.rest()

    with_rest = ServingView(tmp_path / "x", rest)
    sizes = []
    for number in range(40):
        rows = [metadata(f"p{number}", document(f"p{number}", notes="x" * 100_000))]
        take(with_rest, read(rows, number))
        publish(with_rest, library)
        sizes.append((tmp_path / "x" / "serving.sqlite-wal").stat().st_size)

    assert 40 == len(library.projects())
    assert rests
    assert max(sizes) < 2_500_000

    library.close()
    with_rest.close()


def test_documents_of_any_shape_are_served_as_they_are(
    view: ServingView, library: ServingLibrary
) -> None:
    """What cannot be listed is served all the same, and hurts nobody."""
    odd: list[object] = [
        {"info": {"name": "foo", "requires_dist": [1, "bar"], "classifiers": "no", "version": 3}},
        {"info": []},
        [],
        b"no JSON",
        {
            "info": {"name": "foo"},
            "ownership": {"roles": [{"user": 1}, {"user": "u", "role": "O"}]},
        },
    ]
    for place, value in enumerate(odd):
        record = metadata("foo", value)
        take(view, read([record], place))
        publish(view, library)
        shown = library.document(FOO)

        assert shown is not None
        assert record.value == shown.body

    assert ["O"] == [each.role for each in library.projects_of("u")]


def test_where_only_the_latest_is_held_releases_say_so(
    view: ServingView, library: ServingLibrary
) -> None:
    """They are those of the document; an older one has no files here."""
    config = Config("log-1", 1, 1, releases="latest")
    take(view, read([metadata("foo", document("foo", "2.0"))]), config)
    reach(view, config=config)
    view.publish(NOW_MS)
    library.renew()
    held = library.releases(FOO)

    assert held is not None
    assert "latest" == held.held
    assert ["2.0"] == list(held.slim.releases)


def test_tombstones_say_what_was_there(view: ServingView, library: ServingLibrary) -> None:
    """The display name outlives the project, and its words do not."""
    take(view, read([metadata("foo-bar", document("Foo.Bar")), entry("foo-bar", 3)]))
    take(view, read([gone("foo-bar", "quarantined")], 1))
    publish(view, library)

    assert [("foo-bar", "Foo.Bar", "quarantined", 11, TIME)] == library.removed()
    assert [] == library.search(["foo"])


def test_a_serial_is_found_by_time(view: ServingView, library: ServingLibrary) -> None:
    """Every row of that time or later lies above it; rows from long before lie below."""
    rows = [
        ChangelogEntry(serial, "foo", None, TIME + serial * 10_000, "x", Kind.CHANGE)
        for serial in range(10, 40, 3)
    ]
    out = [Outgoing(Topic.CHANGELOG, "foo", encode(row), ()) for row in rows]
    take(view, read(out))
    publish(view, library)
    for row in rows[1:]:
        found = library.serial_at(row.time)

        assert row.serial - 3 <= found < row.serial

    assert library.serial_at(rows[-1].time + 100_000) >= rows[-1].serial


def test_it_is_a_sink(view: ServingView) -> None:
    sink: Sink = view

    assert "serving" == sink.name
