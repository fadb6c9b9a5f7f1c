"""Seeded schedules of the whole core in virtual time: no fault leaves anything wrong behind.

`make test` plays 200 from the run's seed, `make simulate` as many as PYPISTREAM_TEST_SCHEDULES
says (10 000). The seed of a schedule that fails is in its message; replay it with
`PYPISTREAM_SEED=<that seed> PYPISTREAM_TEST_SCHEDULES=1`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
import structlog

from tests.support.simulation import Simulation

SCHEDULES = int(os.environ.get("PYPISTREAM_TEST_SCHEDULES", "200"))
PER_TEST = 20  # schedules of one test: about three seconds
LINES_SHOWN = 5


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The roles' own warnings are of no interest: there are thousands."""
    kept = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**kept)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(0, SCHEDULES, PER_TEST))
def test_after_all_faults_have_healed_everything_is_true(first: int, seed: int) -> None:
    """I1 to I5, I10 and I12, and the watermark is never ahead while it runs."""
    for number in range(seed + first, seed + min(first + PER_TEST, SCHEDULES)):
        outcome = Simulation(number).play()
        shown = "\n".join(dict.fromkeys(outcome.problems[:LINES_SHOWN]))
        assert not outcome.problems, f"schedule {number}:\n{shown}"


def test_the_same_seed_gives_the_same_history(seed: int) -> None:
    """Record for record, time for time: a schedule that failed can be played again."""
    first, again = Simulation(seed).play(), Simulation(seed).play()

    assert first == again
    assert Simulation(seed + 1).play().history != first.history
