"""The clock that schedules go by."""

from __future__ import annotations

import time

import pytest

from streams.clock import SystemClock


def test_a_wall_clock_that_is_set_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day forward or back: the time told is that of the start, carried on."""
    clock = SystemClock()
    before = clock.now_ms()
    for day in (86_400, -86_400):
        wall = time.time_ns() + day * 1_000_000_000
        monkeypatch.setattr(time, "time_ns", lambda wall=wall: wall)
        assert 0 <= clock.now_ms() - before < 3_600_000


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="no clock of time since boot")
def test_a_suspend_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of time since boot goes on in it, the monotonic one stands still."""
    clock = SystemClock()
    before = clock.now_ms()
    real = time.clock_gettime_ns
    hour = 3600 * 1_000_000_000

    def resumed(clock_id: int) -> int:
        return real(clock_id) + hour * (clock_id == time.CLOCK_BOOTTIME)

    monkeypatch.setattr(time, "clock_gettime_ns", resumed)

    assert 0 <= clock.now_ms() - before - 3_600_000 < 3_600_000
