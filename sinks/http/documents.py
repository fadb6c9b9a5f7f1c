"""`GET /pypi/<name>/json`: the hot path, plain ASGI over the bytes that the library holds.

As PyPI's JSON API: its shape without description and older releases, `X-PyPI-Last-Serial`, an ETag,
301 to the normalised name, 404 for what is not there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

from schemas.codec import encode
from schemas.errors import InvalidName, PypistreamError
from schemas.names import NormalizedName, normalize
from schemas.records import Status
from sinks.http.answers import (
    COMPRESS_FROM_BYTES,
    RETRY_SECONDS,
    encoded,
    encoding_for,
    matches,
    problem_of,
)
from sinks.http.library import Library

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Quick = Callable[[bytes, Headers, bytes], bytes | None]
"""An application's short cut: URL and headers of a GET and the head of every answer in, the bytes
of the whole answer out; None = it has to be asked as any application."""

PREFIX, SUFFIX = "/pypi/", "/json"
# Of a document by the short cut: it copies it behind its head, and takes a client for idle that is
# still reading it. Most have a twentieth of that.
QUICK_BODY_BYTES_MAX = 256 * 1024
OWED_SECONDS = 30  # for a document that is known to be missing here

_COMMON: Headers = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"public, no-cache"),  # may be cached, and revalidated by its ETag
    (b"vary", b"accept-encoding"),
    (b"access-control-allow-origin", b"*"),
    (b"x-content-type-options", b"nosniff"),
]
_ERROR: Headers = [*_COMMON[:1], (b"cache-control", b"no-store"), *_COMMON[3:]]


def document_name(path: str) -> str | None:
    """The name as it stands in the path of a document; None for any other path."""
    if path.startswith(PREFIX) and path.endswith(SUFFIX):
        name = path[len(PREFIX) : -len(SUFFIX)]
        if name and "/" not in name:
            return name
    return None


OK = b"HTTP/1.1 200 OK\r\n"
_HEAD = b"".join(b"%b: %b\r\n" % pair for pair in _COMMON)
_WHOLE = (
    b"HTTP/1.1 200 OK\r\n%b%betag: %b\r\nx-pypi-last-serial: %d\r\n%bcontent-length: %d\r\n\r\n"
)
_SAME = b"HTTP/1.1 304 Not Modified\r\n%b%betag: %b\r\nx-pypi-last-serial: %d\r\n\r\n"


class Documents:
    """Answers for `document_name`s. `GET` and `HEAD` only: the caller has seen to it."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def answer(self, name: str, headers: Headers, send: Send) -> None:
        """Send the whole answer; `headers` are the request's."""
        try:
            # Only what is normalised is a key; so any other spelling is simply not found here.
            document = self._library.document(NormalizedName(name))
        except PypistreamError as error:
            response = problem_of(error)
            await _send(send, response.status_code, response.raw_headers, bytes(response.body))
            return
        if document is None:
            await self._absent(name, send)
            return
        body, serial, etag, _ = document
        accept = known = ""
        for key, value in headers:
            if key == b"accept-encoding":
                accept = value.decode("latin-1")
            elif key == b"if-none-match":
                known = value.decode("latin-1")
        given: Headers = [
            *_COMMON,
            (b"etag", etag.encode()),
            (b"x-pypi-last-serial", b"%d" % serial),
        ]
        if known and matches(known, etag):
            await _send(send, 304, given, b"")
            return
        encoding = encoding_for(accept)
        if encoding and len(body) >= COMPRESS_FROM_BYTES:
            body = encoded(body, encoding)
            given.append((b"content-encoding", encoding.encode()))
        given.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": 200, "headers": given})
        await send({"type": "http.response.body", "body": body})

    def quick(self, name: str, accept: bytes, known: bytes, head: bytes) -> bytes | None:
        """The bytes of a whole HTTP/1.1 answer to a GET; None = `answer` has to say more.

        `accept` and `known` are the request's Accept-Encoding and If-None-Match, b"" = none;
        `head`: header lines that every answer begins with.
        """
        try:
            document = self._library.document(NormalizedName(name))
        except PypistreamError:
            return None
        if document is None:
            return None
        body, serial, etag, _ = document
        if len(body) > QUICK_BODY_BYTES_MAX:
            return None
        tag = etag.encode()
        if known and (known == tag or matches(known.decode("latin-1"), etag)):
            return _SAME % (head, _HEAD, tag, serial)
        encoding = encoding_for(accept.decode("latin-1")) if accept else ""
        packed = b""
        if encoding and len(body) >= COMPRESS_FROM_BYTES:
            body = encoded(body, encoding)
            packed = b"content-encoding: %b\r\n" % encoding.encode()
        return _WHOLE % (head, _HEAD, tag, serial, packed, len(body)) + body

    async def _absent(self, name: str, send: Send) -> None:
        """404; 301 for another spelling; 503 while it is not known, or known to be owed."""
        if self._library.view() is None:
            again: Headers = [(b"retry-after", b"%d" % RETRY_SECONDS)]
            hint = "it is reading the log; ask again in a moment"
            await _problem(send, 503, "nothing can be served yet", hint, again)
            return
        try:
            normalized = normalize(name)
        except InvalidName:
            await _problem(send, 404, "Not Found", "a project's name is due (PEP 508)")
            return
        if normalized != name and self._library.document(normalized) is not None:
            place = f"{PREFIX}{quote(normalized)}{SUFFIX}".encode()
            await _send(send, 301, [*_ERROR, (b"location", place)], b"")
            return
        state = self._library.state(normalized)
        if state is not None and state.status in (Status.PENDING, Status.PARKED):
            wait: Headers = [(b"retry-after", b"%d" % OWED_SECONDS)]
            hint = f"upstream has not given it yet: it is {state.status}"
            await _problem(send, 503, "the document is not here yet", hint, wait)
            return
        await _problem(send, 404, "Not Found", "no project of that name is published")


async def _problem(
    send: Send, status: int, error: str, hint: str, headers: Headers | None = None
) -> None:
    """As `answers.problem`, with the key that PyPI's own 404 has."""
    body = encode({"message": error, "error": error, "hint": hint})
    await _send(send, status, [*_ERROR, *(headers or ())], body)


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    if status != 304 and not any(key == b"content-length" for key, _ in headers):  # noqa: PLR2004
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
