"""Kills and a full disk at every point of a publication; damage of what is stored."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import pytest

from schemas.compression import decompress
from schemas.errors import (
    DataDirectoryInUse,
    DataDirectoryVersion,
    DiskFull,
    DumpCorrupt,
    StorageFailed,
)
from schemas.topics import Topic
from sinks.dump import frame_store
from sinks.dump import sink as dump
from sinks.dump.reader import DumpReader
from sinks.dump.sink import DumpSink
from sinks.sink import Standing
from tests.support import deltas, dump_killed
from tests.support.dump_world import FILES, World, expected, found, project, removed
from tests.support.faulty_disk import Disk, no_space

ROOT = Path(__file__).parents[2]


@pytest.fixture(name="template")
def _template(tmp_path: Path) -> Path:
    """A data directory with one dump published."""
    world = World(tmp_path / "template")
    dump_killed.first(world)
    world.publish()
    world.sink.close()
    return world.root


def _second_dump(folder: Path) -> tuple[dict[str, bytes], World]:
    """The files that the second dump must have, made without any fault."""
    world = World(folder)
    dump_killed.first(world)
    dump_killed.second(world)
    world.publish()
    return world.files(), world


@pytest.mark.timeout(600)  # every point is a run of its own, with all its syncs
def test_a_kill_at_any_point_leaves_the_old_dump_or_the_new_one(
    template: Path, tmp_path: Path
) -> None:
    """Every write, sync, link and rename of a publication, one after the other, is the last one."""
    folder = tmp_path / "killed"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.support.dump_killed", str(template), str(folder)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    points = int(done.stdout)
    old = {name: (template / "dumps" / name).read_bytes() for name in FILES}
    new, _ = _second_dump(tmp_path / "faultless")
    seen = set()
    for point in range(1, points + 1):
        root = folder / str(point)
        reader = DumpReader(root / "dumps")
        reader.verify()
        held = {name: (reader.directory / name).read_bytes() for name in FILES}
        assert held in (old, new)
        seen.add("new" if held == new else "old")
        if held == new:  # the manifest came last: the plain names are of its dump already
            assert new == {name: (root / "dumps" / name).read_bytes() for name in FILES}

        # Restarted, it mends the plain names before anything else, then goes on to the same end.
        world = World(root)
        standing = world.sink.standing()
        assert held == world.files()
        for path in (root / "dumps").iterdir():
            assert not path.name.startswith(".tmp-")
        _read_on(world, standing)
        world.publish()
        assert new == world.files()
        DumpReader(world.dumps).verify()
        _assert_led_on(template, world)
        world.sink.close()
        shutil.rmtree(root)

    assert {"old", "new"} == seen
    assert points > 60


def _read_on(world: World, standing: Standing) -> None:
    """Feed again what the sink has not kept: everything, the part it missed, or nothing."""
    done = set(standing.positions.values())
    assert done <= {180, 300, 315}
    if 180 in done:
        world.offset = 180
        dump_killed.second(world)
    elif 300 in done:
        replayed = World(world.root / "unused")
        replayed.offset = 300
        replayed.sink = world.sink
        replayed.apply([c for i in range(5) for c in removed(f"p{i}")])
    world.offset = 315


@pytest.mark.timeout(600)  # every point is a run of its own, with all its syncs
def test_a_full_disk_at_any_point_leaves_the_old_dump_and_the_next_attempt_works(
    template: Path, tmp_path: Path
) -> None:
    """However far a publication came, DiskFull touches nothing, and the same calls do later."""
    new, _ = _second_dump(tmp_path / "faultless")
    old = {name: (template / "dumps" / name).read_bytes() for name in FILES}
    left = 0
    for point in range(1, dump_killed.POINTS_MAX):
        world = World(shutil.copytree(template, tmp_path / f"full-{point}", copy_function=os.link))
        world.sink.standing()
        world.offset = 180
        disk = Disk(point, no_space)
        with patch.object(dump, "BUFFER_BYTES_MAX", 1_000), disk.watched():
            failed = _attempt(world)
        named = _named_by_index(world.frames)
        present = {path.name for path in world.frames.iterdir()}
        assert named <= present
        left += named < present
        if not failed:
            break
        assert failed.startswith("no space left for ")
        reader = DumpReader(world.dumps)
        reader.verify()
        held = {name: (reader.directory / name).read_bytes() for name in FILES}
        assert held in (old, new)

        world.offset = 180
        dump_killed.second(world)
        world.publish()
        assert new == world.files()
        _assert_led_on(template, world)
        world.sink.close()
    else:
        pytest.fail("the publication never came to its end")
    assert point > 60
    # The sync after a new index failed: the files of the one before it are needed still.
    assert left <= 2


def _assert_led_on(template: Path, world: World) -> None:
    """The deltas lead from the first dump to the present one, whatever came between."""
    first = json.loads((template / "dumps" / "manifest.json").read_bytes())["vector"]
    tables = deltas.dump_tables(template / "dumps")
    assert deltas.led_on(world.dumps, tables, first) >= 1
    assert deltas.dump_tables(world.dumps) == tables


def _named_by_index(frames: Path) -> set[str]:
    index = json.loads(decompress((frames / "index.zst").read_bytes()))
    named = {"index.zst", "lock"}
    for table in index["tables"].values():
        named.update(run["file"] for run in table["runs"])
        named.update(file[key] for file in table["base"] for key in ("file", "directory"))
    named.update(delta["file"] for delta in index["deltas"])
    return named


def _attempt(world: World) -> str:
    try:
        dump_killed.second(world)
        world.publish()
    except DiskFull as error:
        return str(error)
    return ""


LIVES = 12
DUMPS_SEEN = 5

WRITER = """
import sys, random
from pathlib import Path
from sinks.dump import sink as dump
from tests.support.dump_world import World, project, removed
seed, root = int(sys.argv[1]), Path(sys.argv[2])
draw = random.Random(seed)
dump.BUFFER_BYTES_MAX = 20_000
world = World(root)
standing = world.sink.standing()
world.offset = max(standing.positions.values(), default=0)
print("ready", flush=True)
while True:
    for _ in range(3):
        names = [f"p{draw.randrange(400)}" for _ in range(20)]
        gone = [change for name in names[:4] for change in removed(name)]
        new = [c for name in names[4:] for c in project(name, str(draw.random()), 500)]
        world.apply(gone + new)
    world.publish()
