"""When a worker is begun anew, and when the process is given up; no second is waited for."""

from __future__ import annotations

from unittest import mock

import pytest

from pypistream.cli import invoke
from pypistream.run import apart
from pypistream.watchdog import PATIENCE_SECONDS, TRIES_MAX, Verdict, Watchdog
from schemas.errors import NoProgress, PypistreamError, UsageError, WriterFenced

STEP_MS = 5_000
PATIENCE_MS = int(PATIENCE_SECONDS * 1000)


def verdicts(dog: Watchdog, begin_ms: int, end_ms: int, commits: int, lag: int | None) -> list[int]:
    """Looks every 5 s at the same picture; when a worker was to be begun anew."""
    times = range(begin_ms, end_ms + 1, STEP_MS)
    return [at for at in times if dog.look(at, commits, lag) is not Verdict.WELL]


def test_a_worker_without_work_may_write_nothing() -> None:
    """An hour without a commit is well where nothing waits."""
    assert verdicts(Watchdog(0), 0, 3_600_000, commits=1, lag=0) == []


def test_a_worker_that_writes_is_well_however_much_waits() -> None:
    """Every look sees another transaction."""
    dog = Watchdog(0)

    seen = [dog.look(n * STEP_MS, n, 10_000) for n in range(1_000)]

    assert set(seen) == {Verdict.WELL}


def test_two_minutes_without_a_commit_are_enough_where_work_waits() -> None:
    """The stretch is counted from the first look that saw both."""
    assert verdicts(Watchdog(0), 0, PATIENCE_MS, commits=7, lag=3) == [PATIENCE_MS]


def test_the_third_time_in_a_row_ends_the_process() -> None:
    """The text says which partition, since when, and what waits; the hint what to do."""
    dog = Watchdog(5)
    seen = [dog.look(at, 7, 3) for at in range(0, TRIES_MAX * PATIENCE_MS + 1, STEP_MS)]

    assert seen.count(Verdict.STUCK) == TRIES_MAX - 1
    assert seen[-1] is Verdict.HOPELESS
    error = dog.error(3)
    assert isinstance(error, NoProgress)
    assert "partition 5: 3 records wait" in str(error)
    assert "since 1970-01-01T00:00:00Z" in str(error)
    assert error.hint


def test_one_commit_in_between_begins_the_count_anew() -> None:
    """Twice stuck, then one transaction: the third time is a first time."""
    dog = Watchdog(0)
    assert len(verdicts(dog, 0, 2 * PATIENCE_MS, commits=7, lag=3)) == 2

    later = 2 * PATIENCE_MS + STEP_MS
    assert dog.look(later, 8, 3) is Verdict.WELL
    assert dog.tries == 0
    assert verdicts(dog, later, later + 2 * PATIENCE_MS, commits=8, lag=3) == [
        later + PATIENCE_MS,
        later + 2 * PATIENCE_MS,
    ]


def test_a_log_that_does_not_answer_is_no_worker_that_stands_still() -> None:
    """What waits is unknown then: the stretch begins when it is known again."""
    dog = Watchdog(0)
    assert verdicts(dog, 0, PATIENCE_MS - STEP_MS, commits=7, lag=3) == []
    assert verdicts(dog, PATIENCE_MS, 10 * PATIENCE_MS, commits=7, lag=None) == []

    assert verdicts(dog, 10 * PATIENCE_MS, 11 * PATIENCE_MS, commits=7, lag=3) == [11 * PATIENCE_MS]


def test_an_error_that_says_why_excuses() -> None:
    """A worker that ends and is begun anew by itself needs no watchdog."""
    dog = Watchdog(0)
    for at in range(0, 10 * PATIENCE_MS, STEP_MS):
        assert dog.look(at, 7, 3) is Verdict.WELL
        if at % (PATIENCE_MS // 2) == 0:
            dog.excused()


@pytest.mark.parametrize(
    ("error", "code"),
    [(NoProgress("p"), 75), (UsageError("u"), 2), (WriterFenced("w"), 1)],
)
def test_each_end_has_its_exit_code(
    error: PypistreamError, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor tells by it whether to begin anew at once."""
    monkeypatch.setattr(apart, "process", mock.Mock(side_effect=error))

    assert invoke(["process"]) == code
