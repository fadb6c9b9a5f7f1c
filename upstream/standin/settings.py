"""What a stand-in is made from: one frozen value, so that two equal ones serve equal bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Sizes = Literal["real", "small"]

# The oldest and the newest serial seen in recorded documents: the made-up history lies between.
SERIAL_MIN = 8_586_770
SERIAL_MAX = 40_283_460


@dataclass(frozen=True, slots=True)
class StandinSettings:
    """Settings of one stand-in.

    projects            how many names the corpus has (16 % of them without a document)
    seed                equal seeds give equal corpora and equal sequences of changes
    changes_per_second  mean rate of the journal that goes on by itself; 0 = only when driven
    latency_ms          added to every answer but those of the control routes
    sizes               `real` = as the index's own documents, `small` = for demos and latency tests
    cache               folder in which a made corpus is kept for the next start; None = made anew
    faults              fault specifications (as POST /_control/faults takes them) active from start
    index_lag_seconds   how old `/simple/` is
    map_lag_seconds     how old `list_packages_with_serial` is (the index keeps it up to an hour)
    request_log         how many requests `/_control/requests` remembers
    """

    projects: int = 500
    seed: int = 1
    changes_per_second: float = 0.0
    host: str = "127.0.0.1"
    port: int = 0
    latency_ms: float = 0.0
    sizes: Sizes = "real"
    cache: Path | None = None
    faults: tuple[dict[str, Any], ...] = ()
    index_lag_seconds: float = 0.0
    map_lag_seconds: float = 0.0
    request_log: int = 100_000
