"""Beginning a role again after what passes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog

from schemas.errors import LogFull, Retriable

RESTART_SECONDS = 5.0  # a full disk or a busy log is looked at again this often

log_ = structlog.get_logger("roles")

T = TypeVar("T")


async def restarting(role: Callable[[], Awaitable[None]]) -> None:
    """Run `role` again after what passes (a busy log, a full disk); any other error ends it."""
    while True:
        try:
            await isolated(role)
        except* (Retriable, LogFull) as group:
            log_.warning("waiting", error=str(first_of(group)), seconds=RESTART_SECONDS)
        else:
            return
        await asyncio.sleep(RESTART_SECONDS)


async def isolated(role: Callable[[], Awaitable[T]]) -> T:
    """Run `role` in a task of its own.

    A task group that is cancelled while it fails raises its errors, and the cancel is lost; before
    Python 3.13 it may leave traces in the count of cancels, too. Here neither reaches the caller,
    who may catch those errors and go on.
    """
    task = asyncio.ensure_future(_awaited(role))
    try:
        await asyncio.wait([task])
    finally:
        await ended(task)
    return task.result()


async def ended(task: asyncio.Future[Any]) -> None:
    """Cancel a task that is not done, and wait for it; its error then does not matter any more."""
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()


async def _awaited(role: Callable[[], Awaitable[T]]) -> T:
    return await role()


def first_of(error: BaseException) -> BaseException:
    """The first error inside nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
