"""A dump as its readers see it: verified or refused, by us and by the tools users have."""

from __future__ import annotations

import io
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
import zstandard

from schemas.errors import DumpCorrupt
from schemas.records import BackfillProgress, Cut
from schemas.topics import Topic
from sinks.dump import sink
from sinks.dump.frame_store import FrameStore
from sinks.dump.reader import DumpReader
from sinks.publication import Publication
from sinks.sink import Reached, Vector
from tests.support import dump_world
from tests.support.dump_world import (
    CONFIG,
    FILES,
    NOW_MS,
    World,
    compact,
    document,
    expected,
    found,
    many_published,
    parsed,
    project,
    removed,
)

REPOLOGY_INFO = ("name", "project_url", "home_page", "author_email", "summary", "project_urls")


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> World:
    return many_published(tmp_path)


def test_the_zstd_command_and_plain_json_read_everything(world: World) -> None:
    """To the end of the last frame; a tombstone takes the line from all files but state."""
    truth = expected(world.topics)

    assert truth == found(world.dumps)
    assert 294 == len(truth["packages.jsonl.zst"]) == len(truth["pypicache.json.zst"])
    assert 301 == len(truth["state.jsonl.zst"])


def test_our_reader_reads_what_was_published(world: World) -> None:
    reader = DumpReader(world.dumps)
    reader.verify()
    truth = expected(world.topics)

    for name in FILES:
        assert truth[name] == [parsed(name, row) for row in reader.rows(name)]
        assert len(truth[name]) == reader.manifest.files[name].rows


def test_the_manifest_says_what_the_dump_is(world: World) -> None:
    manifest = json.loads((world.dumps / "manifest.json").read_bytes())

    assert manifest["exceptions"] == {
        "counts": {"absent": 1, "dead": 1, "parked": 1},
        "names": [
            {"name": "never-was", "status": "absent"},
            {"name": "p7", "status": "parked"},
            {"name": "p8", "status": "dead"},
        ],
        "omitted": 0,
    }
    assert (manifest["format"], manifest["schema"], manifest["log"]) == (1, 1, "log-1")
    assert "2027-01-15T08:00:00Z" == manifest["created"]
    assert manifest["vector"][0]["metadata"] == world.offset
    assert manifest["watermark"] is None
    for name, file in manifest["files"].items():
        done = subprocess.run(["sha256sum", world.dumps / name], capture_output=True, check=True)
        assert done.stdout.decode().split()[0] == file["sha256"]
        assert (world.dumps / name).stat().st_size == file["bytes"]
        plain = subprocess.run(
            ["zstd", "-dcq", world.dumps / name], capture_output=True, check=True
        )
        assert len(plain.stdout) == file["uncompressed_bytes"]


@pytest.mark.parametrize(
    ("cut", "watermark", "backfill"),
    [
        (Cut(1, 1, 1, 1, 1, base=0, serial=77), 77, None),
        (Cut(1, 1, 1, 1, 1, base=5, serial=77), None, None),
        (
            Cut(1, 1, 1, 1, 1, base=5, serial=77, backfill=BackfillProgress("r", 10, 4)),
            None,
            {"done": 4, "names": 10},
        ),
    ],
)
def test_the_manifest_claims_what_the_cuts_claim(
    tmp_path: Path, cut: Cut, watermark: int | None, backfill: dict[str, int] | None
) -> None:
    world = World(tmp_path)
    world.apply(project("a"))
    world.sink.reached(Reached(Vector("log-1", (cut,)), CONFIG, None))
    published = world.sink.publish(NOW_MS)
    manifest = json.loads(published.path.read_bytes())

    assert watermark == published.watermark == manifest["watermark"]
    assert backfill == manifest["backfill"]
    assert world.sink.published() == Vector("log-1", (cut,))


def test_frames_are_small_checked_and_the_array_opens_in_a_frame_of_documents(
    world: World,
) -> None:
    """A one-shot reader stops after the first frame: it must not be a frame of `[` alone."""
    raw = (world.dumps / "pypicache.json.zst").read_bytes()
    one_shot = zstandard.ZstdDecompressor().decompress(raw)
    with zstandard.ZstdDecompressor().stream_reader(
        io.BytesIO(raw), read_across_frames=True
    ) as stream:
        everything = stream.read()

    assert one_shot.startswith(b'[\n{"info":')
    assert len(one_shot) > 1_000
    assert everything.startswith(one_shot)
    assert everything.endswith(b"}\n]\n")
    assert zstandard.get_frame_parameters(raw).has_checksum


def test_the_layout_is_the_peers_byte_for_byte(world: World) -> None:
    """`[`, newline, documents joined by a comma and a newline, newline, `]`, newline."""
    done = subprocess.run(
        ["zstd", "-dcq", world.dumps / "pypicache.json.zst"], capture_output=True, check=True
    )
    documents = [value for _, value in sorted(world.topics[Topic.METADATA].items())]

    assert b"[\n" + b",\n".join(documents) + b"\n]\n" == done.stdout


def test_duckdb_reads_all_files(world: World) -> None:
    """All frames of them, with `read_json` and `read_csv` and nothing else."""
    with duckdb.connect() as connection:
        for name, truth in expected(world.topics).items():
            read = "read_csv" if ".csv" in name else "read_json"
            count = f"SELECT count(*) FROM {read}('{world.dumps / name}')"
            assert [(len(truth),)] == connection.execute(count).fetchall()


