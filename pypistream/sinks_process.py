"""The sinks of a data directory in a process of their own: the child of a `run`.

Reads its stdin: `finish` = catch up, publish, end; end of file = the parent is gone, end now.
Writes one JSON object a line to stdout: `{"sink", "event": "published", "path", "bytes"}`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial

import orjson

from pypistream.data_dir import DataDir
from pypistream.logs import log_to_stderr
from pypistream.place import located
from pypistream.requests import latest_request
from pypistream.settings import Settings
from pypistream.wiring import make_sink, open_log_for_reading
from sinks.feed import Feed
from sinks.sink import Published
from streams.clock import SystemClock
from streams.log import Log

REQUEST_SECONDS = 0.5  # how soon a `pypistream dump` from another process is heard
FINISH = b"finish"
NICE = 5  # fetching and committing come first where there are not enough cores


def run_child(given: Mapping[str, object]) -> int:
    """Run both sinks; the exit code."""
    log_to_stderr()
    os.nice(NICE)
    settings, data = located(given)
    periods = {"duckdb": settings.snapshot_every, "dump": settings.dump_every}
    return asyncio.run(_run(settings, data, periods))


async def _run(settings: Settings, data: DataDir, periods: Mapping[str, float]) -> int:
    locks = [data.hold(f"sink-{name}") for name in periods]
    log = await open_log_for_reading(settings, data)
    try:
        async with AsyncExitStack() as stack:
            feeds = {
                name: await stack.enter_async_context(_feed(log, data, name, period))
                for name, period in periods.items()
            }
            await _work(log, feeds)
    finally:
        await log.close()
        for lock in locks:
            lock.release()
    return 0


def _feed(log: Log, data: DataDir, name: str, period: float) -> Feed:
    sink = make_sink(name, data)
    told = partial(_tell, name)
    return Feed(log, sink, SystemClock(), publish_every_seconds=period, on_published=told)


async def _work(log: Log, feeds: Mapping[str, Feed]) -> None:
    """Feed the sinks until the parent says to finish or is gone, or until one fails."""
    roles = [asyncio.create_task(feed.run()) for feed in feeds.values()]
    roles.append(asyncio.create_task(_serve_requests(log, feeds)))
    word = asyncio.create_task(_last_word())
    try:
        await asyncio.wait((*roles, word), return_when=asyncio.FIRST_COMPLETED)
        for role in roles:
            if role.done():
                role.result()
        if word.result() == FINISH:
            await asyncio.gather(*(feed.finish() for feed in feeds.values()))
    finally:
        for task in (*roles, word):
            task.cancel()
        await asyncio.wait((*roles, word))


async def _last_word() -> bytes:
    """`finish` once the parent says so, b"" when it is gone."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return (await reader.readline()).strip()


async def _serve_requests(log: Log, feeds: Mapping[str, Feed]) -> None:
    """Publish when another process asks for it through the log."""
    seen = await latest_request(log)
    while True:
        await asyncio.sleep(REQUEST_SECONDS)
        request = await latest_request(log)
        if request is not None and request != seen:
            seen = request
            if request.sink in feeds:
                await feeds[request.sink].finish()


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
