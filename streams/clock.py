"""Time as the stages see it: passed in, so that a test needs no real waiting."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Unix time that never jumps."""

    def now_ms(self) -> int:
        """Unix milliseconds."""
        ...


class SystemClock:
    """Wall time at the start, carried on by the monotonic clock.

    So a wall clock that is set, by hand or by NTP, moves no schedule.
    """

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return (time.monotonic_ns() + self._offset_ns) // 1_000_000


def unix_ms() -> int:
    """Unix milliseconds of the wall clock, for append times: it may step back."""
    return time.time_ns() // 1_000_000
