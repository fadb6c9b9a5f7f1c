"""How this process takes memory from the system, where that can be said (glibc).

Documents have 10 KB or 20 MB. glibc learns from the first large ones that are freed to keep such
blocks in its heap, where a small object behind each of them pins it: a backfill of 20 000 projects
peaked at 236 MiB, of 40 000 at 297 MiB. With a threshold set by hand it learns nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterator

# From malloc.h. A value given by hand is no longer learnt.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
OWN_PAGES_FROM_BYTES = 4 * 1024 * 1024  # such a block goes back at once; at 512 KiB it costs 15 %
KEPT_AT_TOP_BYTES = 64 * 1024 * 1024  # or the heap's end is given back and fetched again all day
OBJECTS_BETWEEN_COLLECTIONS = 50_000  # 5 to 10 MB if all were in cycles; Python's own is 700
ARENAS_MAX = 2  # the loop's, and one for all threads: their large blocks are not in any


def give_large_blocks_back() -> None:
    """Let large blocks go back to the system when they are freed. Elsewhere it does nothing."""
    with contextlib.suppress(OSError, AttributeError):  # a C library without `mallopt`
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, OWN_PAGES_FROM_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_AT_TOP_BYTES)
        mallopt(M_ARENA_MAX, ARENAS_MAX)


@contextlib.contextmanager
def collecting_seldom() -> Iterator[None]:
    """Look for cycles 70 times as seldom, for work that makes records by the million.

    None of them is in a cycle, and each look goes through all that are at hand: a fifth of the time
    of a bootstrap. Not for what asks upstream: its cycles hold whole answers.
    """
    before = gc.get_threshold()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
