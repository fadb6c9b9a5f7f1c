"""The rate that several processes keep together."""

from __future__ import annotations

import pytest

from pypistream.run.role_lines import ranges
from pypistream.run.sharing import PRODUCE_RATE, kept_for_produce, shared_rate
from streams.assignment import Everything


class Part(Everything):
    """An assignment with a share of its own."""

    def __init__(self, share: float) -> None:
        super().__init__(12)
        self._share = share

    def share(self) -> float:
        return self._share


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize("rate", [0.5, 2.0, 10.0, 20.0])
def test_all_together_keep_the_rate(processes: int, rate: float) -> None:
    """Crawlers and polls make the rate and no more, whether or not one process does both."""
    kept = kept_for_produce(rate, poll_seconds=10)
    parts = [
        shared_rate(rate, kept, Part(1 / processes), produces=False)() for _ in range(processes)
    ]
    first = shared_rate(rate, kept, Part(1 / processes), produces=True)()

    assert sum(part or 0 for part in parts) + kept == pytest.approx(rate)
    assert (first or 0) + sum(part or 0 for part in parts[1:]) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("rate", "poll", "kept"), [(20, 10, 0.1), (20, 1, 1.0), (20, 0.1, PRODUCE_RATE), (1, 1, 0.5)]
)
def test_what_is_kept_for_the_journal(rate: float, poll: float, kept: float) -> None:
    """As much as its polls need, at most one a second, and never more than half of all."""
    assert kept_for_produce(rate, poll) == pytest.approx(kept)


def test_unlimited_is_shared_without_limit() -> None:
    """Rate 0 stays 0, but whoever is no member asks for nothing."""
    assert shared_rate(0, 0, Part(0.25), produces=False)() == 0
    assert shared_rate(0, 0, Part(0.0), produces=True)() is None
    assert shared_rate(20, 1, Part(0.0), produces=True)() is None


def test_partitions_are_named_in_ranges() -> None:
    """For the line that a process writes."""
    assert ranges([]) == ""
    assert ranges([7, 3, 0, 1, 2, 5, 8, 9]) == "0-3,5,7-9"
