"""Every role of a `run` that fails is begun anew; three times in a row in vain end it, exit 75."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import structlog

from processors.metadata import Worker
from producers.changelog import ChangelogProducer
from producers.reconcile import Reconciler
from producers.sweeper import Sweeper
from pypistream.cli import EXIT_GAVE_UP
from pypistream.holding import SharedHold
from pypistream.restarts import FAILURES_MAX, first_of
from pypistream.run import noting
from pypistream.run.pipeline import Pipeline
from pypistream.run.processing import Processing
from pypistream.settings import Settings
from schemas.errors import NoProgress
from schemas.topics import Topic
from streams.assignment import Everything
from streams.memory_log import MemoryLog
from streams.rules import RulesWatch
from tests.support import virtual_time
from tests.support.history import records_of
from tests.support.scripted_upstream import ScriptedUpstream, document
from tests.support.standin import standin
from tests.support.virtual_time import WarpClock

ROLES: dict[str, tuple[Any, str]] = {
    "hold": (SharedHold, "run"),
    "produce": (ChangelogProducer, "run"),
    "worker 0": (Worker, "run"),
    "assignment": (Everything, "run"),
    "watchdog": (Processing, "_look"),
    "rules": (RulesWatch, "look"),
    "backfill": (Reconciler, "run"),
    "sweep": (Sweeper, "run"),
    "cleaning": (MemoryLog, "clean"),
    "figures": (noting, "figures_of"),
}
BROKEN_RUN = """
import sys
from unittest import mock
from pypistream import restarts
from pypistream.cli import invoke
from streams.sqlite_log import SqliteLog
restarts.RESTART_SECONDS = 0.01
with mock.patch.object(SqliteLog, "clean", side_effect=ZeroDivisionError("planted")):
    sys.exit(invoke(sys.argv[1:]))
"""


class Failing:
    """In the place of what a role does: fails so many times, then does it."""

    def __init__(self, real: Callable[..., Any], times: int) -> None:
        self.real, self.times, self.calls = real, times, 0

    def __get__(self, instance: object, owner: type) -> Callable[..., Any]:
        """As a method does, it gets the object it is called on."""
        return lambda *given, **named: self(instance, *given, **named)

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.calls += 1
        if self.calls <= self.times:
            raise ZeroDivisionError("planted")
        return self.real(*given, **named)


def failing(role: str, times: int) -> Any:
    """The role fails so many times."""
    owner, name = ROLES[role]
    return mock.patch.object(owner, name, Failing(getattr(owner, name), times))


async def run(folder: Path, wanted: Callable[[MemoryLog], Any]) -> None:
    """A pipeline of all roles, and what keeps its figures, until `wanted` or one of them ends."""
    upstream, clock = ScriptedUpstream(), WarpClock()
    for serial in range(1, 11):
        upstream.row(serial, f"project-{serial}", "new release", "1.0")
        upstream.script(f"project-{serial}", document(f"project-{serial}", serial))
    upstream.map_serial = 10
    log = MemoryLog(1, now_ms=clock.now_ms)
    hold = SharedHold(log, clock)
    settings = Settings(settle=0)
    pipeline = Pipeline(log, upstream, hold, clock, settings, backfill=True)
    await pipeline.begin()

    async def together() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pipeline.run())
            tasks.create_task(noting.noted("run", folder, pipeline.processing))

    roles, seen = asyncio.create_task(together()), asyncio.create_task(wanted(log))
    try:
        await asyncio.wait({roles, seen}, return_when=asyncio.FIRST_COMPLETED)
        if roles.done():
            roles.result()
    finally:
        for task in (roles, seen):
            task.cancel()
        await asyncio.wait({roles, seen})


async def all_published(log: MemoryLog) -> None:
    """And whatever failed has had the time to be begun anew."""
    while len(await records_of(log, Topic.METADATA)) < 10:  # noqa: ASYNC110  the time is virtual
        await asyncio.sleep(1)
    await asyncio.sleep(60)


async def never(log: MemoryLog) -> None:
    """Wait for ever."""
    del log
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("role", ROLES)
def test_a_role_that_fails_twice_is_begun_anew(role: str, tmp_path: Path) -> None:
    """Each time a line names it and the error; what there was to do is done."""
    with structlog.testing.capture_logs() as lines, failing(role, FAILURES_MAX - 1) as planted:
        virtual_time.run(run(tmp_path, all_published))

    assert planted.calls >= FAILURES_MAX
    told = [line for line in lines if line["event"] == "failed"]
    assert [line["role"] for line in told] == [role] * (FAILURES_MAX - 1)
    assert {line["error"] for line in told} == {"ZeroDivisionError('planted')"}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_that_fails_a_third_time_in_a_row_ends_all(role: str, tmp_path: Path) -> None:
    """No other role keeps the process alive without it."""
    with failing(role, 1_000) as planted, pytest.raises(BaseExceptionGroup) as caught:
        virtual_time.run(run(tmp_path, never))

    error = first_of(caught.value)
    assert isinstance(error, NoProgress)
    assert f"{role} failed {FAILURES_MAX} times in a row" in str(error)
    assert planted.calls == FAILURES_MAX


async def test_a_run_whose_role_fails_each_time_ends_with_exit_75(tmp_path: Path) -> None:
    """The whole program: three lines with their tracebacks, the reason at the end, what is next."""
    with standin(projects=3) as site:
        arguments = ("run", "--data", str(tmp_path / "data"), "--upstream", site.url, "--rate", "0")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", BROKEN_RUN, *arguments, stderr=asyncio.subprocess.PIPE
        )
        _, said = await process.communicate()

    text = said.decode()
    assert process.returncode == EXIT_GAVE_UP == 75, text
    assert text.count('"event":"failed","role":"cleaning"') == FAILURES_MAX, text
    assert "Traceback" in text
    assert "Error: cleaning failed 3 times in a row without progress: ZeroDivision" in text
    assert "\nNext:  start this process again" in text
