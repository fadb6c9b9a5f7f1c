"""Beginning a role again after what passes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from schemas.errors import LogFull, Retriable

RESTART_SECONDS = 5.0  # a full disk or a busy log is looked at again this often

log_ = structlog.get_logger("roles")


async def restarting(role: Callable[[], Awaitable[None]]) -> None:
    """Run `role` again after what passes (a busy log, a full disk); any other error ends it."""
    while True:
        try:
            await role()
        except* (Retriable, LogFull) as group:
            log_.warning("waiting", error=str(first_of(group)), seconds=RESTART_SECONDS)
        else:
            return
        await asyncio.sleep(RESTART_SECONDS)


def first_of(error: BaseException) -> BaseException:
    """The first error inside nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
