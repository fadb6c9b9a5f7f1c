"""How a running process looks: a live table on a terminal, plain lines elsewhere. All on stderr."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pypistream.logs import say
from pypistream.run.facts import Facts
from pypistream.terminal import duration, escaped
from schemas.records import Status
from streams.progress import Watermark

LINE_SECONDS = 10.0  # between two plain lines
REFRESH_PER_SECOND = 2  # of the table
BAR_CHARACTERS = 40


class Display(Protocol):
    """What a run tells a person."""

    def say(self, text: str) -> None:
        """One line that stays."""
        ...

    def show(self, facts: Facts) -> None:
        """How things stand now."""
        ...

    def close(self) -> None:
        """The last look stays on the screen."""
        ...


def make_display(notes: Sequence[str] = ()) -> Display:
    """A table on a terminal, lines elsewhere. `notes` are said first, each in one piece.

    In the table a note longer than the terminal is wide would be broken or cut off, and a command
    in it could not be copied.
    """
    console = Console(stderr=True)
    display = TableDisplay(console) if console.is_terminal else LineDisplay()
    for note in notes:
        display.say(note)
    return display


class LineDisplay:
    """For pipes, files and journals."""

    def __init__(self) -> None:
        self._next = 0.0

    def say(self, text: str) -> None:
        """Print at once."""
        say(text, "run")

    def show(self, facts: Facts) -> None:
        """Print every LINE_SECONDS."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + LINE_SECONDS
            self.say(line_of(facts))

    def close(self) -> None:
        """Nothing to let go of."""


class TableDisplay:
    """For a person at a terminal."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=REFRESH_PER_SECOND, transient=False)
        self._live.start()

    def say(self, text: str) -> None:
        """Print above the table."""
        self._live.console.print(escaped(text), highlight=False, markup=False, soft_wrap=True)

    def show(self, facts: Facts) -> None:
        """Redraw."""
        self._live.update(table_of(facts))

    def close(self) -> None:
        """Leave the last table standing."""
        self._live.stop()


def line_of(facts: Facts) -> str:
    """One line: serial, watermark, lag, names, rates."""
    names = facts.names
    parts = [
        f"serial {facts.head:,}",
        f"watermark {claim(facts.watermark)}",
        f"projects {names[Status.OK]}",
        f"{facts.changes_per_minute:.0f} changes/min",
        f"{facts.fetch_rate:.1f} fetches/s",
    ]
    owed = {s: names[s] for s in (Status.PENDING, Status.PARKED, Status.STALE, Status.DEAD)}
    parts += [f"{status.value} {count}" for status, count in owed.items() if count]
    if facts.eta_seconds is not None:
        parts.append(f"backfill ends in {duration(facts.eta_seconds)}")
    if facts.trouble:
        parts.append(f"trouble: {facts.trouble}")
    return "  ".join(parts)


def table_of(facts: Facts) -> RenderableType:
    """The live table, with a bar while a backfill is open."""
    names = facts.names
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(justify="right")
    for label, value in (
        ("serial", f"{facts.head:,}"),
        ("watermark", claim(facts.watermark)),
        ("lag", "unknown" if facts.lag is None else f"{facts.lag:,} serials"),
        ("projects", f"{names[Status.OK]:,}"),
        ("without a document", f"{names[Status.ABSENT]:,}"),
        ("changes per minute", f"{facts.changes_per_minute:,.0f}"),
        ("fetches per second", f"{facts.fetch_rate:,.1f}"),
        ("pending / parked", f"{names[Status.PENDING]:,} / {names[Status.PARKED]:,}"),
        ("stale / dead", f"{names[Status.STALE]:,} / {names[Status.DEAD]:,}"),
        ("last snapshot", ago(facts.last_snapshot)),
        ("last dump", ago(facts.last_dump)),
    ):
        table.add_row(label, value)
    parts: list[RenderableType] = [table]
    mark = facts.watermark
    if mark.backfill_names and mark.backfill_done is not None:
        bar = Table.grid(padding=(0, 2))
        left = "" if facts.eta_seconds is None else f"{duration(facts.eta_seconds)} left"
        bar.add_row(
            Text("backfill", style="bold"),
            ProgressBar(mark.backfill_names, mark.backfill_done, width=BAR_CHARACTERS),
            f"{mark.backfill_done:,} of {mark.backfill_names:,}",
            left,
        )
        parts.append(bar)
    if facts.trouble:
        parts.append(Text(escaped(f"trouble: {facts.trouble}"), style="yellow"))
    return Group(*parts)


def claim(mark: Watermark) -> str:
    """What is complete, in words."""
    if mark.serial is not None:
        return f"{mark.serial:,}"
    if mark.backfill_names is not None:
        return f"null, backfill {mark.backfill_done or 0:,}/{mark.backfill_names:,}"
    return f"null, complete only since serial {mark.base:,}" if mark.reached else "null"


def ago(unix_seconds: float | None) -> str:
    """How long since."""
    return "not yet" if unix_seconds is None else f"{time.time() - unix_seconds:.0f} s ago"
