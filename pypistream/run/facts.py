"""The state of a running process at one moment, to be shown as a line or as a table."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from pypistream.children.sinks_child import SinksChild
from pypistream.run.pipeline import Pipeline
from schemas.records import Status
from streams.progress import Watermark, watermark

WINDOW_SECONDS = 60.0  # rates are averages over at most this long


class Facts(NamedTuple):
    """One look at a pipeline. Serials are upstream's; rates per second unless named otherwise."""

    seconds: float
    head: int
    watermark: Watermark
    names: dict[Status, int]
    fetched: int
    fetch_rate: float
    changes_per_minute: float
    last_snapshot: float | None
    last_dump: float | None
    trouble: str

    @property
    def lag(self) -> int | None:
        """Serials between upstream's head and the watermark."""
        return None if self.watermark.serial is None else max(0, self.head - self.watermark.serial)

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until an open backfill is done at the present rate."""
        mark = self.watermark
        if not mark.backfill_names or mark.backfill_done is None or not self.fetch_rate:
            return None
        return (mark.backfill_names - mark.backfill_done) / self.fetch_rate


@dataclass
class Observer:
    """Looks at a pipeline repeatedly, and keeps what it needs to compute rates."""

    pipeline: Pipeline
    sinks: SinksChild
    _started: float = field(default_factory=time.monotonic)
    _samples: deque[tuple[float, int, int]] = field(default_factory=deque)

    def look(self) -> Facts:
        """The facts as of now."""
        now = time.monotonic()
        sessions = [worker.session for worker in self.pipeline.workers if worker.session]
        fetched = sum(session.fetched for session in sessions)
        entries = sum(session.intake.entries for session in sessions)
        if self._samples and (fetched, entries) < self._samples[-1][1:]:
            self._samples.clear()  # a partition moved to another process, with its counts
        self._samples.append((now, fetched, entries))
        while now - self._samples[0][0] > WINDOW_SECONDS:
            self._samples.popleft()
        then, fetched_then, entries_then = self._samples[0]
        span = max(now - then, 1e-9)
        head = self.pipeline.producer.head
        return Facts(
            seconds=now - self._started,
            head=head.serial if head else 0,
            watermark=watermark(self.pipeline.cuts),
            names=self.pipeline.counts(),
            fetched=fetched,
            fetch_rate=(fetched - fetched_then) / span,
            changes_per_minute=60 * (entries - entries_then) / span,
            last_snapshot=self.sinks.published_at("duckdb"),
            last_dump=self.sinks.published_at("dump"),
            trouble=self.pipeline.producer.trouble,
        )


def claim(mark: Watermark) -> str:
    """What is complete, in words."""
    if mark.serial is not None:
        return f"{mark.serial:,}"
    if mark.backfill_names is not None:
        return f"null, backfill {mark.backfill_done or 0:,}/{mark.backfill_names:,}"
    return f"null, complete only since serial {mark.base:,}" if mark.reached else "null"
