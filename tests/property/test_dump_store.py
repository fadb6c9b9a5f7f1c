"""Whatever the order of batches, flushes, merges and restarts: the same files, byte for byte."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from schemas.topics import Topic
from sinks.dump import frame_file, frame_store, runs
from sinks.dump import sink as dump
from sinks.dump.reader import DumpReader
from sinks.sink import Standing
from tests.support.dump_world import (
    FILES,
    JSON_FILES,
    LATEST_FILE,
    Change,
    World,
    compact,
    document,
    expected,
    parsed,
)

POOL = [f"n{i}" for i in range(30)]
# Sections of 6 to 10 lines: so few names make several, and borders come and go with them.
TABLES = tuple(replace(table, section_names=8) for table in dump.TABLES)
# A document that lacks keys, and one that the drop-in leaves out.
VALUES = [b'{"info":{"name":"x"},"releases":{"1":[{}]}}', b'{"info":null}']

_name = st.sampled_from(POOL)
_metadata = st.sampled_from(VALUES) | st.builds(document, _name, st.sampled_from("abc"))
_state = st.sampled_from(["ok", "parked", "absent"]).map(
    lambda status: compact({"status": status, "event": 1, "name": "N.1"})
)
_change: st.SearchStrategy[Change] = st.one_of(
    st.tuples(st.just(Topic.METADATA), _name, st.none() | _metadata),
    st.tuples(st.just(Topic.RELEASES), _name, st.none() | st.just(b'{"releases":{}}')),
    st.tuples(st.just(Topic.STATE), _name, st.none() | _state),
)
# A batch of changes, a word on what follows it.
_steps = st.lists(
    st.tuples(st.lists(_change, max_size=30), st.sampled_from(["", "publish", "restart"])),
    max_size=14,
)


@given(_steps, st.integers(0, 3_000))
def test_a_dump_made_bit_by_bit_equals_one_made_from_nothing(
    steps: list[tuple[list[Change], str]], buffer_bytes: int
) -> None:
    """Runs, tiers, kept frames and restarts leave no trace in the files, nor does re-reading."""
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(dump, "BUFFER_BYTES_MAX", buffer_bytes),
        patch.object(dump, "TABLES", TABLES),
        patch.object(frame_store, "RUNS_PER_TIER_MAX", 2),
        patch.object(runs, "RUN_CHUNK_BYTES", 300),
        patch.object(frame_file, "COPY_BYTES", 100 + buffer_bytes),  # one kept section, or some
        patch.object(frame_file, "SYNC_BYTES", 200),
        patch("os.fsync"),  # durability is not the subject, and it takes most of the time
    ):
        world = World(Path(folder, "a"))
        history: list[Change] = []
        for changes, then in steps:
            world.apply(changes)
            history += changes
            if then == "publish":
                world.publish()
            elif then == "restart":
                _restart(world, history)
        world.publish()
        fresh = World(Path(folder, "b"))
        fresh.apply([(t, n, v) for t, rows in world.topics.items() for n, v in rows.items()])
        fresh.publish()

        assert fresh.files() == world.files()
        manifests = [DumpReader(each.dumps).manifest for each in (world, fresh)]
        assert manifests[0].files == manifests[1].files
        assert manifests[0].exceptions == manifests[1].exceptions
        _check_rows(world)


def _restart(world: World, history: list[Change]) -> None:
    """Start again, and read on from where the sink says it stands, as the feed does."""
    world.reopen()
    standing = world.sink.standing()
    done = next(iter(standing.positions.values())) if standing.positions else 0
    assert done <= len(history)
    world.offset = done
    world.apply(history[done:])
    assert world.sink.standing() == Standing("log-1", world.positions())


def _check_rows(world: World) -> None:
    reader = DumpReader(world.dumps)
    reader.verify()
    rows = {name: list(reader.rows(name)) for name in FILES}
    oracle = expected(world.topics)
    for name in set(JSON_FILES) - {"pypicache.json.zst"}:
        assert [compact(row) for row in oracle[name]] == rows[name]
    assert oracle[LATEST_FILE] == [parsed(LATEST_FILE, row) for row in rows[LATEST_FILE]]
    left_out = sum(value == VALUES[1] for value in world.topics[Topic.METADATA].values())
    assert len(oracle["packages.jsonl.zst"]) - left_out == len(rows["pypicache.json.zst"])
