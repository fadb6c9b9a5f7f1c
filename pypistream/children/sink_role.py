"""`pypistream sink NAME`: one sink as a process of its own, for as long as nobody stops it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping

from pypistream.children.sinks_work import at_work
from pypistream.data_dir import DataDir
from pypistream.health.status_page import size
from pypistream.logs import log_to_stderr, say
from pypistream.place import located
from pypistream.settings import Settings
from pypistream.stopping import drained, stop_on_signals
from pypistream.wiring import require_log
from schemas.codec import rfc3339
from sinks.sink import Published

STOP_SECONDS = 8.0  # a drained stop takes 10 s in all; what is under way may take minutes


def sink(given: Mapping[str, object], name: str) -> int:
    """Run the sink until SIGTERM or Ctrl-C; the exit code."""
    log_to_stderr()
    return asyncio.run(_sink(given, name))


async def _sink(given: Mapping[str, object], name: str) -> int:
    settings, data = located(given)
    data = data.absolute()
    require_log(settings, data)
    data.create()
    data.store(settings.stored())
    stop = stop_on_signals()
    say(f"sink {name}: log {settings.kafka or data.log}  data {data.root}", "sink")
    working = asyncio.create_task(_work(settings, data, name))
    if not await drained(working, stop.wait(), STOP_SECONDS):
        say(
            f"sink {name}: stopped in the middle of its work, which the next start does again",
            "sink",
        )
        os._exit(0)  # as safe as kill -9: files appear whole, position and effect together
    say(f"sink {name}: stopped; the next start goes on from there", "sink")
    return 0


async def _work(settings: Settings, data: DataDir, name: str) -> None:
    period = settings.snapshot_every if name == "duckdb" else settings.dump_every
    async with at_work(settings, data, {name: period}, _tell) as sinks:
        await sinks.until()


def _tell(name: str, published: Published) -> None:
    mark = "null" if published.watermark is None else f"{published.watermark:,}"
    say(
        f"{rfc3339(time.time())} sink {name}: published {published.path},"
        f" {size(published.bytes)}, watermark {mark}",
        "sink",
    )
