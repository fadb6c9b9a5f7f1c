"""`POST /pypi`: PyPI's XML-RPC API from what is held here, its dead methods alive again.

Whatever goes wrong with a call is a fault with status 200, as the protocol has it; what is no call
at all, or too large, is one, too. Only who asks too often gets a 429, which proxies understand.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from schemas.errors import PypistreamError, UsageError
from sinks.http.answers import COMPRESS_FROM_BYTES, encoded, encoding_for
from sinks.http.library import Library
from sinks.http.quota import Limit, Quota, client_of
from sinks.http.xmlrpc.journal import JournalMethods
from sinks.http.xmlrpc.packages import PackageMethods
from sinks.http.xmlrpc.parameters import counted, wrong
from sinks.http.xmlrpc.releases import ReleaseMethods
from sinks.http.xmlrpc.wire import (
    APPLICATION_ERROR,
    CONTENT_TYPE,
    NO_METHOD,
    PARSE_ERROR,
    Refusal,
    Streamed,
    Value,
    array,
    fault,
    item,
    response,
)
from upstream.xmlrpc import parse_call

PATHS = ("/pypi", "/pypi/", "/RPC2")  # PyPI's own; the last is what clients take without a path
CALL_BYTES_MAX = 64 * 1024  # of a request; a hundred classifiers or names fit
CALLS_MAX = 20  # of one multicall, as PyPI had it
# Of all answers in a multicall, which is made in full before it leaves; twenty usual ones have a
# hundredth of that.
MULTICALL_BYTES_MAX = 4 * 1024 * 1024
STREAMS_MAX = 4  # long answers under way at once: each is seconds of CPU at PyPI's size
STREAM_SECONDS_MAX = 600.0  # of a long answer: a client that reads slower holds a place for nothing
LIMIT = Limit("xml-rpc", 1_200)  # units of one client: a call is one, each of a multicall is, too
LONG_UNITS = 120  # of a long answer: ten a minute
THREAD_FROM_BYTES = 512 * 1024  # below, compressing holds the loop for less than 10 ms
GZIP_LEVEL = 1
_GZIP_WINDOW = 31  # zlib's window bits: 15 of window, 16 for a gzip header

Method = Callable[[Sequence[object]], Awaitable[Value | Streamed]]

log_ = structlog.get_logger("xmlrpc")


def routes(library: Library, now: Callable[[], float] = time.monotonic) -> list[BaseRoute]:
    """For the application. `now`: monotonic seconds."""
    calls = Calls(library, Quota(LIMIT, now))
    return [Route(path, calls.answer, methods=["POST"]) for path in PATHS]


class Calls:
    """Reads calls, finds their method, writes what it gives."""

    def __init__(self, library: Library, quota: Quota) -> None:
        self._methods = _methods(library)
        self._quota = quota
        self._streams = asyncio.Semaphore(STREAMS_MAX)

    async def answer(self, request: Request) -> Response:
        """One call."""
        try:
            method, parameters = parse_call(await _body(request))
            if wait := self._quota.wait(client_of(request), _units(method, parameters)):
                return self._too_many(wait)
            found = await self._call(method, parameters)
            if isinstance(found, Streamed):
                if wait := self._quota.wait(client_of(request), LONG_UNITS - 1):
                    return self._too_many(wait)
                return self._stream(request, found)
            body = response(found)
        except UsageError as error:
            body = fault(PARSE_ERROR, f"parse error; {error}")
        except Refusal as refused:
            body = fault(refused.code, refused.text)
        headers = {"Vary": "Accept-Encoding"}
        encoding = encoding_for(request.headers.get("accept-encoding", ""))
        if encoding and len(body) >= COMPRESS_FROM_BYTES:
            if len(body) > THREAD_FROM_BYTES:
                body = await asyncio.to_thread(encoded, body, encoding)
            else:
                body = encoded(body, encoding)
            headers["Content-Encoding"] = encoding
        return Response(body, headers=headers, media_type=CONTENT_TYPE)

    def _too_many(self, wait: float) -> Response:
        """429, with a fault in PyPI's words for whoever reads only those."""
        headers = self._quota.headers(wait)
        words = (
            "HTTPTooManyRequests: The action could not be performed because there were too many "
            f"requests by the client: the limit {self._quota.text}. "
            f"Limit may reset in {headers['Retry-After']} seconds."
        )
        body = fault(APPLICATION_ERROR, words)
        return Response(body, HTTPStatus.TOO_MANY_REQUESTS, headers, CONTENT_TYPE)

    async def _call(self, name: str, parameters: Sequence[object]) -> Value | Streamed:
        if name == "system.listMethods":
            counted(parameters, 0, 0)
            return sorted((*self._methods, "system.listMethods", "system.multicall"))
        if name == "system.multicall":
            return await self._multicall(counted(parameters, 1, 1)[0])
        method = self._methods.get(name)
        if method is None:
            raise Refusal(NO_METHOD, "server error; requested method not found")
        try:
            return await method(parameters)
        except PypistreamError as error:
            log_.warning("a call could not be answered", method=name, error=str(error))
            raise _unreadable() from error

    async def _multicall(self, calls: object) -> Value:
        """[[value] or fault, ...]; long answers and multicalls are no part of one.

        Each is written as soon as it is there, so that what all of them take is bounded.
        """
        if not isinstance(calls, list) or len(calls) > CALLS_MAX:
            raise wrong(f"a list of at most {CALLS_MAX} calls")
        found: list[str] = []
        room = MULTICALL_BYTES_MAX
        for call in calls:
            try:
                if room <= 0:
                    raise _too_long()
                answer = item([await self._one_of_many(call)])
                room -= len(answer.encode())
                if room < 0:
                    raise _too_long()
                found.append(answer)
            except Refusal as refused:
                found.append(item({"faultCode": refused.code, "faultString": refused.text}))
            await asyncio.sleep(0)
        return array(found)

    async def _one_of_many(self, call: object) -> Value:
        given = call if isinstance(call, dict) else {}
        name, parameters = given.get("methodName"), given.get("params", [])
        if not isinstance(name, str) or not isinstance(parameters, list):
            raise wrong("a call is a struct with methodName and params")
        if name.startswith("system."):
            raise wrong(f"{name[:40]} is no part of a multicall")
        value = await self._call(name, parameters)
        if isinstance(value, Streamed):
            raise Refusal(APPLICATION_ERROR, f"ValueError: call {name} by itself: it is long")
        return value

    def _stream(self, request: Request, found: Streamed) -> Response:
        if self._streams.locked():
            raise Refusal(
                APPLICATION_ERROR,
                "HTTPTooManyRequests: too many long answers are under way. "
                "Limit may reset in 10 seconds.",
            )
        headers = {"Vary": "Accept-Encoding"}
        pieces = _encoded_pieces(found)
        # Of the encodings, zstd would need a frame of unknown length; every client has gzip.
        if "gzip" in request.headers.get("accept-encoding", "").lower():
            headers["Content-Encoding"] = "gzip"
            pieces = _packed(pieces)
        return _Stream(pieces, self._streams, headers)


