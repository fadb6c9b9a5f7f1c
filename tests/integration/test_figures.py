"""What the process that fetches notes down for `/metrics`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import structlog

from processors.decide import Body, Failed, Failure, Missing, Unchanged, outcome_of
from processors.slots import Slots
from pypistream.restarts import ended
from pypistream.run import noting
from pypistream.run.processing import Means, Processing
from schemas.records import Config
from sinks.http.figures import Figures, read_figures
from streams.assignment import Everything
from streams.clock import SystemClock
from streams.memory_log import MemoryLog
from tests.support.scripted_upstream import ScriptedUpstream


def idle() -> Processing:
    """Workers that have not begun."""
    log, clock = MemoryLog(2), SystemClock()
    means = Means(log, ScriptedUpstream(), clock, Slots(4), Config("id", 2, 1), 0.0)
    means.outcomes.update({"document": 3, "missing": 1})
    return Processing(means, Everything(2))


def test_every_reply_has_a_name() -> None:
    """By kind; failures by their reason, without what upstream's words add to it."""
    replies = (Body(1, "h", "n", "e"), Unchanged(), Missing(), Failed("server-error: 503"))

    assert [outcome_of(reply) for reply in replies] == [
        "document", "unchanged", "missing", Failure.SERVER.value,
    ]  # fmt: skip


def test_workers_of_a_process_count_together() -> None:
    """A partition that comes or goes takes no count along: counters never fall."""
    processing = idle()
    for worker in processing.workers:
        worker.outcomes["document"] += 1
    processing.lags = {0: 5, 1: None}
    figures = noting.figures_of("run", 1.0, 2.0, processing)

    assert figures == Figures("run", 1.0, 2.0, {"document": 5, "missing": 1}, 0, 0, {0: 5})


async def test_they_are_kept_and_a_disk_that_refuses_is_said_once(tmp_path: Path) -> None:
    """A role goes on all the same: figures are no reason to end."""
    folder = tmp_path / "state"
    with structlog.testing.capture_logs() as said:
        role = asyncio.create_task(noting.noting("run", folder, idle(), every_seconds=0.001))
        try:
            async with asyncio.timeout(60):
                while not said:  # noqa: ASYNC110  # nobody tells
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0.01)
                folder.mkdir()
                while not read_figures(folder):  # noqa: ASYNC110  # nobody tells
                    await asyncio.sleep(0.001)
            assert not role.done()
        finally:
            await ended(cast("asyncio.Future[None]", role))

    assert [each["event"] for each in said] == ["figures for /metrics are not kept"]
    assert read_figures(folder)[0].fetches == {"document": 3, "missing": 1}
    assert [path.name for path in folder.iterdir()] == ["figures-run.json"]
