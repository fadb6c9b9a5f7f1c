"""Ctrl-C while libraries are being loaded."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ending_at_once() -> Iterator[None]:
    """While in this block, Ctrl-C ends the process without a traceback. For the main thread only.

    For imports: DuckDB's module aborts with a dump of Python's internals if loading it is
    interrupted.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