def test_repology_finds_every_key_it_indexes(tmp_path: Path) -> None:
    """Read as its parser does: a missing key is a KeyError there, null is none."""
    world = World(tmp_path)
    bare = {"info": {"name": "Bare"}, "releases": {"1": [{}], "2": []}}
    world.apply([(Topic.METADATA, "bare", compact(bare)), (Topic.METADATA, "odd", b'{"info":1}')])
    world.apply(project("full"))
    world.publish()
    seen = []
    for line in dump_world.cli_lines(world.dumps / "pypicache.json.zst")[1:-1]:
        parsed = json.loads(line.removesuffix(","))
        name, *others = (parsed["info"][key] for key in REPOLOGY_INFO)
        files = [file for files in parsed["releases"].values() for file in files]
        seen.append((name, len(others), [(file["yanked"], file["url"] is None) for file in files]))

    assert [("Bare", 5, [(False, True)]), ("full", 5, [(False, False)])] == seen
    assert 3 == DumpReader(world.dumps).manifest.files["packages.jsonl.zst"].rows


def test_an_empty_dump_is_whole_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.apply([])
    world.publish()
    DumpReader(world.dumps).verify()

    assert {name: [] for name in FILES} == found(world.dumps)


def test_a_reader_keeps_its_version_while_a_new_one_is_published(world: World) -> None:
    reader = DumpReader(world.dumps)
    rows = reader.rows("packages.jsonl.zst")
    first = next(rows)
    world.apply(project("p1", "newer"))
    world.publish()

    reader.verify()
    assert 294 == len([first, *rows])
    for _ in range(2):
        world.publish()
    with pytest.raises(DumpCorrupt, match="No such file"):
        reader.verify()


def test_only_what_changed_is_rewritten(world: World) -> None:
    """An unchanged table keeps its very file; a change elsewhere in the array keeps its frames."""
    before = {name: (world.dumps / name).stat().st_ino for name in FILES}
    world.apply([(Topic.METADATA, "p1", document("p1", "newer"))])
    world.publish()
    after = {name: (world.dumps / name).stat().st_ino for name in FILES}
    changed = {name for name in FILES if before[name] != after[name]}

    assert {"packages.jsonl.zst", "pypicache.json.zst", "latest.csv.zst"} == changed
    assert expected(world.topics) == found(world.dumps)


def test_the_array_opens_once_whatever_becomes_of_its_first_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame that is kept loses or gains the opening when names come or go before it."""
    monkeypatch.setattr(sink, "TABLES", [replace(each, section_names=8) for each in sink.TABLES])
    names = [f"n{i:02}" for i in range(40)]
    world = World(tmp_path)
    world.apply([change for name in names for change in project(name)])
    world.publish()
    first = [change for name in names[:10] for change in removed(name)]
    for changes in (project("a"), removed("a"), first, project(names[0]), project("n41")):
        world.apply(changes)
        world.publish()
        DumpReader(world.dumps).verify()
        assert expected(world.topics) == found(world.dumps)

        fresh = World(tmp_path / f"fresh-{world.offset}")
        fresh.apply([(t, n, v) for t, rows in world.topics.items() for n, v in rows.items()])
        fresh.publish()
        assert fresh.files() == world.files()


def test_plain_names_that_were_deleted_come_back(world: World) -> None:
    (world.dumps / "pypicache.json.zst").unlink()
    (world.dumps / "manifest.json").unlink()
    world.publish()

    assert expected(world.topics) == found(world.dumps)
    DumpReader(world.dumps).verify()


def test_a_disk_without_hard_links_gets_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    world = World(tmp_path)
    for salt in "ab":
        world.apply(project("p1", salt))
        world.publish()
        DumpReader(world.dumps).verify()

        assert expected(world.topics) == found(world.dumps)


def test_versions_do_not_pile_up(world: World) -> None:
    for salt in "abcde":
        world.apply(project("p1", salt))
        world.publish()

    assert 2 == len(list((world.dumps / ".versions").iterdir()))
    Publication(world.dumps)
    assert 2 == len(list((world.dumps / ".versions").iterdir()))


def test_a_document_over_a_frame_is_cut_into_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outlier of 22 MB among small ones, here a hundredth of it with frames to match."""
    monkeypatch.setattr("schemas.compression.FRAME_BYTES_TARGET", 64 * 1024)
    world = World(tmp_path)
    world.apply([change for i in range(40) for change in project(f"p{i}")])
    world.apply(project("outlier", "a", 300_000))
    world.publish()
    assert expected(world.topics) == found(world.dumps)
    DumpReader(world.dumps).verify()

    world.apply(removed("p0"))
    world.apply(project("outlier", "b", 400_000))
    world.publish()
    assert expected(world.topics) == found(world.dumps)
    DumpReader(world.dumps).verify()


def test_a_state_of_the_store_before_its_first_merge_has_no_files(tmp_path: Path) -> None:
    store = FrameStore(tmp_path, ())

    assert {} == store.files()
    assert b"null" == store.note
    store.close()
    store.close()
