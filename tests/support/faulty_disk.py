"""A disk that fails, or a process that is killed, at the n-th thing asked of the disk."""

from __future__ import annotations

import errno
import os
import pathlib
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

_CALLS = ("fsync", "link", "rename", "replace", "mkdir", "fchmod", "copy_file_range")


class Disk:
    """Counts writes, copies, syncs, links, renames; from the n-th on `fault` comes before each."""

    def __init__(self, failing_from: int, fault: Callable[[], None]) -> None:
        self.calls = 0
        self._failing_from = failing_from
        self._fault = fault

    def touch(self) -> None:
        """One thing asked of the disk."""
        self.calls += 1
        if self.calls >= self._failing_from:
            self._fault()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count what happens meanwhile."""
        with ExitStack() as stack:
            for name in filter(partial(hasattr, os), _CALLS):
                stack.enter_context(patch.object(os, name, self._counting(getattr(os, name))))
            real_open = Path.open

            def opened(path: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
                if "w" not in mode:
                    return real_open(path, mode, *rest, **named)
                self.touch()
                named["buffering"] = 0
                return _CountingFile(real_open(path, mode, *rest, **named), self.touch)

            stack.enter_context(patch.object(pathlib.Path, "open", opened))
            yield

    def _counting(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            self.touch()
            return real(*arguments, **named)

        return counted


class _CountingFile:
    """A file whose writes count; half of one is written before it fails."""

    def __init__(self, file: Any, touch: Callable[[], None]) -> None:
        self._file = file
        self._touch = touch

    def write(self, piece: bytes) -> int:
        self._file.write(piece[: len(piece) // 2])
        self._touch()
        self._file.write(piece[len(piece) // 2 :])
        return len(piece)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def no_space() -> None:
    """What a full disk says."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def killed() -> None:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)
