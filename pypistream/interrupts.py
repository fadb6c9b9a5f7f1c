"""Ctrl-C while libraries are being loaded."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Within it Ctrl-C ends the process as it ends any program. For the main thread.

    For imports: DuckDB's module aborts, and shows Python's insides, if it is interrupted as it is
    loaded.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
