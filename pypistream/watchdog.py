"""Detects a partition's worker that stands still: it is restarted, and in the end given up.

A future that nobody will ever complete raises no error. What shows it is that there is work and
nothing is written: a worker with work writes at least its position within seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from schemas.codec import rfc3339
from schemas.errors import NoProgress

PATIENCE_SECONDS = 120.0  # longer than a restore of PyPI's names and any write's own time-out
TRIES_MAX = 3  # restarts in a row; then a new process may do better


class Verdict(Enum):
    """What to do with the worker."""

    WELL = "leave it"
    STUCK = "cancel it and begin anew"
    HOPELESS = "end the process"


@dataclass
class Watchdog:
    """Watches one partition. Pure: observations and times (Unix milliseconds) are passed in."""

    partition: int
    tries: int = 0
    _commits: int = -1
    _since_ms: int | None = None  # when the present period without progress began
    _first_ms: int | None = None  # when the first such period in a row began

    def look(self, now_ms: int, commits: int, lag: int | None) -> Verdict:
        """Judge by the transactions written so far, and the records that wait; None = unknown."""
        if commits != self._commits or lag == 0:
            self._commits, self.tries = commits, 0
            self._since_ms = self._first_ms = None
        if not lag:
            self._since_ms = None  # the log does not answer, so what waits is unknown
            return Verdict.WELL
        if self._since_ms is None:
            self._since_ms = now_ms
            self._first_ms = now_ms if self._first_ms is None else self._first_ms
        if now_ms - self._since_ms < PATIENCE_SECONDS * 1000:
            return Verdict.WELL
        self.tries += 1
        self._since_ms = now_ms
        return Verdict.STUCK if self.tries < TRIES_MAX else Verdict.HOPELESS

    def excused(self) -> None:
        """The worker ended with an error that says why: this period does not count."""
        self._since_ms = None

    def error(self, lag: int | None) -> NoProgress:
        """The error to raise at the end."""
        since = rfc3339((self._first_ms or 0) / 1000)
        return NoProgress(
            f"partition {self.partition}: {lag} records wait and nothing was written since {since},"
            f" though its worker was begun anew {self.tries - 1} times",
            hint="start this process again; the lines above and the log's server may say why",
        )
