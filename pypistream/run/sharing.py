"""The rate that several crawler processes keep together. Pure."""

from __future__ import annotations

from collections.abc import Callable

from streams.assignment import Assignment

PRODUCE_RATE = 1.0  # requests per second of a `produce` on its own: polls come no faster


def kept_for_produce(rate: float, poll_seconds: float) -> float:
    """What crawlers leave of the rate for the journal's polls: never more than half."""
    return min(1.0 / poll_seconds, PRODUCE_RATE, rate / 2)


def shared_rate(
    rate: float, kept: float, assignment: Assignment, *, produces: bool
) -> Callable[[], float | None]:
    """This process's part at any moment: requests per second, 0 = unlimited, None = none at all.

    `produces`: the journal is polled by this process, too, out of the same rate.
    """

    def now() -> float | None:
        share = assignment.share()
        if share <= 0:
            return None
        return (rate - kept) * share + (kept if produces else 0.0) if rate else 0.0

    return now
