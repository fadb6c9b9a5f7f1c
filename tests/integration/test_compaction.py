"""The live DuckDB file is written anew while batches go on being taken in."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from schemas.topics import Topic
from sinks.duckdb import compaction
from sinks.duckdb.compaction import overgrown
from sinks.duckdb.rewriting import mark_of
from sinks.duckdb.view import DuckDBView
from sinks.sink import Batch, Rewound
from streams.log import Outgoing, Record, TopicPartition
from tests.support.compaction_world import DEADLINE_SECONDS, NAMES, Log
from tests.support.inline_child import InlineChild
from tests.support.view_records import (
    CONFIG,
    gone,
    live,
    positions,
    query,
    read,
)


class Usage(NamedTuple):
    """Of a disk."""

    total: int
    used: int
    free: int


@pytest.fixture
def log(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """A view that has published once, of which the next publication is written anew."""
    monkeypatch.setattr(compaction, "COMPACT_ABOVE_BYTES", 0)
    monkeypatch.setattr(compaction, "COMPACT_GROWTH", 0.0)
    monkeypatch.setattr(compaction, "WAITED_GROWTH", 1_000.0)  # as so small a file may grow
    made = Log(tmp_path / "it", seed)
    made.write([f"p{i}" for i in range(NAMES)])
    made.publish()
    made.some()
    yield made
    made.view.close()


def aside(root: Path) -> list[str]:
    """What lies beside the live file and is to be gone."""
    return [path.name for path in (root / "state").iterdir() if path.name.startswith(".live")]


def test_rows_and_positions_are_those_of_a_view_never_written_anew(
    log: Log, tmp_path: Path
) -> None:
    """Whatever changes meanwhile, twice in a row; the published file only ever goes on."""
    for _ in range(2):
        log.publish()
        shown = query(log.root / "pypi.duckdb", "SELECT max(serial) AS n FROM changelog")
        inode = live(log.root).stat().st_ino
        log.settle()
        assert inode != live(log.root).stat().st_ino
        assert shown == query(log.root / "pypi.duckdb", "SELECT max(serial) AS n FROM changelog")
        assert aside(log.root) == []
        log.some()
    places = {at: len(rows) for at, rows in _by_place(log).items()}

    assert log.expected(tmp_path / "other") == log.found()
    view = DuckDBView.in_directory(log.root)
    assert places == view.standing().positions
    view.close()


def _by_place(log: Log) -> dict[TopicPartition, list[Record]]:
    found: dict[TopicPartition, list[Record]] = {}
    for record in (record for batch in log.batches for record in batch):
        found.setdefault(TopicPartition(record.topic, record.partition), []).append(record)
    return found


def test_the_stream_goes_on_while_it_is_written(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are committed, snapshots published; then it takes the place of a file gone on."""
    children: list[Held] = []

    class Held(InlineChild):
        """At work until the test says so."""

        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.go_on = False
            children.append(self)

        def ended(self) -> str | None:
            return self._why if self.go_on else None

    monkeypatch.setattr(compaction, "Child", Held)
    log.publish()
    for _ in range(3):
        log.some()
        log.publish()
    assert (1, 0) == (len(children), log.rewound)
    before = log.view.standing().positions
    vector = log.view.published()
    children[0].go_on = True
    log.some()
    with pytest.raises(Rewound):
        log.view.apply(Batch(CONFIG, log.batches[-1], positions(log.batches[-1])))
    after = log.view.standing().positions

    assert after[TopicPartition(Topic.CHANGELOG, 0)] < before[TopicPartition(Topic.CHANGELOG, 0)]
    log.catch_up()
    log.publish()
    assert log.view.published() != vector
    shown = query(log.root / "pypi.duckdb", "SELECT count(*) AS n FROM changelog")
    assert [{"n": len(_by_place(log)[TopicPartition(Topic.CHANGELOG, 0)])}] == shown


def test_a_file_as_long_as_it_need_be_is_left_alone() -> None:
    """Long by its projects, not by what updates left; and not while it is small."""
    mib = 2**20
    assert not overgrown(10 * mib, 100, 1.0, 1.25)
    assert not overgrown(120 * mib, 100, 1.0 * mib, 1.25)
    assert overgrown(126 * mib, 100, 1.0 * mib, 1.25)
    assert not overgrown(126 * mib, 110, 1.0 * mib, 1.25)


