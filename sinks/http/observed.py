"""Around the application: counts requests by route and status, and tells of each if wanted.

A route is the pattern, not the path: clients choose paths, and each label is kept for ever.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, NamedTuple

import structlog
from starlette.routing import BaseRoute, Route

from sinks.http.documents import (
    OK,
    PREFIX,
    SUFFIX,
    Headers,
    Message,
    Quick,
    Receive,
    Scope,
    Send,
    document_name,
)

DOCUMENT = f"{PREFIX}{{name}}{SUFFIX}"
OTHER = "other"  # no route's
METHODS = ("GET", "HEAD", "POST", "OPTIONS")  # any other is `other`
PATH_CHARACTERS_MAX = 200  # of a path in the log
STREAMS = "/v1/stream/"
GONE = 499  # the client was gone before an answer began; as nginx has it

log_ = structlog.get_logger("http.request")
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Kind(NamedTuple):
    """A kind of request, by which they are counted."""

    route: str
    method: str
    status: int


_WHOLE, _SAME = Kind(DOCUMENT, "GET", 200), Kind(DOCUMENT, "GET", 304)


class Requests:
    """What was asked since the start. `seconds`: by route, of answers that are whole by then."""

    def __init__(self) -> None:
        self.count: Counter[Kind] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.open = 0


class Observed:
    """The application `app` with its routes. `told`: each request is an event of the log.

    `shortcut`: the application's own for documents, as `sinks.http.server` takes it.
    """

    def __init__(
        self,
        app: App,
        routes: Sequence[BaseRoute],
        requests: Requests,
        *,
        told: bool = False,
        shortcut: Quick | None = None,
    ) -> None:
        self._app = app
        self._shortcut = None if told else shortcut
        self._requests = requests
        self._told = told
        self._paths: dict[Any, str] = {
            each.endpoint: each.path for each in routes if isinstance(each, Route)
        }

    def quick(self, url: bytes, headers: Headers, head: bytes) -> bytes | None:
        """The short cut, with what it answers counted; none where each request is told."""
        if self._shortcut is None:
            return None
        began = perf_counter()
        answer = self._shortcut(url, headers, head)
        if answer is not None:
            kind = _WHOLE if answer.startswith(OK) else _SAME
            self._requests.count[kind] += 1
            self._requests.seconds[DOCUMENT] += perf_counter() - began
        return answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = GONE, perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._requests.open += 1
        try:
            await self._app(scope, receive, watched)
        finally:
            self._requests.open -= 1
            self._note(scope, status, perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = self._route(scope)
        method = scope["method"] if scope["method"] in METHODS else OTHER
        self._requests.count[Kind(route, method, status)] += 1
        if not route.startswith(STREAMS):  # they last as long as their clients like
            self._requests.seconds[route] += seconds
        if self._told:
            log_.info(
                "request",
                method=method,
                path=scope["path"][:PATH_CHARACTERS_MAX],
                route=route,
                status=status,
                milliseconds=round(seconds * 1000, 3),
                client=scope["client"][0] if scope.get("client") else "",
            )

    def _route(self, scope: Scope) -> str:
        endpoint = scope.get("endpoint")
        if endpoint is not None:
            return self._paths.get(endpoint, OTHER)
        return DOCUMENT if document_name(scope["path"]) is not None else OTHER
