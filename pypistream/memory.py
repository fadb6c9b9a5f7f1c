"""How this process takes memory from the system, where that can be said (glibc).

Documents have 10 KB or 20 MB. glibc learns from the first large ones that are freed to keep such
blocks in its heap, where a small object behind each of them pins it: a backfill of 20 000 projects
held 200 MiB at its end, of 40 000 projects 250 MiB, and 115 and 130 MiB with a fixed threshold.
"""

from __future__ import annotations

import contextlib
import ctypes

# From malloc.h. A value given by hand is no longer learnt.
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
OWN_PAGES_FROM_BYTES = 512 * 1024  # above it a block goes back to the system when it is freed
ARENAS_MAX = 2  # the loop's, and one for all threads: their large blocks are not in any


def give_large_blocks_back() -> None:
    """Let large blocks go back to the system when they are freed. Elsewhere it does nothing."""
    with contextlib.suppress(OSError, AttributeError):  # a C library without `mallopt`
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, OWN_PAGES_FROM_BYTES)
        mallopt(M_ARENA_MAX, ARENAS_MAX)