@pytest.mark.parametrize("how", ["killed", "written to", "no room", "no disk", "cut off"])
def test_an_attempt_that_fails_leaves_the_live_file_alone(
    how: str, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is begun anew later, and not before."""
    begun: list[InlineChild] = []

    class Failing(InlineChild):
        def __init__(self, source: Path, mark: str, target: Path, megabytes: int) -> None:
            if how == "no disk":
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if how == "written to":
                source.write_bytes(source.read_bytes()[:-1] + b"x")
                mark = "another"
            super().__init__(source, mark, target, 1 if how == "cut off" else megabytes)
            if how == "killed":
                self._why = "the process ended with -9"
            begun.append(self)

    with monkeypatch.context() as patched:
        patched.setattr(compaction, "Child", Failing)
        if how == "no room":
            patched.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, 0))
        log.publish()
        inode = live(log.root).stat().st_ino
        for _ in range(4):
            log.some()
            log.publish()
        assert len(begun) <= 1
        assert (0, inode) == (log.rewound, live(log.root).stat().st_ino)
        assert aside(log.root) == []
        assert log.view._connection is not None
    log.clock.seconds += compaction.AGAIN_SECONDS
    log.publish()
    log.settle()
    assert log.expected(tmp_path / "other") == log.found()


@pytest.mark.parametrize("removed", [False, True])
def test_what_took_longer_than_the_log_remembers_is_used_only_if_nothing_was_removed(
    removed: bool, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row that a removed project had last might be gone from the log."""
    monkeypatch.setattr(compaction, "Child", InlineChild)
    log.removed_share = 0.0
    log.publish()
    if removed:
        log.batches.append(_next(log, [gone("p1"), gone("p2"), gone("p3")]))
        before = log.view._compaction.removals
        log.catch_up()
        assert log.view._compaction.removals > before
    log.clock.seconds += compaction.REPLAY_SECONDS_MAX + 1
    log.some()
    for _ in range(4):
        log.some()
        log.catch_up()

    assert int(not removed) == log.rewound
    assert aside(log.root) == []


def _next(log: Log, out: list[Outgoing]) -> list[Record]:
    return [log.placed(each) for each in read(out)]


@pytest.mark.parametrize("refused", range(6))
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_at_the_switch_costs_nothing(
    refused: int, code: int, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever step it is: the sink goes on from a whole file, and reads what that lacks."""
    monkeypatch.setattr(compaction, "Child", InlineChild)
    log.publish()
    log.some()
    log.catch_up()
    steps = [0]

    def step(genuine: Any) -> Any:
        def asked(*given: Any, **named: Any) -> Any:
            steps[0] += 1
            if steps[0] == refused + 1:
                raise OSError(code, os.strerror(code))
            return genuine(*given, **named)

        return asked

    with monkeypatch.context() as patched:
        for name in ("unlink", "replace", "fsync", "stat"):
            patched.setattr(os, name, step(getattr(os, name)))
        log.view._close_file()
        done = log.view._compaction.put_in_place()
    log.catch_up()
    assert done or aside(log.root) == []
    assert log.expected(tmp_path / "other") == log.found()


def test_a_stop_ends_it_at_once_and_leaves_nothing(log: Log) -> None:
    """Whatever it has written by then."""
    log.publish()
    child = log.view._compaction._child
    assert child is not None
    begun = time.monotonic()
    log.view.close()

    assert child._process.returncode is not None
    assert time.monotonic() - begun < DEADLINE_SECONDS
    assert aside(log.root) == []


def test_a_child_ends_with_its_parent(log: Log, tmp_path: Path) -> None:
    """A killed sink leaves no process, and what that had written goes at the next start."""
    log.publish()
    log.view.close()
    snapshot = log.root / "pypi.duckdb"
    target = log.root / "state" / ".live.duckdb.new"
    code = (
        "import sys, pathlib; from sinks.duckdb.compaction import Child\n"
        "source, mark, target = sys.argv[1:]\n"
        "child = Child(pathlib.Path(source), mark, pathlib.Path(target), 96)\n"
        "print(child._process.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(snapshot), mark_of(snapshot), str(target)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while Path(f"/proc/{pid}").exists() and _state_of(pid) != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    target.touch()
    log.view = DuckDBView.in_directory(log.root)
    log.view.standing()

    assert aside(log.root) == []


def _state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_a_reset_ends_it(log: Log) -> None:
    """What a rule leaves out may stand in what it reads."""
    log.publish()
    assert aside(log.root) != []
    log.view.reset()

    assert aside(log.root) == []
    assert log.view.standing().log_id == ""


def test_a_sink_that_is_begun_for_one_publication_has_it_written_anew_too(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice too long, it is waited for, and is in its place once the sink is closed."""
    monkeypatch.setattr(compaction, "WAITED_GROWTH", 0.0)
    log.publish()
    inode = live(log.root).stat().st_ino
    standing = log.view.standing()
    log.view.close()

    assert inode != live(log.root).stat().st_ino
    assert aside(log.root) == []
    log.view = DuckDBView.in_directory(log.root)
    assert standing.positions == log.view.standing().positions
    log.some()
    assert log.expected(tmp_path / "other") == log.found()
