"""Requests and answers, as the routes and the faults see them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Route = Literal["json", "version", "xmlrpc", "simple", "files", "control", "other"]
Headers = list[tuple[bytes, bytes]]

OK, NOT_MODIFIED, NOT_FOUND_STATUS = 200, 304, 404
JSON = b"application/json"
NOT_FOUND = b'{"message": "Not Found"}'
CACHE = (b"cache-control", b"max-age=900, public")
VARY = (b"vary", b"Accept-Encoding")

GZIP_FROM_BYTES = 400  # below this a gzip header costs more than it saves


@dataclass(slots=True)
class Request:
    """What was asked. `project` is the name as it stands in the path, `name` normalised."""

    route: Route
    method: str
    path: str
    headers: dict[bytes, bytes]
    query: dict[str, str]
    project: str = ""
    name: str = ""
    version: str = ""
    filename: str = ""
    body: bytes = b""
    call: str = ""  # the XML-RPC method
    arrived: float = 0.0  # monotonic seconds

    @property
    def takes_gzip(self) -> bool:
        """Whether the client accepts gzip."""
        return b"gzip" in self.headers.get(b"accept-encoding", b"")

    @property
    def etag(self) -> str:
        """What the client has, "" without `If-None-Match`."""
        return self.headers.get(b"if-none-match", b"").decode("latin-1")


@dataclass(slots=True)
class Exchange:
    """What a delivery works on: the ASGI pair, and the connection itself if there is one."""

    receive: Receive
    send: Send
    transport: Any = None  # asyncio's, when served by `server.serve`


@dataclass(slots=True)
class Answer:
    """A whole answer. `deliver` puts it on the wire in some other way than plainly."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    deliver: Callable[[Exchange, Answer], Awaitable[None]] | None = None
    retry_after: float | None = None  # seconds that a client was told to wait

    def header(self, name: bytes) -> bytes | None:
        """The value of a header, by its lower-case name."""
        return next((value for key, value in self.headers if key == name), None)

    def replace_header(self, name: bytes, value: bytes | None) -> None:
        """Set a header, or with None remove it."""
        self.headers = [(key, old) for key, old in self.headers if key != name]
        if value is not None:
            self.headers.append((name, value))


def not_found() -> Answer:
    """What JSON answers for every name without a document."""
    return Answer(404, [(b"content-type", JSON)], NOT_FOUND)


def text(status: int, message: str, kind: bytes = b"text/plain; charset=utf-8") -> Answer:
    """A short text."""
    return Answer(status, [(b"content-type", kind)], message.encode())


async def plain(exchange: Exchange, answer: Answer, *, head: bool = False) -> None:
    """Send an answer as it should be."""
    headers = answer.headers
    if answer.status != NOT_MODIFIED:
        headers = [*headers, (b"content-length", b"%d" % len(answer.body))]
    await exchange.send(
        {"type": "http.response.start", "status": answer.status, "headers": headers}
    )
    await exchange.send({"type": "http.response.body", "body": b"" if head else answer.body})
