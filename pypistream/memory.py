"""How this process takes memory from the system, where that can be tuned (glibc).

Most documents have 10 KB, some have 20 MB. When the first large ones are freed, glibc raises its
threshold and keeps such blocks in the heap from then on, where a small object behind one pins it: a
backfill of 20 000 projects peaked at 236 MiB, of 40 000 at 297 MiB. A threshold set by hand is not
raised.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterator

# From malloc.h. A value that is set by hand is no longer adapted.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
OWN_PAGES_FROM_BYTES = 4 * 1024 * 1024  # freed, these go back at once; 512 KiB would cost 15 %
KEPT_AT_TOP_BYTES = 64 * 1024 * 1024  # else the heap's end is returned and fetched all day
OBJECTS_BETWEEN_COLLECTIONS = 50_000  # at most 5 to 10 MB of garbage; Python's default is 700
ARENAS_MAX = 2  # the event loop's, and one for all threads; large blocks lie in neither


def give_large_blocks_back() -> None:
    """Return large blocks to the system when they are freed. Without glibc this does nothing."""
    with contextlib.suppress(OSError, AttributeError):  # a C library without `mallopt`
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, OWN_PAGES_FROM_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_AT_TOP_BYTES)
        mallopt(M_ARENA_MAX, ARENAS_MAX)


@contextlib.contextmanager
def collecting_seldom() -> Iterator[None]:
    """Collect garbage 70 times less often, for work that makes records by the million.

    None of them is in a cycle, yet each collection goes through all that are alive: a fifth of the
    time of a bootstrap. Not for a process that asks upstream: its cycles hold whole answers.
    """
    before = gc.get_threshold()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
