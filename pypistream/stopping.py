"""How commands end on Ctrl-C, SIGTERM or a closed terminal: resources closed, exit 0."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine
from typing import Any

from pypistream.cli import EXIT_INTERRUPTED
from pypistream.terminal import ReaderGone

STOP_SECONDS_MAX = 9.5  # a drained stop takes 10 s at most: whatever hangs then is cut off
GIVE_UP_SECONDS_MAX = 10.0  # what hangs need not react to a cancellation
# A SIGTERM to a whole process group arrives twice if `make`, `uv run` or a shell passes it on.
SAME_TERM_SECONDS = 1.0


def ending() -> tuple[signal.Signals, ...]:
    """The signals that ask to end: Ctrl-C, SIGTERM, and SIGHUP unless `nohup` has it ignored."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return signal.SIGINT, signal.SIGTERM
    return signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def run_until_stopped(work: Coroutine[Any, Any, int]) -> int:
    """Run `work`; its exit code, or 0 if a signal ended it or nobody reads its output."""
    try:
        return asyncio.run(_cancelled_by_signals(work))
    except (KeyboardInterrupt, asyncio.CancelledError, ReaderGone):
        return 0


async def _cancelled_by_signals(work: Coroutine[Any, Any, int]) -> int:
    task = asyncio.current_task()
    if task is None:
        raise AssertionError("a coroutine runs in a task")
    # By the loop: asyncio.run's own handler may cancel anywhere in running code, even between "is
    # this future done?" and "then set its result".
    for number in ending():
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await work


def stop_on_signals(*, cut_off: bool = False) -> asyncio.Event:
    """An event that the first of these signals sets; a second one ends the process at once.

    Two SIGTERM within SAME_TERM_SECONDS count as one: nobody presses keys that fast. `cut_off`:
    STOP_SECONDS_MAX after the first the process ends in any case, with exit 0. As after a kill
    nothing committed is lost, and a server that does not answer must not delay the end.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    first: tuple[signal.Signals, float] | None = None

    def on_signal(number: signal.Signals) -> None:
        nonlocal first
        if first is not None:
            if not handed_on(*first, number, loop.time()):
                os._exit(EXIT_INTERRUPTED)
            return
        first = number, loop.time()
        stop.set()
        if cut_off:
            end_within(STOP_SECONDS_MAX, 0)

    for number in ending():
        loop.add_signal_handler(number, on_signal, number)
    return stop


def handed_on(first: signal.Signals, at: float, second: signal.Signals, now: float) -> bool:
    """Whether the second signal is no haste: the first one, passed on. `at` and `now` in seconds.

    A terminal that closes tells all that run in it, and so does its shell: a SIGHUP never is.
    """
    if second is signal.SIGHUP:
        return True
    return first is second is signal.SIGTERM and now - at < SAME_TERM_SECONDS


def end_within(seconds: float, exit_code: int) -> None:
    """End this process after so many seconds unless it ends by itself, even if its loop hangs."""
    timer = threading.Timer(seconds, os._exit, [exit_code])
    timer.daemon = True
    timer.start()


async def done_or_stopped(
    task: asyncio.Task[Any], stop: asyncio.Event, seconds: float | None = None
) -> None:
    """Wait until `task` is done, `stop` is set, or so many seconds are over."""
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopped}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()


async def drained(
    work: asyncio.Task[Any], end: Coroutine[Any, Any, object], seconds: float
) -> bool:
    """Wait for `end`, then cancel `work`; False if it still runs so many seconds later.

    Raises what `work` raises, before `end` or while it stops.
    """
    ending = asyncio.create_task(end)
    await asyncio.wait({work, ending}, return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    if work.done():
        work.result()
    work.cancel()
    await asyncio.wait({work}, timeout=seconds)
    if work.done() and not work.cancelled():
        work.result()
    return work.done()


async def end_child(process: asyncio.subprocess.Process, seconds: float) -> None:
    """Close a child's stdin, which tells it to end, and wait; after so many seconds kill it."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
