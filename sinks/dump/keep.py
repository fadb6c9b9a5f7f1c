"""For how long what a dump replaces is kept: the defaults of `--keep-deltas` and its like."""

from __future__ import annotations

from typing import NamedTuple

KEEP_DELTAS_SECONDS = 604_800.0  # a week: how long a follower may be away
KEEP_HOURLY_SECONDS = 172_800.0  # two days: what went wrong yesterday can be looked at
KEEP_DAILY_SECONDS = 1_209_600.0  # two weeks


class Keep(NamedTuple):
    """For how long, in seconds, deltas, the hours' first dumps and the days' stay. 0 = none do."""

    deltas: float = KEEP_DELTAS_SECONDS
    hourly: float = KEEP_HOURLY_SECONDS
    daily: float = KEEP_DAILY_SECONDS
