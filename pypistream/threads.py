"""How the threads of this process share the GIL."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def giving_way(seconds: float) -> Iterator[None]:
    """Let a computing thread delay the others only so many seconds; Python's default is 5 ms.

    It pays if another thread makes many short calls that release the GIL, and waits for it after
    each.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
