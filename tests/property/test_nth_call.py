"""One call to file, socket or database breaks, whichever it is: the run comes to the same end.

A plain run takes some of the calls, chosen by the seed; `make nth-call` takes every one.
"""

from __future__ import annotations

import contextlib
from unittest import mock

import pytest

from tests.support import every_call, nth_call, nth_view
from tests.support.every_call import problems_of, spread
from tests.support.faulty_disk import Disk
from tests.support.nth_call import Way

pytestmark = pytest.mark.usefixtures("quiet")

RUNS = {"pipeline": 18, "tables": 3, "duckdb": 3, "rewriting": 3}  # ten seconds of CPU


@pytest.mark.parametrize("part", RUNS)
def test_whichever_call_breaks_nothing_is_wrong_in_the_end(part: str, seed: int) -> None:
    """It raises (full disk, I/O error, reset, time-out), or the process is killed there."""
    for task in spread(part, seed, RUNS[part]):
        assert problems_of(task) == [], f"{task}: `make nth-call` plays all of this seed"


def test_the_last_line_is_the_result(
    seed: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the exit code says whether anything was wrong, which is told call by call."""
    task = ("pipeline", seed, 1, Way.KILLED)
    monkeypatch.setattr(every_call, "every", lambda *_: [task] * 3)

    assert every_call.main(seed, ["pipeline"], 1) == 0
    assert "3 runs (1/1) in" in capsys.readouterr().out.splitlines()[-1]

    monkeypatch.setattr(every_call, "problems_of", lambda _: ["I3 lost"])
    assert every_call.main(seed, ["pipeline"], 1) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "pipeline, call 1, KILLED: I3 lost"
    assert lines[-1].endswith("3 with violations")


def test_all_shares_together_are_the_whole_run(seed: int) -> None:
    """So that a long run can be played in pieces; a share that does not exist is refused."""
    tasks = [("pipeline", seed, n, way) for n in range(1, 11) for way in Way]
    shares = [every_call.share(tasks, f"{which}/4") for which in range(1, 5)]

    assert sum(map(len, shares)) == len(tasks)
    assert {task for each in shares for task in each} == set(tasks)
    assert every_call.share(tasks, "1/1") == tasks
    with pytest.raises(ValueError, match="5/4"):
        every_call.share(tasks, "5/4")


def test_calls_of_all_kinds_are_made_and_broken(seed: int) -> None:
    """What is counted is what the program does: hundreds of statements, and files, and sockets."""
    _, made = nth_call.broken_at(seed, 0, Way.FULL)

    assert set(made) == {"database", "file", "socket"}
    assert made["database"] > 200
    assert made["file"] > 50
    assert made["socket"] > 30


def test_files_are_counted_where_nothing_breaks(seed: int) -> None:
    """Or the last calls of the DuckDB sink would never break: a publication asks for files, too."""
    with mock.patch.object(Disk, "watched", contextlib.nullcontext):
        _, statements = nth_view.broken_at(seed)
    _, calls = nth_view.broken_at(seed)

    assert calls > statements > 100


def test_a_kill_is_seen_by_the_run(seed: int) -> None:
    """The run in which a process was killed makes other calls than the one without."""
    _, whole = nth_call.broken_at(seed, 0, Way.KILLED)
    problems, killed = nth_call.broken_at(seed, whole.total() // 2, Way.KILLED)

    assert problems == []
    assert killed != whole


def test_the_spread_reaches_from_the_first_calls_to_the_last(seed: int) -> None:
    """Each stretch of the run gives one, in every way."""
    count = every_call.calls_of("pipeline", seed)
    tasks = spread("pipeline", seed, 9)

    assert [task[2] * 9 // (count + 1) for task in tasks] == sorted(
        task[2] * 9 // (count + 1) for task in tasks
    )
    assert 1 <= tasks[0][2] <= count / 9 + 1
    assert count * 8 / 9 <= tasks[-1][2] <= count
    assert {task[3] for task in tasks} == set(Way)
