"""Changes that wait in runs until they are merged, and what is known of them by then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from zlib import crc32

import pytest

from schemas.compression import compress, read_frames
from schemas.errors import DumpCorrupt
from sinks.dump import frame_store, frames, lines, sink
from sinks.dump.runs import Run, read_run, write_run
from tests.support.dump_world import Change, World, project, removed


def filled(root: Path) -> World:
    """A sink with two runs, of projects that came, changed and went."""
    world = World(root)
    world.apply([change for i in range(60) for change in project(f"p{i}")])
    world.reopen()
    world.apply([change for i in range(0, 60, 7) for change in project(f"p{i}", "later")])
    world.apply([change for i in range(0, 60, 20) for change in removed(f"p{i}")])
    world.reopen()
    return world


def texts(root: Path) -> list[bytes]:
    """What the runs of packages hold."""
    found = []
    for path in root.rglob("*-metadata.run"):
        with path.open("rb") as file:
            found.append(b"".join(read_frames(file)))
    assert len(found) == 2
    return found


def test_a_dump_out_of_runs_looks_into_no_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each was looked into when it came in, and the runs say what was found."""
    expected = filled(tmp_path / "a")
    expected.publish()
    world = filled(tmp_path / "b")

    def none(*_: object) -> None:
        pytest.fail("a document is looked into again")

    monkeypatch.setattr(lines, "document_of", none)
    world.publish()

    assert expected.files() == world.files()


def test_runs_of_a_version_without_notes_are_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is taken over as it is, and the files are the same."""
    expected = filled(tmp_path / "a")
    assert all(b"\1" in text for text in texts(tmp_path / "a"))
    expected.publish()
    with monkeypatch.context() as before:
        before.setattr(frame_store, "FORMAT", frame_store.FORMAT_WITHOUT_NOTES)
        tables = [replace(table, held=lambda line: line) for table in sink.TABLES]
        before.setattr(sink, "TABLES", tables)
        world = filled(tmp_path / "b")
        assert not any(b"\1" in text for text in texts(tmp_path / "b"))
    world.reopen()
    world.publish()

    assert expected.files() == world.files()


@pytest.mark.parametrize("changes", [[], project("p7", "again")])
def test_files_with_the_borders_of_an_older_version_are_made_anew(
    changes: list[Change], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, whatever changed: the bytes depend on the projects alone."""
    monkeypatch.setattr(sink, "TABLES", [replace(each, section_names=8) for each in sink.TABLES])
    expected = filled(tmp_path / "a")
    expected.apply(changes)
    expected.publish()
    with monkeypatch.context() as before:
        before.setattr(frames, "is_border", lambda name, _, mean: crc32(name.encode()) % mean == 0)
        before.setattr(frame_store, "FORMAT", frame_store.FORMAT_BY_HASH_ALONE)
        before.setattr(frame_store, "BORDERS", 1)
        world = filled(tmp_path / "b")
        world.publish()
    assert expected.files() != world.files()
    world.reopen()
    world.apply(changes)
    world.publish()

    assert expected.files() == world.files()


def test_a_run_that_ends_within_a_line_is_told(tmp_path: Path) -> None:
    """Each frame has whole lines, notes with theirs."""
    for text in (b'{"name":"a"', b"\1a,1,2\n", b"\1a,1,2", b"\2a,1,2\n{}\n"):
        (tmp_path / "1.run").write_bytes(compress(text, 1))
        with pytest.raises(DumpCorrupt, match="within a line"):
            list(read_run(tmp_path, Run("1.run", 0, 1)))


def test_a_run_of_fewer_changes_than_were_written_is_told(tmp_path: Path) -> None:
    """It was cut at the end of a frame."""
    run = write_run(tmp_path / "1.run", [("a", None), ("b", b'{"name":"b","x":1}\n')], 0)
    assert [[("a", None), ("b", b'{"name":"b","x":1}\n')]] == list(read_run(tmp_path, run))

    with pytest.raises(DumpCorrupt, match="2 rows, not 3"):
        list(read_run(tmp_path, Run(run.file, 0, 3)))
