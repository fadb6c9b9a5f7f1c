"""A role that fails is begun anew and says so; what does not pass, or fails for ever, ends it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from pypistream.restarts import (
    DOUBLINGS_MAX,
    FAILURES_MAX,
    RESTART_SECONDS,
    WELL_SECONDS,
    Failures,
    Lives,
    isolated,
    restarting,
    supervised,
    worst_of,
)
from schemas.errors import LogCorrupt, LogFull, MalformedRow, NoProgress, WriterFenced
from streams.log import LogUnavailable
from tests.support import virtual_time

FIRST, SECOND, LAST = (RESTART_SECONDS * 2**n for n in (0, 1, DOUBLINGS_MAX))


class Role:
    """Fails with each of `errors`, one a life; then it comes to its end."""

    def __init__(self, *errors: Exception, lives_seconds: float = 0.0) -> None:
        self.errors = list(errors)
        self.begun: list[float] = []
        self.done = 0
        self.lives_seconds = lives_seconds

    async def run(self) -> None:
        """One life."""
        self.begun.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.lives_seconds)
        if self.errors:
            raise self.errors.pop(0)

    async def work(self) -> None:
        """One life in which something is done."""
        self.done += 1
        await self.run()


def lines_of(role: Callable[[], Any]) -> list[Any]:
    """What is said while it runs in virtual time, to its good end."""
    with structlog.testing.capture_logs() as lines:
        virtual_time.run(role())
    return lines


def test_what_passes_is_waited_for_ever_longer_and_told() -> None:
    """A full disk and a log that is away, alone or in a group: a new life each, a line each."""
    group = ExceptionGroup("two tasks", [LogFull("no space"), LogUnavailable("busy")])
    role = Role(LogUnavailable("away"), LogFull("full"), group, LogFull("full"))

    lines = lines_of(lambda: restarting(role.run))

    waits = [FIRST, SECOND, LAST, LAST]
    assert role.begun == [sum(waits[:n]) for n in range(5)]
    assert [line["seconds"] for line in lines] == waits
    assert [line["error"] for line in lines] == ["away", "full", "no space", "full"]
    assert {line["event"] for line in lines} == {"waiting"}


@pytest.mark.parametrize("error", [LogCorrupt("damaged"), ZeroDivisionError()])
def test_what_does_not_pass_ends_the_role(error: Exception) -> None:
    """Beside an error that would pass, too."""
    role = Role(ExceptionGroup("two tasks", [LogUnavailable("away"), error]))

    with pytest.raises(type(error)):
        virtual_time.run(restarting(role.run))

    assert len(role.begun) == 1


def test_a_supervised_role_is_begun_again_after_what_nobody_foresaw() -> None:
    """The line names the role and the error, and has the traceback."""
    role = Role(ZeroDivisionError("a bug"), MalformedRow("let through"))

    lines = lines_of(lambda: supervised("sweep", role.run))

    assert role.begun == [0.0, FIRST, FIRST + SECOND]
    assert [(line["event"], line["role"]) for line in lines] == [("failed", "sweep")] * 2
    assert lines[0]["error"] == "ZeroDivisionError('a bug')"
    assert all(line["exc_info"] for line in lines)


def test_the_third_time_without_progress_ends_it() -> None:
    """The text says which role, how often and why."""
    role = Role(*[ZeroDivisionError("a bug")] * 9)

    with (
        structlog.testing.capture_logs() as lines,
        pytest.raises(NoProgress, match=r"sweep failed 3 times .*a bug") as caught,
    ):
        virtual_time.run(supervised("sweep", role.run))

    assert caught.value.hint
    assert len(role.begun) == len(lines) == FAILURES_MAX


def test_progress_begins_the_count_anew() -> None:
    """As often as there is some: what was done counts, and so does a long life."""
    bugs = [ZeroDivisionError("a bug")] * 9
    busy, calm = Role(*bugs), Role(*bugs, lives_seconds=WELL_SECONDS)

    lines = lines_of(lambda: supervised("busy", busy.work, lambda: busy.done))
    lines += lines_of(lambda: supervised("calm", calm.run))

    assert [line["seconds"] for line in lines] == [FIRST] * 18


def test_a_fatal_error_ends_a_supervised_role_at_once() -> None:
    """Going on would lose or damage something, whatever else failed beside it."""
    role = Role(ExceptionGroup("g", [KeyError("k"), WriterFenced("taken"), LogFull("full")]))

    with pytest.raises(WriterFenced):
        virtual_time.run(supervised("produce", role.run))

    assert len(role.begun) == 1


def test_errors_that_pass_neither_count_nor_excuse() -> None:
    """A full disk is waited for without end; two bugs before and a third after it are three."""
    failures = Failures()
    assert [failures.wait(well=False) for _ in range(2)] == [FIRST, SECOND]
    assert {failures.wait(well=False, passes=True) for _ in range(100)} == {LAST}
    assert failures.wait(well=False) is None


def test_how_long_a_life_was_is_told_by_the_clock_that_is_given() -> None:
    """A second less than long enough is a failure in a row, a second more is none."""
    now = [0.0]
    lives = Lives("sweep", now=lambda: now[0])
    seconds = []
    for lived in (1.0, WELL_SECONDS - 1, WELL_SECONDS, WELL_SECONDS - 1):
        lives.begins()
        now[0] += lived
        seconds.append(lives.failed(KeyError("k")))
        if lived == WELL_SECONDS - 1:
            now[0] += 1_000  # how long nobody was there says nothing

    assert seconds == [FIRST, SECOND, FIRST, SECOND]


def test_the_worst_of_a_group_is_what_is_told() -> None:
    """However deep it lies."""
    passing, bug, end = LogFull("full"), KeyError("k"), LogCorrupt("damaged")

    assert worst_of(ExceptionGroup("g", [passing, ExceptionGroup("h", [bug, passing])])) is bug
    assert worst_of(ExceptionGroup("g", [bug, ExceptionGroup("h", [end])])) is end
    assert worst_of(passing) is passing


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


@pytest.mark.parametrize("turns", range(5))
def test_nothing_is_told_of_a_role_that_failed_as_its_caller_was_cancelled(turns: int) -> None:
    """Whichever came first: where a disk fails, all roles fail at once, and one error is enough."""
    told: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        fails = asyncio.Event()

        async def broken() -> None:
            await fails.wait()
            raise LogFull("full")

        caller = asyncio.create_task(isolated(broken))
        await asyncio.sleep(1)
        fails.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        caller.cancel()
        await asyncio.wait([caller])
        assert caller.cancelled() or isinstance(caller.exception(), LogFull)
        del caller
        gc.collect()

    virtual_time.run(main())

    assert [] == told
