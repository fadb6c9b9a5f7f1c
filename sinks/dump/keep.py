"""How long deltas and older dumps are kept: the defaults of the `--keep-…` options."""

from __future__ import annotations

from typing import NamedTuple

KEEP_DELTAS_SECONDS = 604_800.0  # a week: the longest absence of a follower
KEEP_HOURLY_SECONDS = 172_800.0  # two days: to look into what went wrong yesterday
KEEP_DAILY_SECONDS = 1_209_600.0  # two weeks


class Keep(NamedTuple):
    """For how many seconds deltas, and each hour's and day's first dump, are kept; 0 = none."""

    deltas: float = KEEP_DELTAS_SECONDS
    hourly: float = KEEP_HOURLY_SECONDS
    daily: float = KEEP_DAILY_SECONDS
