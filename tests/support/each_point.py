"""One fork after the other, each killed by itself at a later point of the same work."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def killed_at_each_point(points_max: int, work: Callable[[int], None]) -> int:
    """Call `work(1)`, `work(2)`, … each in a fork, until one comes to its end; prints which.

    The exit code: 1 if one ended in another way than by a signal, or none came to its end.
    """
    for point in range(1, points_max):
        child = os.fork()
        if child == 0:
            work(point)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            sys.stdout.write(str(point))
            return 0
        if not os.WIFSIGNALED(status):
            return 1
    return 1
