"""How a running process looks: a live table on a terminal, plain lines elsewhere. All on stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Protocol

from pypistream.logs import say
from pypistream.run.facts import Facts, claim
from pypistream.terminal import duration
from schemas.records import Status

LINE_SECONDS = 10.0  # between two plain lines
# These make rich treat stderr as a terminal even where it is none.
TERMINAL_BY_NAME = ("FORCE_COLOR", "TTY_COMPATIBLE")


class Display(Protocol):
    """How a run is shown to a person."""

    def say(self, text: str) -> None:
        """One line that stays."""
        ...

    def show(self, facts: Facts) -> None:
        """How things stand now."""
        ...

    def close(self) -> None:
        """Leave the last state on the screen."""
        ...


def make_display(notes: Sequence[str] = ()) -> Display:
    """A table on a terminal, lines elsewhere. `notes` are printed first, each in one piece.

    In the table a note longer than the terminal is wide would be broken or cut off, and a command
    in it could not be copied.
    """
    display: Display = LineDisplay()
    if sys.stderr.isatty() or any(os.environ.get(name) for name in TERMINAL_BY_NAME):
        from pypistream.run.table import table_on_terminal  # 50 ms, for a terminal only

        display = table_on_terminal() or display
    for note in notes:
        display.say(note)
    return display


class LineDisplay:
    """The display for pipes, files and journals."""

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
        """Nothing to close."""


def line_of(facts: Facts) -> str:
    """One line: serial, watermark, lag, names, rates."""
    names = facts.names
    parts = [
        f"serial {facts.head:,}",
        f"watermark {claim(facts.watermark)}",
        f"projects up to date {names[Status.OK]:,}",  # SQL also counts the others
        f"{facts.changes_per_minute:.0f} changes/min",
        f"{facts.fetch_rate:.1f} fetches/s",
    ]
    owed = {s: names[s] for s in (Status.PENDING, Status.PARKED, Status.STALE, Status.DEAD)}
    parts += [f"{status.value} {count:,}" for status, count in owed.items() if count]
    if facts.eta_seconds is not None:
        parts.append(f"backfill ends in {duration(facts.eta_seconds)}")
    if facts.trouble:
        parts.append(f"trouble: {facts.trouble}")
    return "  ".join(parts)


def unpublished(facts: Facts, now: float, command: str) -> str:
    """Where the rest is when a run ends, and the command that publishes it. Pure."""
    at = facts.last_snapshot
    rest = (
        "fetched" if at is None else f"fetched after the last snapshot, {duration(now - at)} ago,"
    )
    return (
        f"what was {rest} is in the log: the next run publishes it at once, and `{command}` does"
        " so without one"
    )
