"""Running sinks: fed from the log, publishing periodically and on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial

import structlog

from pypistream.data_dir import DataDir
from pypistream.memory import collecting_seldom
from pypistream.requests import RequestWatch
from pypistream.settings import Settings
from pypistream.threads import giving_way
from pypistream.wiring import make_sink, make_tables, open_log_for_reading
from schemas.errors import Retriable
from sinks.dump.table_set import TableSets
from sinks.feed import Feed
from sinks.sink import Published
from streams.clock import SystemClock
from streams.log import Log

REQUEST_SECONDS = 0.5  # how soon a `pypistream dump` of another process is served
RETRY_SECONDS = 5.0  # after the log did not answer
# After each statement DuckDB's thread waits for the one that makes rows: a sixth of a rebuild.
SWITCH_SECONDS = 0.0005

log_ = structlog.get_logger("sinks")
Told = Callable[[str, Published], None]


class Sinks:
    """Made by `at_work`."""

    def __init__(self, log: Log, feeds: Mapping[str, Feed], tables: TableSets) -> None:
        self._feeds = feeds
        self._roles = [asyncio.create_task(feed.run()) for feed in feeds.values()]
        self._roles.append(asyncio.create_task(_serve_requests(log, feeds, tables)))

    async def until(self, *ends: asyncio.Task[bytes]) -> None:
        """Wait until one of `ends` is done; raises what ends a sink before that."""
        await asyncio.wait((*self._roles, *ends), return_when=asyncio.FIRST_COMPLETED)
        for role in self._roles:
            if role.done():
                role.result()

    async def finish(self) -> None:
        """Let every sink catch up and publish."""
        await asyncio.gather(*(feed.finish() for feed in self._feeds.values()))

    async def stop(self) -> None:
        """End the feeding; a sink's call that is under way is waited for."""
        for role in self._roles:
            role.cancel()
        await asyncio.wait(self._roles)


@contextmanager
def many_records() -> Iterator[None]:
    """Tune this process for millions of records: 28 s of a rebuild become 22."""
    with collecting_seldom(), giving_way(SWITCH_SECONDS):
        yield


@asynccontextmanager
async def at_work(
    settings: Settings, data: DataDir, periods: Mapping[str, float], told: Told
) -> AsyncIterator[Sinks]:
    """The sinks named in `periods` (seconds between publications) until the block is left.

    Holds their roles on the directory. Raises DataDirectoryInUse, what opening the log raises.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(many_records())
        for name in periods:
            stack.callback(data.hold(f"sink-{name}").release)
        log = await opened(settings, data)
        stack.push_async_callback(log.close)
        feeds: dict[str, Feed] = {}
        tables = make_tables(data, settings)
        for name, period in periods.items():
            feed = Feed(
                log,
                make_sink(name, data, settings, tables),
                SystemClock(),
                publish_every_seconds=period,
                on_published=partial(told, name),
            )
            feeds[name] = await stack.enter_async_context(feed)
        sinks = Sinks(log, feeds, tables)
        stack.push_async_callback(sinks.stop)
        yield sinks


async def opened(settings: Settings, data: DataDir) -> Log:
    """Open the log; brokers that do not answer yet are waited for."""
    while True:
        try:
            return await open_log_for_reading(settings, data)
        except Retriable as error:
            log_.warning("waiting for the log", error=str(error), seconds=RETRY_SECONDS)
        await asyncio.sleep(RETRY_SECONDS)


async def _serve_requests(log: Log, feeds: Mapping[str, Feed], tables: TableSets) -> None:
    """Publish when another process asks for it through the log."""
    async with RequestWatch(log) as watch:
        while True:
            try:
                for name in await watch.sinks(REQUEST_SECONDS):
                    if name in feeds:
                        if name == "dump":
                            tables.ask()
                        await feeds[name].finish()
            except Retriable as error:
                log_.warning("requests are not heard", error=str(error), seconds=RETRY_SECONDS)
                await asyncio.sleep(RETRY_SECONDS)
