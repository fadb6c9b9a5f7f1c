"""The live table of a running process, for a person at a terminal. On stderr."""

from __future__ import annotations

import time
from contextlib import suppress

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pypistream.run.facts import Facts, claim
from pypistream.terminal import duration, escaped
from schemas.records import Status

REFRESH_PER_SECOND = 2
BAR_CHARACTERS = 40


def table_on_terminal() -> TableDisplay | None:
    """The table, None where stderr is no terminal after all."""
    console = Console(stderr=True)
    return TableDisplay(console) if console.is_terminal else None


class TableDisplay:
    """The display for a person at a terminal."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=REFRESH_PER_SECOND, transient=False)
        self._live.start()

    def say(self, text: str) -> None:
        """Print above the table."""
        with suppress(OSError):  # the terminal may have been closed
            self._live.console.print(escaped(text), highlight=False, markup=False, soft_wrap=True)

    def show(self, facts: Facts) -> None:
        """Redraw."""
        self._live.update(table_of(facts))

    def close(self) -> None:
        """Leave the last table standing."""
        with suppress(OSError):
            self._live.stop()


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
        ("projects up to date", f"{names[Status.OK]:,}"),
        ("names without a document", f"{names[Status.ABSENT]:,}"),
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


def ago(unix_seconds: float | None) -> str:
    """How long ago that was, for people."""
    return "not yet" if unix_seconds is None else f"{time.time() - unix_seconds:.0f} s ago"
