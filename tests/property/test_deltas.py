"""Dump + deltas = next dump, whatever changed, was flushed, restarted or read twice between."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from schemas.manifest import Delta
from schemas.topics import Topic
from sinks.dump import delta_file, frame_store, runs
from sinks.dump import sink as dump
from sinks.dump.delta_file import LINGER_MS, DeltaFile, Mark, Step, retained
from sinks.dump.keep import Keep
from tests.support import deltas
from tests.support.dump_world import NOW_MS, Change, World, compact, document

NAMES = sorted(f"n{i}" for i in range(12))
_name = st.sampled_from(NAMES)
_state = st.sampled_from(["ok", "parked", "absent"]).map(
    lambda status: compact({"status": status, "event": 1, "name": "N.1"})
)
_change: st.SearchStrategy[Change] = st.one_of(
    st.tuples(
        st.just(Topic.METADATA),
        _name,
        st.none() | st.builds(document, _name, st.sampled_from("ab")),
    ),
    st.tuples(st.just(Topic.RELEASES), _name, st.none() | st.just(b'{"releases":{}}')),
    st.tuples(st.just(Topic.STATE), _name, st.none() | _state),
)
_steps = st.lists(
    st.tuples(st.lists(_change, max_size=8), st.sampled_from(["", "publish", "restart"])),
    max_size=12,
)


@given(_steps, st.integers(0, 3_000), st.integers(1, 4_000))
def test_every_dump_and_the_deltas_after_it_give_the_last_one(
    steps: list[tuple[list[Change], str]], buffer_bytes: int, frame_bytes: int
) -> None:
    """From each dump on that was ever published, the deltas lead to what the last dump holds."""
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(dump, "BUFFER_BYTES_MAX", buffer_bytes),
        patch.object(frame_store, "RUNS_PER_TIER_MAX", 2),
        patch.object(runs, "RUN_CHUNK_BYTES", 300),
        patch.object(delta_file, "FRAME_BYTES", frame_bytes),
        patch("os.fsync"),  # durability is not the subject, and it takes most of the time
    ):
        world = World(Path(folder))
        history: list[Change] = []
        published = []
        for changes, then in [*steps, ([], "publish")]:
            world.apply(changes)
            history += changes
            if then == "publish":
                world.publish()
                manifest = json.loads((world.dumps / "manifest.json").read_bytes())
                published.append((manifest["vector"], deltas.dump_tables(world.dumps)))
            elif then == "restart":
                _restart(world, history)
        last = published[-1][1]
        for vector, tables in published:
            deltas.led_on(world.dumps, tables, vector)
            assert last == tables
        world.sink.close()


def _restart(world: World, history: list[Change]) -> None:
    """Start again, and read on from where the sink says it stands, as the feed does."""
    world.reopen()
    positions = world.sink.standing().positions
    begin = min(positions.values(), default=0)
    world.offset = begin
    world.apply(history[begin:])


@given(
    st.lists(st.tuples(st.integers(0, 50), st.sampled_from("ab"), st.integers(0, 60)), max_size=12),
    st.integers(50, 120),
    st.integers(0, 40),
)
def test_what_is_kept_of_the_deltas(made: list[tuple[int, str, int]], now: int, keep: int) -> None:
    """Young ones of the present log are named; what was named goes an hour later, not before."""
    unit = LINGER_MS // 10
    files = tuple(_delta(*each, number=i, unit=unit) for i, each in enumerate(sorted(made)))
    step = Step(Mark("a", ()), None, 0, 0, now * unit, keep * unit)
    kept = retained(files, step)

    named = [each.file for each in kept if not each.left_ms]
    due = [
        each.file
        for each in files
        if each.log == "a" and not each.left_ms and now * unit - each.created_ms <= keep * unit
    ]
    assert due == named
    gone = {each.file for each in files} - {each.file for each in kept}
    for each in files:
        if each.file in gone:
            assert each.left_ms
            assert now * unit - each.left_ms > LINGER_MS
    assert kept == retained(kept, step)


def _delta(created: int, log: str, left: int, *, number: int, unit: int) -> DeltaFile:
    entry = Delta(f"{number}.jsonl.zst", 1, "", 0, 0, "", start=(), end=(), watermark=None)
    return DeltaFile(f"{number}.delta", log, created * unit, entry, left * unit)


def test_deltas_go_when_their_time_is_over(tmp_path: Path) -> None:
    """A week later the manifest names the young ones alone; the files of the old stay an hour."""
    world = World(tmp_path)
    week = 7 * 86_400_000
    for day, salt in enumerate("abcd"):
        world.apply([(Topic.METADATA, "x", document("x", salt))])
        world.publish(NOW_MS + day * 86_400_000)
    first = [each["file"] for each in deltas.manifest_of(world.dumps)["deltas"]]
    assert 3 == len(first)  # no delta leads to the first dump

    world.apply([(Topic.METADATA, "x", None)])
    world.publish(NOW_MS + week + 2 * 86_400_000 + 1)
    named = [each["file"] for each in deltas.manifest_of(world.dumps)["deltas"]]
    assert first[2:] == named[:-1]
    present = {path.name for path in (world.dumps / "deltas").iterdir()} - {"manifest.json"}
    assert {*first, *named} == present

    world.apply([(Topic.METADATA, "x", document("x", "e"))])
    world.publish(NOW_MS + week + 2 * 86_400_000 + 2 + LINGER_MS)
    named = [each["file"] for each in deltas.manifest_of(world.dumps)["deltas"]]
    present = {path.name for path in (world.dumps / "deltas").iterdir()} - {"manifest.json"}
    assert set(named) == present
    assert first[0] not in present


def test_without_deltas_none_are_made(tmp_path: Path) -> None:
    """`deltas` 0: the manifest is there and empty."""
    world = World(tmp_path)
    world.sink = dump.DumpSink(world.dumps, world.frames, Keep(deltas=0))
    for salt in "ab":
        world.apply([(Topic.METADATA, "x", document("x", salt))])
        world.publish()
    assert [] == deltas.manifest_of(world.dumps)["deltas"]
    assert ["manifest.json"] == [path.name for path in (world.dumps / "deltas").iterdir()]


def test_a_rebuild_leaves_a_gap_that_shows(tmp_path: Path) -> None:
    """A dump made from nothing cannot say what went: no delta claims to lead to it."""
    world = World(tmp_path)
    for salt in "ab":
        world.apply([(Topic.METADATA, "x", document("x", salt))])
        world.publish()
    before = deltas.manifest_of(world.dumps)["deltas"]
    world.sink.reset()
    world.apply([(Topic.METADATA, "y", document("y"))])
    world.publish()
    world.apply([(Topic.METADATA, "y", None)])
    world.publish()
    after = deltas.manifest_of(world.dumps)["deltas"]
    assert before == after[:1]
    assert 2 == len(after)
    assert after[0]["to"] != after[1]["from"]


def test_more_changes_than_the_dump_has_rows_are_no_delta(tmp_path: Path) -> None:
    """A backfill: its delta would be a second dump. The next small step has one again."""
    world = World(tmp_path)
    made = []
    with patch.object(frame_store, "FEW_CHANGES", 2):
        for names in ("a", "bcd", "ef", "a"):
            world.apply([(Topic.METADATA, name, document(name, names)) for name in names])
            world.publish()
            made.append(len(deltas.manifest_of(world.dumps)["deltas"]))
    assert [0, 0, 1, 2] == made
