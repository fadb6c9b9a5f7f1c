"""Where a task and those of its task groups wait: what the watchdog says before it cancels them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import FrameType
from typing import Any

_GROUP_WAITS = asyncio.TaskGroup.__aexit__.__code__
_LIBRARIES = ("asyncio", "aiokafka", "httpx", "httpcore", "anyio")  # whose lines say little


def waits(task: asyncio.Task[Any]) -> str:
    """`what it runs at module:line`, the innermost line of the program, for each task; one line."""
    return "; ".join(_lines(task))


def _lines(task: asyncio.Task[Any]) -> Iterator[str]:
    frames = list(_frames(task.get_coro()))
    ours = [frame for frame in frames if _module(frame).split(".")[0] not in _LIBRARIES]
    if ours:
        place = f"{_module(ours[-1]).rsplit('.')[-1]}:{ours[-1].f_lineno}"
        yield f"{ours[0].f_code.co_qualname} at {place}"
    for frame in frames:
        if frame.f_code is _GROUP_WAITS:
            for child in sorted(frame.f_locals["self"]._tasks, key=asyncio.Task.get_name):  # noqa: SLF001 (nothing public tells)
                yield from _lines(child)


def _frames(waiter: Any) -> Iterator[FrameType]:
    """Of what awaits what, from the outermost on, as far as they are coroutines."""
    while waiter is not None:
        frame = getattr(waiter, "cr_frame", None)
        if frame is not None:
            yield frame
        waiter = getattr(waiter, "cr_await", None)


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
