"""How several crawler processes share one rate. Pure."""

from __future__ import annotations

from collections.abc import Callable

from streams.assignment import Assignment

PRODUCE_RATE = 1.0  # requests per second of a `produce`: polls come no faster


def kept_for_produce(rate: float, poll_seconds: float) -> float:
    """Requests per second that crawlers leave for the journal's polls: at most half the rate."""
    return min(1.0 / poll_seconds, PRODUCE_RATE, rate / 2)


def shared_rate(
    rate: float, kept: float, assignment: Assignment, *, produces: bool
) -> Callable[[], float | None]:
    """This process's share now, in requests per second; 0 = unlimited, None = none at all.

    `produces`: this process also polls the journal, within the same rate.
    """

    def now() -> float | None:
        share = assignment.share()
        if share <= 0:
            return None
        return (rate - kept) * share + (kept if produces else 0.0) if rate else 0.0

    return now
