"""The stand-in as an ASGI application: routes, counting, faults, then the right answer."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import parse_qsl

from upstream.standin.control import Control
from upstream.standin.corpus import make_corpus
from upstream.standin.faults import Faults
from upstream.standin.http_types import (
    Answer,
    Exchange,
    Receive,
    Request,
    Route,
    Scope,
    Send,
    plain,
)
from upstream.standin.living import Living
from upstream.standin.rpc import parse_call
from upstream.standin.settings import StandinSettings
from upstream.standin.site import Site
from upstream.standin.stats import ConnectionWatch, Stats
from upstream.standin.vocabulary import normalized
from upstream.standin.world import Clock, World

BODY_BYTES_MAX = 1 << 20  # of a request; the largest real call has a few hundred bytes
EXTENSION = "standin.connection"  # in `scope["extensions"]`: (transport, ConnectionWatch)
_TOO_LARGE = 413


class Standin:
    """One stand-in: a world that lives, what is wrong with it, and what was asked of it."""

    def __init__(
        self, settings: StandinSettings, world: World, clock: Clock = time.monotonic
    ) -> None:
        self.settings = settings
        self.world = world
        self.site = Site(world, settings)
        self.faults = Faults(settings.seed, clock)
        self.stats = Stats(settings.request_log, clock)
        self.living = Living(world, settings.changes_per_second)
        self.control = Control(self.site, self.faults, self.stats, self.living)
        self._latency = settings.latency_ms / 1000
        for specification in settings.faults:
            self.faults.add(specification, self.site)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            message = f"{scope['type']} is not served"
            raise RuntimeError(message)
        request = parse(scope)
        transport, watch = (scope.get("extensions") or {}).get(EXTENSION, (None, None))
        exchange = Exchange(receive, send, transport)
        if request.route == "control":
            request.body = await read_body(receive) or b""
            await self.control.handle(request, exchange)
            return
        await self._counted(request, exchange, watch)

    async def _counted(
        self, request: Request, exchange: Exchange, watch: ConnectionWatch | None
    ) -> None:
        if watch is not None:
            watch.used(request)
        self.stats.begin(request)
        began = asyncio.get_running_loop().time()
        status, fault = 0, ""
        try:
            if request.method == "POST" and not await self._take_call(request, exchange):
                status = _TOO_LARGE
                return
            answer = None
            if self.faults.active:
                spoilt = self.faults.answer(request, self.site)
                if spoilt is not None:
                    answer, fault = spoilt
            if answer is None:
                answer = self.site.answer(request)
            await self._wait_until(began + self._latency)
            if answer.retry_after is not None:  # before it leaves: who reads it may be quicker
                self.stats.told_to_wait(request, answer.retry_after)
            if answer.deliver is not None:
                await answer.deliver(exchange, answer)
            else:
                await plain(exchange, answer, head=request.method == "HEAD")
            status = answer.status
        finally:
            self.stats.end(request, status, fault)

    async def _wait_until(self, due: float) -> None:
        """An answer takes `latency_ms` in all: what making it took is part of that."""
        wait = due - asyncio.get_running_loop().time()
        if wait > 0:
            await asyncio.sleep(wait)

    async def _take_call(self, request: Request, exchange: Exchange) -> bool:
        """Read the body of an XML-RPC call; answers 413 itself and returns False if too large."""
        body = await read_body(exchange.receive)
        if body is None:
            await plain(exchange, Answer(_TOO_LARGE))
            return False
        request.body = body
        if request.route == "xmlrpc":
            try:
                request.call = parse_call(body)[0]
            except Exception:  # noqa: BLE001 - whatever was sent: the route answers with a fault
                request.call = "?"
        return True

    def close(self) -> None:
        """Give the files back."""
        self.world.close()


async def read_body(receive: Receive) -> bytes | None:
    """The whole body, None if it is too large."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > BODY_BYTES_MAX:
            return None
        if not message.get("more_body", False):
            break
    return b"".join(parts)


def parse(scope: Scope) -> Request:
    """What is asked for, by path."""
    path: str = scope["path"]
    query: Any = scope.get("query_string", b"")
    request = Request(
        "other",
        scope["method"],
        path,
        dict(scope["headers"]),
        dict(parse_qsl(query.decode("latin-1"))) if query else {},
    )
    parts = path.split("/")
    match parts:
        case ["", "pypi", project, "json"] if project:
            _name(request, "json", project)
        case ["", "pypi", project, *version, "json"] if project and len(version) == 1:
            _name(request, "version", project)
            request.version = version[0]
        case ["", "pypi"] | ["", "pypi", ""]:
            request.route = "xmlrpc"
        case ["", "simple", ""] | ["", "simple"]:
            request.route = "simple"
        case ["", "simple", project] | ["", "simple", project, ""]:
            _name(request, "simple", project)
        case ["", "files", project, filename] if filename:
            _name(request, "files", project)
            request.filename = filename
        case ["", "_control", *_]:
            request.route = "control"
    return request


def _name(request: Request, route: Route, project: str) -> None:
    request.route = route
    request.project = project
    request.name = normalized(project)


def build_app(
    settings: StandinSettings, *, clock: Clock = time.time, monotonic: Clock = time.monotonic
) -> Standin:
    """A stand-in for use in this process, or for `server.serve`. Makes the corpus: takes a while.

    `clock`: the world's; `monotonic`: of what is counted and of faults that end by themselves.
    Raises upstream.standin.faults.BadFault for a wrong specification in the settings.
    """
    return Standin(settings, World(make_corpus(settings), settings.seed, clock), monotonic)
