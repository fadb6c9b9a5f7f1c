"""Dumps that are not taken: cut, altered, mixed, too old; and manifests that lead astray."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from schemas.errors import DumpCorrupt
from schemas.topics import Topic
from sinks.dump.reader import DumpReader
from tests.support.dump_world import (
    FILES,
    World,
    compact,
    many_published,
    project,
    removed,
)


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> World:
    return many_published(tmp_path)


@pytest.fixture(name="copy")
def _copy(world: World, tmp_path: Path) -> Path:
    """The files and the manifest as someone downloaded them, without the versions."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (*FILES, "manifest.json"):
        shutil.copyfile(world.dumps / name, copy / name)
    return copy


@pytest.mark.parametrize("kind", [Path, str])
def test_a_copy_is_read_like_the_original(kind: type[Path | str], copy: Path) -> None:
    """By its path, or by that as a text."""
    DumpReader(kind(copy)).verify()


def test_any_cut_or_flipped_bit_is_refused(copy: Path, seed: int) -> None:
    draw = random.Random(seed)
    for name in FILES:
        path = copy / name
        whole = path.read_bytes()
        for damaged in (
            whole[:-1],
            whole[: draw.randrange(len(whole))],
            b"",
            whole + whole[-20:],
            *(_flipped(whole, draw.randrange(len(whole) * 8)) for _ in range(40)),
        ):
            path.write_bytes(damaged)
            with pytest.raises(DumpCorrupt):
                DumpReader(copy).verify()
        path.write_bytes(whole)
    DumpReader(copy).verify()


def _flipped(content: bytes, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


@pytest.mark.parametrize("name", FILES)
def test_files_of_two_dumps_are_refused(world: World, copy: Path, name: str) -> None:
    """A download during which a new dump was published."""
    world.apply([*project("p1", "newer"), *removed("p2")])
    world.apply([(Topic.RELEASES, "p1", b'{"releases":{}}')])
    world.apply([(Topic.STATE, "p1", b'{"status":"dead","event":9}')])
    world.publish()
    shutil.copyfile(world.dumps / name, copy / name)

    with pytest.raises(DumpCorrupt):
        DumpReader(copy).verify()


def test_a_missing_file_is_refused(copy: Path) -> None:
    (copy / "state.jsonl.zst").unlink()

    with pytest.raises(DumpCorrupt, match="No such file"):
        DumpReader(copy).verify()
    with pytest.raises(DumpCorrupt, match=r"holds no other\.zst"):
        list(DumpReader(copy).rows("other.zst"))


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        (b"", "malformed|truncated"),
        (b"{}", "missing required field"),
        (b'{"format":2}', "format 2, this version reads 1"),
        (b"[" * 100_000, "."),
        (b" " * (16 * 1024 * 1024 + 1), "has over"),
    ],
    ids=["empty", "fields", "later", "deep", "large"],
)
def test_a_manifest_that_is_none_is_refused(copy: Path, manifest: bytes, says: str) -> None:
    (copy / "manifest.json").write_bytes(manifest)

    with pytest.raises(DumpCorrupt, match=says):
        DumpReader(copy)


def test_a_manifest_cannot_name_files_elsewhere(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_bytes())
    manifest["files"]["../state"] = manifest["files"].pop("state.jsonl.zst")
    (copy / "manifest.json").write_bytes(compact(manifest))

    with pytest.raises(DumpCorrupt, match="outside of its directory"):
        DumpReader(copy)


def test_a_manifest_cannot_lead_to_another_version(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_bytes())
    manifest["version"] = "../.."
    (copy / "manifest.json").write_bytes(compact(manifest))

    assert DumpReader(copy).directory == copy
