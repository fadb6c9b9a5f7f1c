"""What a process that fetches notes down for others to show: one small file per role.

Counters begin at 0 with each process, as Prometheus expects. The file is replaced by a rename and
never synced: after a crash it is old, and says so by its time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

FIGURES = "figures-{role}.json"


class Figures(msgspec.Struct, frozen=True):
    """Of one process. Times in Unix seconds.

    fetches   answers by outcome: `document`, `unchanged`, `missing`, or why there was none
    queued    names that are owed a fetch, now or later
    in_flight   requests that are under way
    lags      changelog records not decided, by partition
    """

    role: str
    started: float
    written: float
    fetches: dict[str, int] = {}
    queued: int = 0
    in_flight: int = 0
    lags: dict[int, int] = {}
    trouble: str = ""


def write_figures(folder: Path, figures: Figures) -> None:
    """Replace the role's file. Raises OSError."""
    path = folder / FIGURES.format(role=figures.role)
    aside = path.with_name(f".{path.name}.new")
    aside.write_bytes(msgspec.json.encode(figures))
    aside.replace(path)


def read_figures(folder: Path) -> Sequence[Figures]:
    """What there is, by role; a file that cannot be read is left out."""
    found = []
    for path in sorted(folder.glob(FIGURES.format(role="*"))):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            found.append(msgspec.json.decode(path.read_bytes(), type=Figures))
    return found
