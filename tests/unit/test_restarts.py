"""A role that fails is begun anew and says so; what does not pass ends it."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from pypistream import restarts
from pypistream.restarts import RESTART_SECONDS, isolated, restarting
from schemas.errors import LogCorrupt, LogFull
from streams.log import LogUnavailable
from tests.support import virtual_time


class Role:
    """Fails with each of `errors`, one a life; then it comes to its end."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.begun: list[float] = []

    async def run(self) -> None:
        """One life."""
        self.begun.append(asyncio.get_running_loop().time())
        if self.errors:
            raise self.errors.pop(0)


def test_what_passes_is_waited_for_and_told() -> None:
    """A full disk and a log that is away, alone or in a group: a new life each, a line each."""
    group = ExceptionGroup("two tasks", [LogFull("no space"), LogUnavailable("busy")])
    role = Role(LogUnavailable("away"), LogFull("full"), group)

    with structlog.testing.capture_logs() as lines:
        virtual_time.run(restarting(role.run))

    assert role.begun == [0.0, RESTART_SECONDS, 2 * RESTART_SECONDS, 3 * RESTART_SECONDS]
    assert [line["error"] for line in lines] == ["away", "full", "no space"]
    assert {line["event"] for line in lines} == {"waiting"}


@pytest.mark.parametrize("error", [LogCorrupt("damaged"), ZeroDivisionError()])
def test_what_does_not_pass_ends_the_role(error: Exception) -> None:
    """Beside an error that would pass, too."""
    role = Role(ExceptionGroup("two tasks", [LogUnavailable("away"), error]))

    with pytest.raises(BaseExceptionGroup) as caught:
        virtual_time.run(restarting(role.run))

    assert restarts.first_of(caught.value) is error
    assert len(role.begun) == 1


def test_a_role_that_is_cancelled_while_it_fails_is_not_begun_again() -> None:
    """The cancel reaches whoever runs it, though the role ends with an error of its own."""

    async def failing() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            raise LogUnavailable("while it was closed")

    async def main() -> asyncio.Task[None]:
        task = asyncio.create_task(restarting(failing))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        return task

    assert virtual_time.run(main()).cancelled()


def test_an_isolated_role_gives_its_result() -> None:
    """And raises its own error."""

    async def answer() -> int:
        return 42

    async def broken() -> int:
        raise LogFull("full")

    assert virtual_time.run(isolated(answer)) == 42
    with pytest.raises(LogFull):
        virtual_time.run(isolated(broken))
