"""The composition of the HTTP service: its routes, and the view they answer from.

One process reads the log into the serving view and answers from it; dumps are read where the dump
sink publishes them. It writes nothing into the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version

import structlog
from starlette.routing import BaseRoute

from pypistream.children.sinks_work import opened
from pypistream.data_dir import DataDir
from pypistream.settings import Settings
from schemas.errors import PypistreamError, Retriable
from sinks.feed import Feed
from sinks.http import changes, openapi, queries, versions
from sinks.http.app import Front
from sinks.http.dumps import Dumps
from sinks.http.metrics import Metrics
from sinks.http.observed import Observed, Requests
from sinks.http.page.endpoint import Pages
from sinks.http.page.refusal import refusal
from sinks.http.projects import Projects
from sinks.http.server import serve_app
from sinks.http.simple import SimpleIndex
from sinks.http.sql import SqlConsole
from sinks.http.status import Health, StatusPages
from sinks.http.streams import endpoint as streams
from sinks.http.streams.endpoint import Streams
from sinks.http.xmlrpc import calls as xmlrpc_calls
from sinks.serving.reader import ServingLibrary
from sinks.serving.view import ServingView
from streams.clock import SystemClock
from streams.log import Log
from streams.masking import MaskedLog
from streams.progress import read_progress

ROLE = "serve"
APPLY_SECONDS = 0.2  # between two cuts that are served
REST_SECONDS_MAX = 10.0  # for the event loop to close its transaction: one call of an endpoint
SERVING_DIRECTORY = "serving"  # under `state`: lists that are sent from files

log_ = structlog.get_logger("serve")


@dataclass
class Service:
    """What is served, and from where; made by `serve` and closed with its exit stack."""

    log: Log
    library: ServingLibrary
    feed: Feed
    streams: Streams
    data: DataDir
    sql: SqlConsole
    hosts: Sequence[str]
    told: bool = False
    clock: SystemClock = field(default_factory=SystemClock)

    def app(self) -> Observed:
        """The application. `told`: log a line for each request."""
        requests = Requests()
        routes = self.routes(requests)
        front = Front(self.library, routes, self.hosts, partial(refusal, sql=self.sql.on))
        return Observed(front, routes, requests, told=self.told, shortcut=front.quick)

    def routes(self, requests: Requests) -> list[BaseRoute]:
        """The routes of every part."""
        data = self.data
        dumps, lists = Dumps(data.dumps), data.state / SERVING_DIRECTORY
        pages = StatusPages(
            self.library, self.health, dumps.newest, time.time, version("pypistream")
        )
        return [
            *queries.routes(self.library),  # matched in this order, so the most frequent come first
            *pages.routes(),
            *Projects(self.library).routes(),
            *versions.routes(self.library),
            *xmlrpc_calls.routes(self.library),
            *streams.routes(self.streams),
            *changes.routes(self.streams),
            *SimpleIndex(self.library, lists, self.clock).routes(),
            *dumps.routes(),
            *self.sql.routes(),
            *openapi.routes(version("pypistream")),
            *Metrics(pages, self.streams, requests, data.state, data.snapshot, time.time).routes(),
            *Pages(self.library, pages.status, dumps.newest, sql=self.sql.on).routes(),
        ]

    def health(self) -> Health:
        """How the reading goes."""
        return Health(self.feed.counters.trouble, self.feed.counters.resets)


async def serve(
    settings: Settings,
    data: DataDir,
    listener: socket.socket,
    *,
    hosts: Sequence[str] = (),
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve on a bound socket until cancelled.

    Raises DataDirectoryInUse, what opening the log raises, and what ends the reading of it.
    """
    async with AsyncExitStack() as stack:
        stack.callback(data.hold(ROLE).release)
        log = MaskedLog.of(await opened(settings, data))
        stack.push_async_callback(log.close)
        service = await _service(stack, log, data, hosts, settings)
        app, closing = service.app(), service.streams.close
        roles = [
            asyncio.create_task(service.feed.run()),
            asyncio.create_task(service.streams.run()),
            asyncio.create_task(
                serve_app(app, listener, quick=app.quick, ready=ready, stopping=closing)
            ),
        ]
        try:
            done, _ = await asyncio.wait(roles, return_when=asyncio.FIRST_COMPLETED)
            for role in done:
                role.result()
        finally:
            # The server last: it lets answers in progress finish.
            for role in reversed(roles):
                role.cancel()
                await asyncio.wait([role])


async def _service(
    stack: AsyncExitStack, log: Log, data: DataDir, hosts: Sequence[str], settings: Settings
) -> Service:
    loop = asyncio.get_running_loop()

    def rest() -> None:  # in the sink's thread
        with contextlib.suppress(TimeoutError):  # a checkpoint that finds readers does less
            asyncio.run_coroutine_threadsafe(_rest(library), loop).result(REST_SECONDS_MAX)

    view = ServingView(data.state, rest, settings.keep_removed)
    library = ServingLibrary(data.state, view.suspect)
    stack.callback(library.close)
    await _serve_what_is_there(log, library)
    feed = Feed(
        log,
        view,
        SystemClock(),
        publish_every_seconds=0,
        apply_every_seconds=APPLY_SECONDS,
        on_published=lambda _: library.renew(),
    )
    await stack.enter_async_context(feed)
    console = SqlConsole(data.snapshot, data.state, time.monotonic, on=settings.sql)
    return Service(
        log, library, feed, Streams(log, library), data, console, hosts, settings.http_log
    )


async def _rest(library: ServingLibrary) -> None:
    library.rest()


async def _serve_what_is_there(log: Log, library: ServingLibrary) -> None:
    """Serve what an earlier process left until the feed has caught up, if it is of this log."""
    try:
        library.renew()
        view, config = library.view(), (await read_progress(log)).config
        if view is not None and (config is None or config.log_id != view.vector.log_id):
            library.close()
    except Retriable as error:
        log_.warning("the log does not answer yet", error=str(error))
        library.close()
    except PypistreamError as error:  # damaged: the sink will notice, too, and rebuild it
        log_.warning("the serving view cannot be read", error=str(error))
        library.close()
