"""The share of the known names that a watermark speaks for, the same figure in all outputs."""

from __future__ import annotations

DECIMALS = 4  # of a percent: one name in 886 000 is 0.0001 %


def coverage(names: int, exceptions: int) -> float | None:
    """Percent of `names` that are no exceptions; None if there are no names.

    Rounded down, so that 100 means all of them.
    """
    if names == 0:
        return None
    unit: int = 10**DECIMALS
    return (100 * unit * (names - exceptions)) // names / unit