"""


@pytest.mark.timeout(600)  # a dozen processes are started
def test_a_reader_beside_a_writer_that_is_killed_again_and_again_sees_whole_dumps(
    tmp_path: Path, seed: int
) -> None:
    """At random moments; the plain names are whole files of some dump at every look."""
    draw = random.Random(seed)
    offsets, looks, lives = [0], 0, 0
    # On a busy machine many lives end before their first publication: then there are more of them.
    while lives < LIVES or len(set(offsets)) <= DUMPS_SEEN:
        lives += 1
        command = [sys.executable, "-c", WRITER, str(draw.randrange(2**32)), str(tmp_path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert b"ready\n" == writer.stdout.readline()
            until = time.monotonic() + draw.uniform(0.02, 0.4)
            while time.monotonic() < until:
                looks += _look(tmp_path / "dumps", offsets)
            writer.send_signal(signal.SIGKILL)
        looks += _look(tmp_path / "dumps", offsets)

    assert looks > 20


def _look(dumps: Path, offsets: list[int]) -> int:
    """Verify what is published now; the cut never falls. Says whether there was anything."""
    for attempt in range(3):
        try:
            reader = DumpReader(dumps)
        except DumpCorrupt:
            assert offsets == [0], "a manifest was there before"
            return 0
        try:
            reader.verify()
        except DumpCorrupt:
            # Two publications since the manifest was read: the version has gone.
            assert attempt < 2
            assert not reader.directory.exists()
            continue
        cut = reader.manifest.vector[0]
        assert cut is not None
        assert cut.metadata >= offsets[-1]
        offsets.append(cut.metadata)
        return 1
    return 0


def test_a_flipped_bit_in_a_kept_frame_is_noticed_not_published(template: Path, seed: int) -> None:
    """Copied as it is, its sha256 would vouch for it. A reset cures it, and the old dump stays."""
    draw = random.Random(seed)
    frames = template / "state" / "frames"
    stored = next(frames.glob("*-packages.jsonl.zst"))
    content = bytearray(stored.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    stored.unlink()  # not in place: the published file is the same one
    stored.write_bytes(content)
    world = World(template)
    world.sink.standing()
    world.offset = 180
    before = world.files()
    world.apply(project("zzz"))

    with pytest.raises(DumpCorrupt, match="damaged"):
        world.publish()
    assert before == world.files()

    world.sink.reset()
    assert world.sink.standing() == Standing("", {})
    world.topics = {topic: {} for topic in world.topics}
    dump_killed.first(world)
    world.publish()
    assert expected(world.topics) == found(world.dumps)


def test_a_flipped_bit_in_a_file_without_changes_is_noticed_not_published(
    template: Path, seed: int
) -> None:
    """It is published again as it is, so it is looked at before; a reset cures it."""
    draw = random.Random(seed)
    world = World(template)
    world.sink.standing()
    world.offset = 180
    published = template / "dumps" / "releases.jsonl.zst"
    content = bytearray(published.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    stored = next((template / "state" / "frames").glob("*-releases.jsonl.zst"))
    stored.unlink()
    stored.write_bytes(content)
    state = [change for change in project("p1") if change[0] is Topic.STATE]
    world.apply(state)

    with pytest.raises(DumpCorrupt, match=r"releases.* is damaged"):
        world.publish()
    world.sink.reset()
    world.topics = {topic: {} for topic in world.topics}
    dump_killed.first(world)
    world.publish()
    world.apply(state)
    world.publish()
    assert expected(world.topics) == found(world.dumps)


@pytest.mark.parametrize("name", ["index.zst", "packages.jsonl.zst.directory", "0.run"])
def test_other_damage_is_noticed_and_a_reset_cures_it(template: Path, name: str) -> None:
    frames = template / "state" / "frames"
    world = World(template)
    world.sink.standing()
    world.offset = 180
    with patch.object(dump, "BUFFER_BYTES_MAX", 1):
        world.apply(project("zzz"))
        world.apply(project("zzzz"))
    world.sink.close()
    suffix = ".run" if name == "0.run" else name
    path = next(path for path in frames.iterdir() if path.name.endswith(suffix))
    path.write_bytes(path.read_bytes()[:-1])
    world.reopen()

    with pytest.raises(DumpCorrupt):
        _open_and_publish(world)

    world.sink.reset()
    assert world.sink.standing() == Standing("", {})
    assert (frames.parent / "frames.damaged").exists() == (name == "index.zst")


def _open_and_publish(world: World) -> None:
    world.sink.standing()
    world.publish()


def test_a_store_of_a_later_version_is_refused_with_the_command_that_mends_it(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_store, "FORMAT", frame_store.FORMAT - 1)

    with pytest.raises(DataDirectoryVersion, match="format 3, this version reads 2") as caught:
        World(template).sink.standing()
    assert "pypistream rebuild dump" == caught.value.hint


def test_two_processes_cannot_own_one_store(tmp_path: Path) -> None:
    first = World(tmp_path)
    first.sink.standing()

    with pytest.raises(DataDirectoryInUse):
        World(tmp_path).sink.standing()
    first.sink.close()
    second = World(tmp_path)
    second.sink.standing()
    second.sink.close()


def test_a_directory_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageFailed, match="cannot be written or read"):
        DumpSink(tmp_path / "dumps", tmp_path / "file" / "frames").standing()
