"""Restarting a role: errors that pass are waited out, others end it after three in a row."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog

from schemas.errors import Fatal, LogFull, NoProgress, Retriable

RESTART_SECONDS = 5.0  # after a first failure; each further one in a row doubles it
DOUBLINGS_MAX = 2  # 20 s at most, so recovery is noticed soon
WELL_SECONDS = 60.0  # a role that lived this long did not fail to start
FAILURES_MAX = 3  # in a row without progress: such an error will not pass in this process

log_ = structlog.get_logger("roles")

T = TypeVar("T")
_PASSES = (Retriable, LogFull)


@dataclass
class Failures:
    """Counts one role's failures in a row. Pure: the outcome of each life is passed in."""

    first_seconds: float | None = None  # None = RESTART_SECONDS
    in_a_row: int = 0
    unforeseen: int = 0  # those among them that are not known to pass

    def wait(self, *, well: bool, passes: bool = False) -> float | None:
        """Seconds until the next restart, None = give up.

        `well`: there was progress before the failure. `passes`: the error is one that passes, such
        as a busy log or a full disk.
        """
        if well:
            self.in_a_row = self.unforeseen = 0
        self.in_a_row += 1
        self.unforeseen += not passes
        if self.unforeseen >= FAILURES_MAX:
            return None
        first = RESTART_SECONDS if self.first_seconds is None else self.first_seconds
        return first * 2.0 ** min(self.in_a_row - 1, DOUBLINGS_MAX)


def _loop_seconds() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Lives:
    """The lives of one role, from start to failure.

    `reached` returns a value that changes with progress, `now` the time in seconds.
    """

    name: str = ""
    reached: Callable[[], object] = bool
    now: Callable[[], float] = _loop_seconds
    foreseen_only: bool = False  # a programming error ends it at once
    _failures: Failures = field(init=False, default_factory=Failures)
    _begun: float = field(init=False, default=0.0)
    _from: object = field(init=False, default=None)

    def begins(self) -> None:
        """A life of the role begins."""
        self._begun, self._from = self.now(), self.reached()

    def failed(self, error: Exception) -> float:
        """Report a failure; seconds until the restart. Raises NoProgress, or what ends the role."""
        worst = worst_of(error)
        passes = isinstance(worst, _PASSES)
        if not passes and (self.foreseen_only or isinstance(worst, Fatal)):
            raise worst
        well = self.now() - self._begun >= WELL_SECONDS or self.reached() != self._from
        wait = self._failures.wait(well=well, passes=passes)
        told = {"role": self.name} if self.name else {}
        if passes:
            log_.warning("waiting", **told, error=str(worst), seconds=wait)
        else:
            log_.error("failed", **told, error=repr(worst), seconds=wait, exc_info=error)
        if wait is None:
            raise NoProgress(
                f"{self.name} failed {FAILURES_MAX} times in a row without progress: {worst!r}",
                hint="start this process again; if that ends so, too, report the lines above",
            ) from error
        return wait


async def restarting(role: Callable[[], Awaitable[None]]) -> None:
    """Run `role`, and again after an error that passes (a full disk); any other ends it."""
    await _again(role, Lives(foreseen_only=True))


async def supervised(
    name: str, role: Callable[[], Awaitable[None]], reached: Callable[[], object] = bool
) -> None:
    """Run `role`, and again after any error that is not Fatal.

    Raises NoProgress after three failures in a row without progress; errors that pass are not
    counted.
    """
    await _again(role, Lives(name, reached))


async def _again(role: Callable[[], Awaitable[None]], lives: Lives) -> None:
    while True:
        lives.begins()
        try:
            await isolated(role)
        except Exception as error:  # noqa: BLE001  # which of them may be gone on after, `failed` says
            wait = lives.failed(error)
        else:
            return
        await asyncio.sleep(wait)


async def isolated(role: Callable[[], Awaitable[T]]) -> T:
    """Run `role` in a task of its own.

    A task group that is cancelled while it fails raises its errors, and the cancellation is lost;
    before Python 3.13 it may also leave the task's cancellation count wrong. In a task of its own
    neither reaches the caller, who may catch those errors and go on.
    """
    task = asyncio.ensure_future(_awaited(role))
    try:
        await asyncio.wait([task])
    finally:
        await ended(task)
    return task.result()


async def ended(task: asyncio.Future[Any]) -> None:
    """Cancel a task that is not done, and wait for it.

    Its error is retrieved even if it had ended already: a caller that was itself cancelled at that
    moment never retrieves it, and asyncio would log it with a traceback.
    """
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


def worst_of(error: Exception) -> Exception:
    """The gravest error inside nested groups: one that ends a role, else one that does not pass."""
    if not isinstance(error, ExceptionGroup):
        return error
    return max(map(worst_of, error.exceptions), key=_weight)


def _weight(error: Exception) -> int:
    if isinstance(error, _PASSES):
        return 0
    return 2 if isinstance(error, Fatal) else 1
