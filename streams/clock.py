"""The clock of append times."""

from __future__ import annotations

import time


def unix_ms() -> int:
    """Unix time in milliseconds. Order never rests on it: it may step back."""
    return time.time_ns() // 1_000_000
