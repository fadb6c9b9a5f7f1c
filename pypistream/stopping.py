"""How commands are ended: by Ctrl-C or SIGTERM, with what they hold closed and exit 0."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import Any

from pypistream.cli import EXIT_INTERRUPTED
from pypistream.terminal import ReaderGone

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_until_stopped(work: Coroutine[Any, Any, int]) -> int:
    """Run `work`; its exit code, or 0 if it was ended by a signal or nobody reads its output."""
    try:
        return asyncio.run(_cancelled_by_signals(work))
    except (KeyboardInterrupt, asyncio.CancelledError, ReaderGone):
        return 0


async def _cancelled_by_signals(work: Coroutine[Any, Any, int]) -> int:
    task = asyncio.current_task()
    if task is None:
        raise AssertionError("a coroutine runs in a task")
    # By the loop: asyncio.run's own handler cancels in the middle of whatever is running just
    # then, also between "is this future done?" and "then set its result".
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await work


def stop_on_signals() -> asyncio.Event:
    """Set by the first Ctrl-C or SIGTERM; the second ends the process at once."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(EXIT_INTERRUPTED)
        stop.set()

    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    return stop
