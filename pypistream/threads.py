"""How long a thread that computes keeps the event loop of its process waiting."""

from __future__ import annotations

import sys

# The loop lets go of the interpreter whenever it reads, writes or unpacks; a thread that takes it
# then keeps it for Python's 5 ms. Less costs nothing measurable, and saves half a millisecond of
# each fetch (docs/benchmarks.md).
SWITCH_SECONDS = 0.001


def loop_comes_first() -> None:
    """For a process in which somebody waits for the loop, and nobody for its threads."""
    sys.setswitchinterval(SWITCH_SECONDS)
