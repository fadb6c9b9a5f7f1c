"""Every route of the service over a library in memory, as `serve` puts them together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
from starlette.routing import Route

from pypistream.children.serving import Service
from pypistream.data_dir import DataDir
from sinks.feed import Feed, FeedCounters
from sinks.http.observed import Requests
from sinks.http.sql import SqlConsole
from sinks.http.streams.endpoint import Streams
from sinks.serving.reader import ServingLibrary
from streams.log import Log
from streams.memory_log import MemoryLog
from tests.support.memory_library import MemoryLibrary


class _Fed:
    """A feed that has nothing to do."""

    def __init__(self) -> None:
        self.counters = FeedCounters()


def service(
    root: Path, library: MemoryLibrary, log: Log | None = None, *, told: bool = False
) -> Service:
    """A service of what lies in `root`, answering from `library`."""
    data = DataDir(root)
    data.create()
    log = log or MemoryLog(1)
    console = SqlConsole(data.snapshot, data.state, lambda: 0.0, on=True)
    streams = Streams(log, library)
    fed, held = cast("Feed", _Fed()), cast("ServingLibrary", library)
    return Service(log, held, fed, streams, data, console, ["example.org"], told)


def routes_of(service: Service) -> Iterator[tuple[str, str]]:
    """Method and path of everything that is served, HEAD left out."""
    for route in service.routes(Requests()):
        assert isinstance(route, Route)
        for method in sorted(route.methods or {"GET"}):
            if method != "HEAD":
                yield method, route.path


@contextmanager
def asking(app: Any) -> Iterator[httpx.AsyncClient]:
    """A client; it has nothing to close."""
    transport = httpx.ASGITransport(app=app)
    yield httpx.AsyncClient(transport=transport, base_url="http://example.org")
