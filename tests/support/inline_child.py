"""A live DuckDB file that is written anew after each publication, by the process itself.

For runs that repeat themselves, and that break or are killed at each call, those of the child too.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

from schemas.errors import PypistreamError
from sinks.duckdb import compaction, rewriting
from sinks.duckdb.rewriting import rewritten

ROWS_AT_ONCE = 20  # so few that some tables are copied in pieces, and let go of
LOOKS = 2  # at a child that is still at work: so many batches are taken in twice


class InlineChild:
    """As `sinks.duckdb.compaction.Child`; what it does is done when it is made."""

    def __init__(self, source: Path, mark: str, target: Path, megabytes: int) -> None:
        self._looks = 0
        self._why = ""
        try:
            rewritten(source, mark, target, megabytes)
        except (PypistreamError, OSError) as error:
            self._why = str(error) or "?"

    def ended(self) -> str | None:
        self._looks += 1
        return None if self._looks <= LOOKS else self._why

    def wait(self) -> None:
        """It has ended."""
        self._looks = LOOKS

    def stop(self) -> None:
        """Nothing is under way."""


def always_written_anew() -> ExitStack:
    """While it is entered, every file has grown too long, and no attempt is too early."""
    stack = ExitStack()
    for name, value in {
        "Child": InlineChild,
        "COMPACT_ABOVE_BYTES": 0,
        "COMPACT_GROWTH": 0.0,
        "AGAIN_SECONDS": 0.0,
    }.items():
        stack.enter_context(patch.object(compaction, name, value))
    stack.enter_context(patch.object(rewriting, "ROWS_AT_ONCE", ROWS_AT_ONCE))
    return stack
