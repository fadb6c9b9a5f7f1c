"""The simulated upstream behind HTTP: what the real client's connections are replaced by.

Requests are answered with the bytes that PyPI would send. `touch` is called before each thing that
asks something of a socket: sending the request, and reading each piece of the answer.
"""

from __future__ import annotations

import asyncio
import json
import xmlrpc.client
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from schemas.names import NormalizedName
from tests.support.sim_upstream import SimUpstream
from tests.support.virtual_time import START_MS
from upstream import client
from upstream.client import HttpUpstream
from upstream.settings import ClientSettings
from upstream.source import Document, NotModified

PIECE_BYTES = 100  # of an answer: small ones come in several reads, too
BASE_URL = "http://127.0.0.1:9"


class EdgeClock:
    """`upstream.limits.Clock` of the loop it is used in."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return START_MS / 1000 + self.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, body: bytes, touch: Callable[[], None]) -> None:
        self._body = body
        self._touch = touch

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), PIECE_BYTES):
            self._touch()
            yield self._body[start : start + PIECE_BYTES]


class EdgeTransport(httpx.AsyncBaseTransport):
    """One connection to the simulated upstream."""

    def __init__(self, edge: SimUpstream, touch: Callable[[], None]) -> None:
        self._edge = edge
        self._touch = touch

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._touch()
        status, headers, body = await self._answer(request)
        headers["Content-Length"] = str(len(body))
        return httpx.Response(status, headers=headers, stream=_Pieces(body, self._touch))

    async def _answer(self, request: httpx.Request) -> tuple[int, dict[str, str], bytes]:
        path = request.url.path
        if path == "/pypi":
            return 200, {"Content-Type": "text/xml"}, await self._journal(request.content)
        if path == "/simple/":
            return 200, {"Content-Type": "application/json"}, await self._index()
        if not path.endswith("/json"):
            return 404, {}, b""
        etag = request.headers.get("If-None-Match", "")
        name = NormalizedName(path.split("/")[2])
        answer = await self._edge.project(name, etag)
        if isinstance(answer, Document):
            headers = {"ETag": answer.etag, "X-PyPI-Last-Serial": str(answer.serial)}
            return 200, headers, answer.body
        if isinstance(answer, NotModified):
            return 304, {"ETag": etag, "X-PyPI-Last-Serial": str(answer.serial)}, b""
        return 404, {}, b""

    async def _journal(self, content: bytes) -> bytes:
        given, method = xmlrpc.client.loads(content)
        if method == "changelog_last_serial":
            value: Any = await self._edge.last_serial()
        else:
            await self._edge.last_serial()  # the same wait, and the same outages
            [since] = given
            rows = [row for row in self._edge.truth.journal if row.serial > int(str(since))]
            value = [list(row) for row in rows]
        return xmlrpc.client.dumps((value,), methodresponse=True, allow_none=True).encode()

    async def _index(self) -> bytes:
        found = await self._edge.serial_map()
        projects = [{"name": each.name, "_last-serial": each.serial} for each in found.projects]
        meta = {"_last-serial": found.last_serial, "api-version": "1.4"}
        return json.dumps({"meta": meta, "projects": projects}).encode()

    async def aclose(self) -> None:
        """Nothing is held."""


def upstream_behind(edge: SimUpstream, touch: Callable[[], None]) -> HttpUpstream:
    """The real client, connected to the simulated upstream."""
    settings = ClientSettings(BASE_URL, rate=0, in_flight=4)
    real = client._transport  # the one place where connections are made
    client._transport = lambda *_: EdgeTransport(edge, touch)  # type: ignore[assignment]
    try:
        return HttpUpstream(settings, clock=EdgeClock())
    finally:
        client._transport = real
