"""`pypistream backfill` on the embedded log, and a `sink` of its own there."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from producers.difference import Gone, Plan
from pypistream.data_dir import DataDir
from pypistream.jobs.asking import Owed, summary
from tests.support.process import Program, answered, command, started, status
from tests.support.standin import Running, standin
from upstream.source import ProjectSerial

PROJECTS = 40
SECONDS_MAX = 120.0


@pytest.fixture
def site() -> Iterator[Running]:
    """Upstream, where nothing changes."""
    with standin(projects=PROJECTS, changes_per_second=0) as running:
        yield running


@pytest.fixture
def followed(site: Running, tmp_path: Path) -> Iterator[Program]:
    """A `run` without a backfill, which has founded its log in `d`."""
    flags = ("--data", "d", "--upstream", site.url, "--rate", "0", "--poll", "1")
    with started("run", *flags, cwd=tmp_path) as program:
        program.until(lambda: "following from serial" in program.text(), SECONDS_MAX, "log")
        yield program


def test_two_at_once_beside_a_run_fill_its_log(
    site: Running, followed: Program, tmp_path: Path
) -> None:
    """The running worker serves the asks; the watermark then speaks for every project."""
    assert status(tmp_path / "d")["watermark"] is None
    with started("backfill", "--data", "d", cwd=tmp_path, name="other") as other:
        mine = command("backfill", "--data", "d", cwd=tmp_path)
        assert other.wait() == 0, other.text()
    names = len(site.served_names())
    followed.until(
        lambda: (now := status(tmp_path / "d"))["watermark"] and now["names"]["ok"] == names,
        SECONDS_MAX,
        "watermark",
    )
    again = command("backfill", "--data", "d", cwd=tmp_path)

    assert mine.returncode == 0, mine.stderr
    assert f"{PROJECTS} projects, " in mine.stderr
    assert "asked for 0 projects" in again.stdout
    assert "the log has them all" in again.stderr
    assert followed.stop() == 0


@pytest.mark.parametrize(("answer", "asked"), [(b"n\n", False), (b"y\n", True)])
def test_on_a_terminal_it_asks_first(
    followed: Program, tmp_path: Path, answer: bytes, asked: bool
) -> None:
    """What it takes is shown before; a no leaves the log as it is."""
    code, shown = answered(
        "backfill", "--data", "d", question="Ask for them?", answer=answer, cwd=tmp_path
    )
    found = status(tmp_path / "d")

    assert code == 0
    assert f"{PROJECTS} to ask for" in shown
    assert sum(at["refetch_end"] for at in found["positions"]) == (PROJECTS + 2 if asked else 0)
    assert followed.alive


def test_without_a_log_it_says_how_to_start(site: Running, tmp_path: Path) -> None:
    """Nothing would serve the asks."""
    ended = command("backfill", "--data", "d", "--upstream", site.url, cwd=tmp_path)

    assert ended.returncode == 2
    assert "Next:  start with `pypistream run" in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("asks", "rate", "says"),
    [
        (0, 10.0, "3 projects, 0 to ask for; the log has them all"),
        (3, 0.0, "3 to ask for; as fast as upstream answers"),
        (3, 0.01, "3 to ask for; at 0.01 fetches per second this takes 5 min 0 s"),
    ],
)
def test_what_it_takes_is_said(asks: int, rate: float, says: str) -> None:
    """Names, asks, and how long they take at the rate."""
    owed = Owed(1_234, [Plan([ProjectSerial("a", 1)] * asks, 2, 0), Plan([], 1, 1)])

    assert summary(owed, rate).startswith("index of serial 1,234: ")
    assert says in summary(owed, rate)


def test_what_is_only_looked_at_is_said_apart() -> None:
    """A project that the index lacks need not be gone."""
    owed = Owed(9, [Plan([ProjectSerial("a", 1), Gone("b", 2)], 1, 0)])

    assert "2 to ask for, 1 of them to see whether they are gone" in summary(owed, 1.0)


def test_a_sink_of_a_directory_runs_once(followed: Program, tmp_path: Path) -> None:
    """A `run` holds the role: a second sink says so and ends; after the `run` it is free."""
    published = DataDir(tmp_path / "d").snapshot  # by sinks that have their roles: they start last
    followed.until(published.exists, SECONDS_MAX, "snapshot")
    ended = command("sink", "duckdb", "--data", "d", cwd=tmp_path)
    code = followed.stop(signal.SIGTERM)
    with started("sink", "duckdb", "--data", "d", cwd=tmp_path, name="sink") as sink:
        sink.until(lambda: "sink duckdb: log" in sink.text(), SECONDS_MAX, "start")
        stopped = sink.stop(signal.SIGTERM, 10)

    assert (ended.returncode, "holds the role 'sink-duckdb'" in ended.stderr) == (1, True)
    assert (code, stopped) == (0, 0), sink.text()
