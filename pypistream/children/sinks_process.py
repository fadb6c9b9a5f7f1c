"""The sinks of a data directory in a process of their own: the child of a `run`.

Reads its stdin: `finish` = catch up, publish, end; end of file = the parent is gone, end now.
Writes one JSON object a line to stdout: `{"sink", "event": "published", "path", "bytes"}`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping

import orjson

from pypistream.children.sinks_work import at_work
from pypistream.children.told import stdin_reader
from pypistream.logs import log_to_stderr
from pypistream.place import located
from sinks.sink import Published

FINISH = b"finish"
NICE = 5  # where cores are scarce, fetching and committing come first


def run_child(given: Mapping[str, object]) -> int:
    """Run both sinks; the exit code."""
    log_to_stderr()
    os.nice(NICE)
    return asyncio.run(_run(given))


async def _run(given: Mapping[str, object]) -> int:
    """Feed the sinks until the parent says `finish` or is gone, or until one fails."""
    settings, data = located(given)
    periods = {"duckdb": settings.snapshot_every, "dump": settings.dump_every}
    async with at_work(settings, data, periods, _tell) as sinks:
        word = asyncio.create_task(last_word())
        try:
            await sinks.until(word)
            if word.result() == FINISH:
                await sinks.finish()
        finally:
            word.cancel()
    return 0


async def last_word() -> bytes:
    """`finish` once the parent says so, b"" when it is gone."""
    return (await (await stdin_reader()).readline()).strip()


def _tell(name: str, published: Published) -> None:
    event = {
        "sink": name,
        "event": "published",
        "path": str(published.path),
        "bytes": published.bytes,
        "watermark": published.watermark,
    }
    sys.stdout.buffer.write(orjson.dumps(event) + b"\n")
    sys.stdout.buffer.flush()
