"""An event loop whose time passes only while nothing is left to do: an hour takes a moment.

It does what asyncio's own loop does, in the same order, without what only a debug mode, files or
threads need: that was a third of the time of a simulated run.
"""

from __future__ import annotations

import asyncio
import heapq
import selectors
from asyncio import Handle, TimerHandle
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

OWN_FILES = 1  # by which other threads wake a loop that sleeps: this one never does
START_MS = 1_700_000_000_000  # Unix milliseconds at loop time 0
RESOLUTION_SECONDS = 1e-9  # timers as close as this are due at once, as with asyncio's own loop
CANCELLED_MAX = 100  # timers; if more are kept, and half of them is cancelled, they are sifted


class Deadlock(AssertionError):
    """Nothing is ready and no timer runs: real time would wait for ever."""


class _Call(TimerHandle):
    """A handle or a timer as asyncio makes them, without what a debug mode would show of it."""

    __slots__ = ()
    _callback: Any  # these are the handle's own
    _args: Any
    _context: Context
    _cancelled: bool
    _loop: Any
    _when: float
    _scheduled: bool

    def __init__(
        self, loop: WarpLoop, callback: object, args: object, context: Context | None
    ) -> None:
        self._loop = loop
        self._callback = callback
        self._args = args
        self._context = copy_context() if context is None else context
        self._cancelled = self._scheduled = False

    def cancel(self) -> None:
        if not self._cancelled:
            self._cancelled = True
            self._callback = self._args = None
            if self._scheduled:
                self._loop._cancelled += 1


class WarpLoop(asyncio.SelectorEventLoop):
    """Deterministic as long as no thread takes part."""

    _stopping: bool  # these two are the loop's own
    _process_events: Callable[[list[Any]], None]

    def __init__(self) -> None:
        self._now = 0.0
        self._soon: deque[Any] = deque()
        self._timers: list[tuple[float, Any]] = []  # a heap
        self._cancelled = 0  # of them, that are still there
        self._files = selectors.DefaultSelector()
        self._watched: Any = self._files._fd_to_key  # type: ignore[attr-defined]  # its map, without a call
        super().__init__(self._files)

    get_debug = staticmethod(bool)  # False; each future and each handle asks for it

    def _write_to_self(self) -> None:
        """There is nothing to wake: see OWN_FILES."""

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Handle:
        """As the loop's own."""
        call = _Call(self, callback, args, context)
        self._soon.append(call)
        return call

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Handle:
        """There is one thread."""
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> TimerHandle:
        """As the loop's own."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> TimerHandle:
        """As the loop's own."""
        timer = _Call(self, callback, args, context)
        timer._when = when
        timer._scheduled = True
        heapq.heappush(self._timers, (when, timer))
        return timer

    def _run_once(self) -> None:
        """Turn after turn, each with what was ready when it began, until told to stop."""
        soon, timers = self._soon, self._timers
        while True:
            if self._cancelled:
                self._sift()
            if not soon and not self._stopping:
                if not timers:
                    raise Deadlock("every task waits for another one")
                self._now = max(self._now, timers[0][0])
            if len(self._watched) > OWN_FILES:  # or else nobody waits for a file
                self._process_events(self._files.select(0))
            end = self._now + RESOLUTION_SECONDS
            while timers and timers[0][0] < end:
                timer = heapq.heappop(timers)[1]
                timer._scheduled = False
                soon.append(timer)
            for _ in range(len(soon)):
                call = soon.popleft()
                if not call._cancelled:
                    try:
                        call._context.run(call._callback, *call._args)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as error:  # noqa: BLE001  # as a handle does
                        self._failed(error)
            if self._stopping:
                return

    def _failed(self, error: BaseException) -> None:
        told = {"message": "Exception in a callback", "exception": error}
        self.call_exception_handler(told)

    def _add_callback(self, handle: Handle) -> None:
        """Of a file that is ready."""
        if not handle._cancelled:
            self._soon.append(handle)

    def _sift(self) -> None:
        """Let go of cancelled timers."""
        timers = self._timers
        if len(timers) > CANCELLED_MAX and self._cancelled > len(timers) / 2:
            for _, timer in timers:
                timer._scheduled = not timer._cancelled
            timers[:] = [each for each in timers if each[1]._scheduled]
            heapq.heapify(timers)
            self._cancelled = 0
            return
        while timers and timers[0][1]._cancelled:
            heapq.heappop(timers)[1]._scheduled = False
            self._cancelled -= 1


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