def _too_long() -> Refusal:
    words = "ValueError: the multicall's answer is too long: call this by itself"
    return Refusal(APPLICATION_ERROR, words)


def _unreadable() -> Refusal:
    # What a file is called on this machine is no client's business.
    words = "RuntimeError: the service cannot read what it needs just now"
    return Refusal(APPLICATION_ERROR, words)


def _units(method: str, parameters: Sequence[object]) -> int:
    calls = parameters[0] if method == "system.multicall" and parameters else None
    return max(1, len(calls)) if isinstance(calls, list) else 1


class _Stream(StreamingResponse):
    """A long answer in one of a few places, for a bounded time."""

    def __init__(
        self, pieces: AsyncIterator[bytes], places: asyncio.Semaphore, headers: Mapping[str, str]
    ) -> None:
        super().__init__(pieces, headers=headers, media_type=CONTENT_TYPE)
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._places:
            try:
                async with asyncio.timeout(STREAM_SECONDS_MAX):
                    await super().__call__(scope, receive, send)
            except (TimeoutError, PypistreamError) as error:
                # It has begun: all that is left is to break it off, which the server does.
                log_.warning("a long answer was broken off", error=str(error) or "too slow")


async def _body(request: Request) -> bytes:
    """The request's body. Refusal if it is too large, as soon as that is known."""
    too_large = Refusal(PARSE_ERROR, f"parse error; a call may have {CALL_BYTES_MAX} bytes")
    length = request.headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or int(length[:20]) > CALL_BYTES_MAX:
        raise too_large
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > CALL_BYTES_MAX:
                raise too_large
    except ClientDisconnect:
        raise Refusal(PARSE_ERROR, "parse error; the body ended early") from None
    return bytes(body)


async def _encoded_pieces(found: Streamed) -> AsyncIterator[bytes]:
    try:
        first = await anext(found.pieces, "")
    except PypistreamError as error:
        log_.warning("a long answer could not be begun", error=str(error))
        refused = _unreadable()
        yield fault(refused.code, refused.text)
        return
    except Refusal as refused:
        yield fault(refused.code, refused.text)
        return
    yield f"{found.before}{first}".encode()
    async for piece in found.pieces:
        yield piece.encode()
    yield found.after.encode()


async def _packed(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    async for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def _methods(library: Library) -> Mapping[str, Method]:
    """By name: what PyPI's documentation has, or had."""
    journal, packages = JournalMethods(library), PackageMethods(library)
    releases = ReleaseMethods(library)
    return {
        "browse": packages.browse,
        "changed_packages": journal.changed_packages,
        "changelog": journal.changelog,
        "changelog_last_serial": journal.changelog_last_serial,
        "changelog_since_serial": journal.changelog_since_serial,
        "list_packages": packages.list_packages,
        "list_packages_with_serial": packages.list_packages_with_serial,
        "package_data": releases.release_data,  # an old name of the same, as the next but one is
        "package_hosting_mode": releases.package_hosting_mode,
        "package_releases": releases.package_releases,
        "package_roles": releases.package_roles,
        "package_urls": releases.release_urls,
        "release_data": releases.release_data,
        "release_downloads": _no_downloads,
        "release_urls": releases.release_urls,
        "search": packages.search,
        "top_packages": _no_downloads,
        "updated_releases": journal.updated_releases,
        "user_packages": packages.user_packages,
    }


async def _no_downloads(_parameters: Sequence[object]) -> Value:
    words = "RuntimeError: download counts are not held here: PyPI publishes them on BigQuery"
    raise Refusal(APPLICATION_ERROR, words)
