"""Seeded schedules of the whole core in virtual time: no fault leaves anything wrong behind.

`make test` plays some from the run's seed, `make simulate SEEDS=n` as many as one likes. The seed
of a schedule that fails is in its message; replay it with `PYPISTREAM_SEED=<that seed> make
simulate SEEDS=1`, which also makes it shorter and keeps it in tests/data/schedules.jsonl.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.support import sim_check, sim_schedule, simulate
from tests.support.sim_history import History
from tests.support.sim_schedule import EVENTS_MAX, EVENTS_MIN, FAULTS_MAX, Schedule
from tests.support.simulation import played

pytestmark = pytest.mark.usefixtures("quiet")

SCHEDULES = int(os.environ.get("PYPISTREAM_TEST_SCHEDULES", "200"))
PER_TEST = 20  # schedules of one test: about four seconds
REACHED_MIN = 6  # kills, lost answers and stalls in so many schedules
LINES_SHOWN = 5
SCHEDULE = 7  # any seed whose run is short


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, SCHEDULES, PER_TEST))
def test_after_all_faults_have_healed_everything_is_true(first: int, seed: int) -> None:
    """The twelve invariants, but for memory (I11), hold in schedules drawn from the run's seed."""
    reached: Counter[str] = Counter()
    numbers = range(seed + first, seed + min(first + PER_TEST, SCHEDULES))
    for number in numbers:
        outcome = played(number)
        shown = "\n".join(dict.fromkeys(outcome.problems[:LINES_SHOWN]))
        assert not outcome.problems, f"schedule {number}:\n{shown}"
        for line in outcome.history.of("reached"):
            reached[line["what"]] += line["count"]
    if len(numbers) == PER_TEST:  # four times as many are usual
        assert reached.total() >= REACHED_MIN, f"hardly a fault found anything: {reached}"


@pytest.mark.parametrize("schedule", simulate.corpus(), ids=str)
def test_what_once_failed_holds(schedule: Schedule) -> None:
    """Every schedule that found something wrong is played again, in its shortest form."""
    assert simulate.problems_of(schedule) == []


def test_the_same_seed_gives_the_same_history(seed: int) -> None:
    """Record for record, time for time: a schedule that failed can be played again."""
    first, again = played(seed), played(seed)

    assert first.history.lines == again.history.lines
    assert first.digest == again.digest
    assert played(seed + 1).digest != first.digest


def test_a_recorded_history_is_checked_without_the_program(tmp_path: Path) -> None:
    """From its file the checker says the same, and it sees what is changed in that file."""
    outcome = played(SCHEDULE)
    outcome.history.save(tmp_path / "history")
    loaded = History.load(tmp_path / "history")

    assert loaded.digest() == outcome.digest
    assert sim_check.main(tmp_path / "history") == 0
    rows = [line for line in loaded.lines if line["kind"] == "record"]
    lost = next(line for line in rows if line["topic"] == "changelog" and line["key"])
    loaded.lines.remove(lost)
    loaded.save(tmp_path / "history")
    assert sim_check.main(tmp_path / "history") == 1


def test_schedules_are_as_long_as_they_are_said_to_be(seed: int) -> None:
    """20 to 200 events and 1 to 6 faults; all kinds of faults come within some hundred seeds."""
    drawn = [sim_schedule.drawn(number) for number in range(seed, seed + 300)]

    assert all(EVENTS_MIN <= len(each.events) <= EVENTS_MAX for each in drawn)
    assert {len(each.faults) for each in drawn} == set(range(1, FAULTS_MAX + 1))
    kinds = {fault.kind for each in drawn for fault in each.faults}
    assert kinds == {kind for kind, _ in sim_schedule.FAULTS}


def test_a_failing_schedule_is_made_shorter() -> None:
    """Of many events and faults those are left without which it does not fail; a line keeps it."""
    whole = sim_schedule.drawn(11)
    event, fault = whole.events[17], whole.faults[-1]

    short = sim_schedule.shrunk(
        whole, lambda candidate: event in candidate.events and fault in candidate.faults
    )

    assert short.faults == (fault,)
    assert event in short.events
    assert len(short.events) <= len(whole.events) // 4
    assert sim_schedule.read(str(short)) == short
    assert sim_schedule.read(str(whole)) == whole
