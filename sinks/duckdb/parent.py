"""For child processes whose parent holds their stdin: they end when it does."""

from __future__ import annotations

import os
import sys
from threading import Thread


def end_with_parent() -> None:
    """From now on this process ends, at once, as soon as its stdin does."""
    Thread(target=_wait_and_end, daemon=True).start()


def _wait_and_end() -> None:
    # Not by `sys.stdin`: its lock would be held when the interpreter ends before the parent does.
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)
