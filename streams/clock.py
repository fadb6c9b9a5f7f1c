"""Time as the stages see it: passed in, so that a test needs no real waiting."""

from __future__ import annotations

import time
from typing import Protocol

# Linux's monotonic clock stands still in a suspend: hours later all times would be hours old.
_STEADY: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Unix time that never jumps."""

    def now_ms(self) -> int:
        """Unix milliseconds."""
        ...


class SystemClock:
    """Wall time at the start, carried on by a clock that is never set.

    So a wall clock that is set, by hand or by NTP, moves no schedule.
    """

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - steady_ns()

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return (steady_ns() + self._offset_ns) // 1_000_000


def steady_ns() -> int:
    """Nanoseconds of a clock that is never set; where there is one, it goes on in a suspend."""
    return time.clock_gettime_ns(_STEADY)


def unix_ms() -> int:
    """Unix milliseconds of the wall clock, for append times: it may step back."""
    return time.time_ns() // 1_000_000
