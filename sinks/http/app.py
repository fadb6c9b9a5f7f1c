"""The application: documents by the hot path, everything else by routes; limits before both.

Nothing here listens or reads the log: `Front` gets what it answers from.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from schemas.errors import PypistreamError
from sinks.http.answers import SAFETY, prefers_page, problem, problem_of
from sinks.http.documents import (
    PREFIX,
    SUFFIX,
    Documents,
    Headers,
    Message,
    Receive,
    Scope,
    Send,
    document_name,
)
from sinks.http.library import Library

URL_BYTES_MAX = 4 * 1024  # no route of ours needs more
HEADER_BYTES_MAX = 16 * 1024  # of all fields; browsers and proxies send less
BODY_BYTES_MAX = 1024 * 1024  # of a request: a batch of queries, an XML-RPC call
HOSTS_CACHED = 256
_READING = ("GET", "HEAD")
_PREFIX, _SUFFIX = PREFIX.encode(), SUFFIX.encode()
_SAFETY = [(name.lower().encode(), value.encode()) for name, value in SAFETY.items()]
ANY_HOST = "*"

RefusalPage = Callable[[int, str, str, Mapping[str, str]], Response]
"""From status, what is wrong, what to do, and headers."""

log_ = structlog.get_logger("http")


class Front:
    """The ASGI application. `hosts`: names it answers to beside `localhost` and IP addresses.

    A page elsewhere could make a browser send requests to a service on this machine by pointing its
    own name here (DNS rebinding); the Host header reveals that. `ANY_HOST` among `hosts` admits
    all. `page`: what a browser sees in place of a problem in JSON, where there is nothing for it.
    """

    def __init__(
        self,
        library: Library,
        routes: Sequence[BaseRoute],
        hosts: Sequence[str],
        page: RefusalPage | None = None,
    ) -> None:
        self._page = page
        self._documents = Documents(library)
        self._routes = Starlette(
            routes=routes,
            exception_handlers={
                PypistreamError: _of_ours,
                HTTPException: self._of_starlette,
                Exception: _unforeseen,
            },
        )
        self._hosts = frozenset(host.lower() for host in hosts)
        self._welcome = lru_cache(HOSTS_CACHED)(self._is_welcome)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        headers = scope["headers"]
        host, size = b"", 0
        for key, value in headers:
            size += len(key) + len(value)
            if key == b"host":
                host = value
        path = scope["path"]
        address = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        if size > HEADER_BYTES_MAX or address > URL_BYTES_MAX:
            await self._refuse(scope, receive, send, _too_long())
        elif not self._welcome(host):
            await self._refuse(scope, receive, send, _misdirected())
        elif scope["method"] in _READING and (name := document_name(path)) is not None:
            await self._documents.answer(name, headers, send)
        else:
            await self._route(scope, receive, send)

    def quick(self, url: bytes, headers: Headers, head: bytes) -> bytes | None:
        """The bytes of the answer to a GET of a document; None = it has to be asked as usual.

        The same answer as by ASGI at a third of the cost, for a server that can write it. `head`:
        header lines that every answer begins with. Limits of size are the caller's.
        """
        if not (url.startswith(_PREFIX) and url.endswith(_SUFFIX)):
            return None
        host = accept = known = b""
        for key, value in headers:
            if key == b"host":
                host = value
            elif key == b"accept-encoding":
                accept = value
            elif key == b"if-none-match":
                known = value
        if not self._welcome(host):
            return None
        # What is no name (a query in it, an escape, nothing at all) is nobody's: it is not found.
        name = url[len(_PREFIX) : -len(_SUFFIX)].decode("latin-1")
        return self._documents.quick(name, accept, known, head)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        received = 0

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > BODY_BYTES_MAX:
                raise HTTPException(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"a request's body may have {BODY_BYTES_MAX} bytes",
                )
            return message

        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = {name for name, _ in message["headers"]}
                lacks = [each for each in _SAFETY if each[0] not in said]
                message["headers"] = [*message["headers"], *lacks]
            await send(message)

        await self._routes(scope, bounded, safe)

    async def _of_starlette(self, request: Request, error: Exception) -> Response:
        """404, 405, 413 and what an endpoint raises itself."""
        assert isinstance(error, HTTPException)
        allowed = sorted((error.headers or {}).get("Allow", "").split(", "))
        words = {
            HTTPStatus.NOT_FOUND: ("Not Found", "there is nothing at this address"),
            HTTPStatus.METHOD_NOT_ALLOWED: (
                f"{request.method} is not served at this address",
                f"what is served here: {', '.join(allowed)}",
            ),
        }
        text, hint = words.get(HTTPStatus(error.status_code), (error.detail, ""))
        headers = {"Vary": "Accept", "Cache-Control": "no-store", **(error.headers or {})}
        page = self._page if prefers_page(request.headers.get("accept", "")) else None
        return (page or problem)(error.status_code, text, hint, headers)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, answer: Response) -> None:
        answer.headers["Connection"] = "close"
        await answer(scope, receive, send)

    def _is_welcome(self, host: bytes) -> bool:
        """Whether a Host header names this service."""
        if ANY_HOST in self._hosts:
            return True
        text = host.decode("latin-1").lower().rstrip(".")
        bare = text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]
        if bare.rstrip(".") in self._hosts or bare in ("localhost", ""):
            return bool(bare)
        try:
            ipaddress.ip_address(bare)
        except ValueError:
            return False
        return True


def _too_long() -> Response:
    return problem(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "the request's address or headers are too long",
        f"{URL_BYTES_MAX} bytes of address and {HEADER_BYTES_MAX} of headers are the limits",
    )


def _misdirected() -> Response:
    return problem(
        HTTPStatus.MISDIRECTED_REQUEST,
        "this service does not answer to that Host",
        "start it with --http-host NAME for each name that it is reached by",
    )


async def _of_ours(_request: Request, error: Exception) -> Response:
    assert isinstance(error, PypistreamError)
    return problem_of(error)


async def _unforeseen(request: Request, error: Exception) -> Response:
    log_.error("a request failed", path=request.url.path[:200], exc_info=error)
    return problem(500, "an error of this program", "its log says more; please report it")
