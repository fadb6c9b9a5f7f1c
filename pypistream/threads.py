"""How the threads of this process share Python's lock."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def giving_way(seconds: float) -> Iterator[None]:
    """Let a thread that computes keep the others waiting so long only; Python's own is 5 ms.

    It pays where another thread makes many short calls that release the lock, and waits for it
    after each of them.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
