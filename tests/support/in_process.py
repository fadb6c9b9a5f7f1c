"""The pipeline in the test's own loop, for what takes a quarter of an hour of real patience."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from processors.decide import Patience
from pypistream.data_dir import DataDir
from pypistream.holding import SharedHold
from pypistream.run.pipeline import Pipeline
from pypistream.wiring import make_upstream, open_log
from schemas.errors import Retriable
from schemas.records import State
from streams.clock import SystemClock
from streams.progress import watermark
from tests.support.standin import Site
from tests.support.where import Where

SECONDS_MAX = 150.0
LOOK_SECONDS = 0.05


@dataclass
class InProcess:
    """A pipeline without sinks in the test's own loop, as quick of patience as is wanted."""

    pipeline: Pipeline
    patience: Patience

    @property
    def states(self) -> dict[str, State]:
        return {
            name: state
            for worker in self.pipeline.workers
            if worker.session
            for name, state in worker.session.agenda.states.items()
        }

    async def until(
        self, wanted: Callable[[], object], what: str, seconds_max: float = SECONDS_MAX
    ) -> None:
        """Wait for something true."""
        end = time.monotonic() + seconds_max
        while not wanted():
            assert time.monotonic() < end, f"no {what}: {self.pipeline.counts()}"
            await asyncio.sleep(LOOK_SECONDS)

    async def until_written(self) -> None:
        """Wait until the log has all that `states`, which come first, tell already."""
        await self.until(
            lambda: all(
                w.session and w.session.transactions.at_rest() for w in self.pipeline.workers
            ),
            "end of writing",
        )

    async def until_next_look(self) -> None:
        """As long as one waits between two looks."""
        await asyncio.sleep(LOOK_SECONDS)

    @property
    def mark(self) -> int | None:
        return watermark([worker.cut for worker in self.pipeline.workers]).serial


async def _begun(pipeline: Pipeline) -> None:
    """As whoever supervises a `run` would: again until upstream answers."""
    end = time.monotonic() + SECONDS_MAX
    while True:
        try:
            await pipeline.begin()
        except Retriable:
            assert time.monotonic() < end, "upstream never answered"
            await asyncio.sleep(LOOK_SECONDS)
        else:
            return


@asynccontextmanager
async def in_process(
    site: Site, data: Path, patience: Patience, where: Where
) -> AsyncIterator[InProcess]:
    """Run one until the block is left; all partitions are its own."""
    settings = where.settings(data, upstream=site.url, rate=0, poll=1, settle=0.2)
    log, clock = await open_log(settings, DataDir(data)), SystemClock()
    hold = SharedHold(log, clock)
    upstream = make_upstream(settings, hold.asked)
    pipeline = Pipeline(log, upstream, hold, clock, settings, backfill=True)
    await _begun(pipeline)
    for worker in pipeline.workers:
        worker.settings = replace(worker.settings, patience=patience)
    running = asyncio.create_task(pipeline.run())
    try:
        yield InProcess(pipeline, patience)
    finally:
        running.cancel()
        await asyncio.wait({running})
        await upstream.close()
        await log.close()
