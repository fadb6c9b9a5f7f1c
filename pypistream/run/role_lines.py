"""The status lines of a role that runs in a process of its own: one every few seconds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from producers.changelog import ChangelogProducer
from pypistream.run.processing import Processing
from schemas.records import EventSource, Head, Status
from streams.clock import Clock

WINDOW_SECONDS = 60.0  # rates are averages over at most this long


def of_produce(producer: ChangelogProducer, clock: Clock) -> str:
    """The line of a `produce`: serial, when upstream was reached, rows, and what is in the way."""
    polled = producer.polled_ms
    ago = "not yet" if polled is None else f"{(clock.now_ms() - polled) / 1000:.0f} s ago"
    head = producer.head
    text = f"serial {head.serial if head else 0:,}  polled {ago}  rows {producer.rows:,}"
    if head is not None and head.source is EventSource.INDEX:
        text += "  by the index"
    if head is not None and head.history is not None and head.history.serial < head.base:
        text += f"  history {head.history.serial:,} of {head.base:,}"
    return f"{text}  trouble: {producer.trouble}" if producer.trouble else text


@dataclass
class ProcessLines:
    """The lines of a `process`; keeps what rates need.

    `head` is the last one `produce` has written.
    """

    processing: Processing
    head: Head | None = None
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def line(self) -> str:
        """Partitions, serial and lag, waiting records, fetches, names."""
        workers = self.processing.workers
        total = self.processing.means.config.partitions
        if not workers:
            return f"partitions none of {total}: waiting for the group"
        cuts = [worker.cut for worker in workers]
        marks = [cut.serial for cut in cuts if cut is not None and cut.serial]
        serial = min(marks) if len(marks) == len(cuts) else None
        parts = [
            f"partitions {ranges(worker.settings.partition for worker in workers)} of {total}",
            "serial unknown" if serial is None else f"serial {serial:,}",
            f"lag {self._lag(serial)}",
            f"fetches {self._rate():.1f}/s",
            f"share {self.processing.assignment.share():.2f}",
        ]
        counts = self.processing.counts()
        parts += [f"{status.value} {count:,}" for status, count in counts.items() if count]
        if not counts[Status.OK]:
            parts.append("nothing published yet")
        return "  ".join(parts)

    def _lag(self, serial: int | None) -> str:
        """Serials behind the head, and the number of waiting records."""
        lags = [self.processing.lags.get(w.settings.partition) for w in self.processing.workers]
        waiting = "?" if None in lags else f"{sum(lag or 0 for lag in lags):,}"
        behind = "?" if serial is None or self.head is None else max(0, self.head.serial - serial)
        return f"{behind} serials, {waiting} records"

    def _rate(self) -> float:
        """Fetches per second. A partition that moved away takes its count with it."""
        now = time.monotonic()
        sessions = [worker.session for worker in self.processing.workers if worker.session]
        fetched = sum(session.fetched for session in sessions)
        if self._samples and fetched < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((now, fetched))
        while now - self._samples[0][0] > WINDOW_SECONDS:
            self._samples.popleft()
        then, before = self._samples[0]
        return (fetched - before) / (now - then) if now > then else 0.0


def ranges(numbers: Iterable[int]) -> str:
    """For people: `0-3,5,7-9`."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(f"{low}-{high}" if low < high else f"{low}" for low, high in found)
