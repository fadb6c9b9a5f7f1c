"""The clock that is passed to the stages, so that a test can replace it."""

from __future__ import annotations

import time
from typing import Protocol

# Linux's monotonic clock stops during a suspend: after hours all times would be hours old.
_STEADY: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Unix time that never jumps."""

    def now_ms(self) -> int:
        """Unix milliseconds."""
        ...


class SystemClock:
    """The wall time at the start, advanced by a clock that nobody can set.

    So setting the wall clock, by hand or by NTP, shifts no schedule.
    """

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - steady_ns()

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return (steady_ns() + self._offset_ns) // 1_000_000


def steady_ns() -> int:
    """Nanoseconds of a monotonic clock, one that runs during a suspend where the system has it."""
    return time.clock_gettime_ns(_STEADY)


def unix_ms() -> int:
    """Unix milliseconds of the wall clock, for append times: it may step back."""
    return time.time_ns() // 1_000_000
