"""A connection of `text/event-stream`, as plain ASGI.

It does not use a library: a client takes two tasks and shared bytes, where sse-starlette has four
tasks, a timer and its own framing of each event (ADR 017).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Any, Generic, NamedTuple, TypeVar

import structlog
from starlette.requests import Request

from schemas.errors import PypistreamError
from sinks.http.answers import not_ready, problem, problem_of
from sinks.http.quota import whose
from sinks.http.streams.channel import Client
from sinks.http.streams.frames import retry_frame
from sinks.http.streams.hub import Busy, Hub
from sinks.http.streams.selection import Selection

WRITE_BYTES = 64 * 1024  # of one write: an event may have megabytes, a buffer should not
BUSY_RETRY_SECONDS = 30
BEGIN_SECONDS = 5.0  # for a service that has just been started to look at the log
HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"access-control-allow-origin", b"*"),
    (b"x-accel-buffering", b"no"),  # what nginx and others behind its name go by
)

P = TypeVar("P")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

log_ = structlog.get_logger("streams")


class Beginning(NamedTuple, Generic[P]):
    """Where a client's stream begins. `position` None = now; `first` and `then` are frames.

    `first` is written at once, `then` once everything past was, and everything up to `least`.
    """

    position: P | None
    first: bytes = b""
    then: bytes = b""
    least: P | None = None


class EventStream(Generic[P]):
    """The endpoint of one hub. `select` and `begin` read a request; they raise UsageError."""

    def __init__(
        self,
        hub: Hub[P],
        select: Callable[[Request], Selection],
        begin: Callable[[Request], Awaitable[Beginning[P]]],
    ) -> None:
        self._hub = hub
        self._select = select
        self._begin = begin

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one client until it goes, is too slow, or the hub closes."""
        request = Request(scope)
        address = _address(scope)
        try:
            selection = self._select(request)
            if scope["method"] == "HEAD":
                await _start(send)
                await send({"type": "http.response.body", "body": b""})
                return
            with self._hub.admitted(address, selection) as client:
                # "From now on" begins with the answer, so there is none before there is a now.
                if not await self._hub.begun(BEGIN_SECONDS):
                    await not_ready()(scope, receive, send)
                    return
                beginning = await self._begin(request)
                await self._serve(client, beginning, receive, send)
        except Busy as busy:
            await _refusal(busy)(scope, receive, send)
        except PypistreamError as error:
            await problem_of(error)(scope, receive, send)

    async def _serve(
        self, client: Client, beginning: Beginning[P], receive: Receive, send: Send
    ) -> None:
        listening = asyncio.create_task(_until_gone(client, receive))
        try:
            await _start(send)
            await _write(client, send, retry_frame("welcome") + beginning.first)
            frames = self._hub.follow(client, beginning.position, beginning.then, beginning.least)
            try:
                async with aclosing(frames):
                    async for data in frames:
                        await _write(client, send, data)
            except PypistreamError as error:  # the client comes again, where it was
                log_.warning("a stream was ended", why=str(error), hint=error.hint)
            last = retry_frame("too slow" if client.dropped else "stopping")
            await _write(client, send, last, more=False)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not client.dropped or task is None or task.uncancel():
                raise
        finally:
            listening.cancel()


def _address(scope: Message) -> str:
    """Whose clients are counted together; "" = nobody's: this machine, a proxy before us."""
    address = scope["client"][0] if scope.get("client") else ""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return ""
    return whose(address, own=False)


async def _start(send: Send) -> None:
    await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": [*HEADERS]})


async def _write(client: Client, send: Send, data: bytes, *, more: bool = True) -> None:
    """Give the server all of it; a watch on `writing_since` ends what takes too long."""
    for start in range(0, len(data), WRITE_BYTES):
        piece = data if len(data) <= WRITE_BYTES else data[start : start + WRITE_BYTES]
        last = start + WRITE_BYTES >= len(data)
        client.writing_since = asyncio.get_running_loop().time()
        await send({"type": "http.response.body", "body": piece, "more_body": more or not last})
        client.writing_since = None


async def _until_gone(client: Client, receive: Receive) -> None:
    """A client that went away is not written to, which nobody would tell us."""
    while (await receive())["type"] != "http.disconnect":
        pass
    client.drop("it went away")


def _refusal(busy: Busy) -> Any:
    headers = {"Retry-After": str(BUSY_RETRY_SECONDS)}
    if busy.address:
        hint = "close one of them, or choose among the events of one stream yourself"
        return problem(
            HTTPStatus.TOO_MANY_REQUESTS, "too many streams to this address", hint, headers
        )
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "no room for another stream", "come again later", headers
    )
