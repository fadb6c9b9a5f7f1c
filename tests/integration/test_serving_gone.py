"""What the serving view remembers of files that were taken away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from schemas.names import NormalizedName
from schemas.topics import Topic
from sinks.removed import ALL, HASHES, NONE
from sinks.serving.reader import ServingLibrary
from sinks.serving.view import ServingView
from tests.support.view_records import document, gone, metadata, reach, read, releases, slim, take

FOO = NormalizedName("foo")


class View:
    """A view whose every step is published at once."""

    def __init__(self, folder: Path, keep: str = HASHES) -> None:
        self.view = ServingView(folder, keep_removed=keep)
        self.library = ServingLibrary(folder, self.view.suspect)
        self._offset = 0

    def take(self, *records: Any) -> list[tuple[str, str]]:
        """Take the records in; version and name of each file that is gone then."""
        take(self.view, read(list(records), self._offset))
        self._offset += 10
        reach(self.view, self._offset)
        self.view.publish(1)
        self.library.renew()
        return [(each.version, each.file.filename) for each in self.library.gone_files(FOO)]


@pytest.fixture
def view(tmp_path: Path) -> Iterator[View]:
    made = View(tmp_path)
    yield made
    made.library.close()
    made.view.close()


def files(*versions: str) -> Any:
    given = {
        version: [{"filename": f"foo-{version}.tar.gz", "digests": {"sha256": version * 9}}]
        for version in versions
    }
    return releases("foo", slim("foo", given, versions[-1] if versions else ""))


def test_a_release_that_was_removed_leaves_its_files(view: View) -> None:
    """With their hashes; one that is there again is not gone."""
    assert [] == view.take(metadata("foo", document("foo")), files("1.0", "2.0", "3.0"))
    assert [("1.0", "foo-1.0.tar.gz"), ("2.0", "foo-2.0.tar.gz")] == view.take(files("3.0"))
    assert {"sha256": "1.0" * 9} == view.library.gone_files(FOO)[0].file.digests
    assert [("2.0", "foo-2.0.tar.gz")] == view.take(files("1.0", "3.0"))


@pytest.mark.parametrize("first", [Topic.METADATA, Topic.RELEASES])
def test_a_project_that_was_removed_leaves_them_all(view: View, first: Topic) -> None:
    """Whichever tombstone comes first, and also if they come twice."""
    view.take(metadata("foo", document("foo")), files("1.0", "2.0"))
    tombstones = [gone("foo", topic=Topic.METADATA), gone("foo", topic=Topic.RELEASES)]
    if first is Topic.RELEASES:
        tombstones.reverse()
    left = view.take(*tombstones)
    again = view.take(*tombstones)

    assert [("1.0", "foo-1.0.tar.gz"), ("2.0", "foo-2.0.tar.gz")] == left == again
    assert view.library.releases(FOO) is None
    assert [] == view.take(metadata("foo", document("foo")), files("1.0", "2.0"))


def test_what_is_no_releases_value_leaves_nothing(view: View) -> None:
    """Any process may write to some topics: nothing of it ends the sink."""
    view.take(metadata("foo", document("foo")), releases("foo", b"nonsense"))
    assert [] == view.take(files("1.0"))
    assert [("1.0", "foo-1.0.tar.gz")] == view.take(releases("foo", b"[[[[ also"))


def test_what_is_kept_is_a_setting(tmp_path: Path) -> None:
    """All, then hashes, then nothing: what was kept before is cut down, too."""
    view = View(tmp_path, ALL)
    file = {"filename": "foo-1.0.zip", "digests": {"sha256": "1"}, "size": 7, "url": "https://x"}
    view.take(releases("foo", slim("foo", {"1.0": [file]}, "1.0")))
    view.take(files())
    assert [7] == [each.file.size for each in view.library.gone_files(FOO)]

    for keep, left in ((HASHES, [("1.0", "foo-1.0.zip")]), (NONE, [])):
        view.view.close()
        view.view = ServingView(tmp_path, keep_removed=keep)
        assert left == view.take()
        for each in view.library.gone_files(FOO):
            assert ({"sha256": "1"}, "https://x") == (each.file.digests, each.file.url)
            assert each.file.size is UNSET
    view.take(releases("foo", slim("foo", {"1.0": [file]}, "1.0")))
    assert [] == view.take(files())
    view.library.close()
    view.view.close()
