"""The checker is tested: of twelve planted bugs, one for each invariant, it must find twelve."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import sim_schedule, simulate
from tests.support.planted_bugs import BUGS, Bug

pytestmark = pytest.mark.usefixtures("quiet")

# Where it is tried first: seeds that found it, so that a plain run takes seconds. A change of what
# a seed means may take more.
FIRST = {
    "I1": 3, "I2": 2, "I3": 3, "I4": 4, "I5": 3, "I6": 60,
    "I7": 1, "I8": 30, "I9": 3, "I10": 1, "I11": 1, "I12": 5,
}  # fmt: skip
SEEDS_MAX = 25


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: f"{bug.invariant}: {bug.what}")
def test_each_planted_bug_is_found(bug: Bug) -> None:
    """Within SEEDS_MAX schedules, by its own invariant; without it the same schedule is clean."""
    first = FIRST[bug.invariant]
    seeds = range(first, first + SEEDS_MAX * bug.step, bug.step)

    found = next((seed for seed in seeds if bug.caught_by(seed)), None)

    assert found is not None, f"{bug.what}: not seen in {len(seeds)} schedules"
    assert bug.play(found).problems == []


def test_a_failing_seed_is_told_made_shorter_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is kept fails as long as the bug is there, and only so long."""
    corpus = tmp_path / "schedules.jsonl"
    corpus.touch()
    monkeypatch.setattr(simulate, "CORPUS", corpus)
    bug = BUGS[0]

    with bug.plant():
        assert simulate.main(1, FIRST[bug.invariant], 1) == 1
        [kept] = simulate.corpus()
        assert simulate.problems_of(kept)
    lines = capsys.readouterr().out.splitlines()

    assert lines[0].startswith(f"seed {FIRST[bug.invariant]}: ")
    assert lines[-1].endswith("1 with violations")
    whole = sim_schedule.drawn(kept.seed)
    assert len(kept.events) < len(whole.events) / 2
    assert simulate.problems_of(kept) == []
    assert simulate.main(1, FIRST[bug.invariant], 1) == 0


def test_there_is_one_for_each_invariant() -> None:
    """I1 to I12, none twice."""
    assert [bug.invariant for bug in BUGS] == [f"I{number}" for number in range(1, 13)]
