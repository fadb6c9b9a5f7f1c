"""An event loop whose time passes only while nothing is left to do: an hour takes a moment."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

OWN_FILES = 1  # by which other threads wake a loop that sleeps: this one never does
START_MS = 1_700_000_000_000  # Unix milliseconds at loop time 0


class Deadlock(AssertionError):
    """Nothing is ready and no timer runs: real time would wait for ever."""


class _Warp(selectors.DefaultSelector):
    """Instead of waiting for the next timer, make it the present."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """What is ready already."""
        if timeout is None:
            raise Deadlock("every task waits for another one")
        self.now += max(0.0, timeout)
        if len(self.get_map()) <= OWN_FILES:
            return []  # nobody waits for a file: a question to the system costs more than the rest
        return list(super().select(0))


class WarpLoop(asyncio.SelectorEventLoop):
    """Deterministic as long as no thread takes part."""

    def __init__(self) -> None:
        self._warp = _Warp()
        super().__init__(self._warp)

    def _write_to_self(self) -> None:
        """There is nothing to wake: see OWN_FILES."""

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._warp.now


class WarpClock:
    """`streams.clock.Clock` of the loop in which it is asked first."""

    _loop: asyncio.AbstractEventLoop | None = None

    def now_ms(self) -> int:
        """Unix milliseconds."""
        if self._loop is None:  # to ask for it each time is a call to the system
            self._loop = asyncio.get_running_loop()
        return START_MS + int(self._loop.time() * 1000)


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in virtual time."""
    with asyncio.Runner(loop_factory=WarpLoop) as runner:
        return runner.run(main)
