"""The upstream port over HTTP, paced and bounded. The one module that imports httpx.

Each connection has a transport of its own, kept on a stack: httpx's shared pool checks every
connection for every request (three times the CPU at 16), and this way the slots *are* the bound on
connections. Requests are built here and passed to the transport directly: what httpx's client adds
(cookies, redirects, decoding, merged headers) is unwanted or done in this package.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from functools import partial
from http import HTTPStatus
from ssl import SSLContext
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from schemas.errors import BrokenBody, RateLimited, UpstreamUnavailable
from upstream.answers import Head, Reply, hold_seconds
from upstream.decode import BodyDecoder
from upstream.limits import ByteBudget, Clock, Gate, OnHold, SystemClock
from upstream.proxies import proxy_for
from upstream.routes import Call, PypiRoutes
from upstream.settings import CONNECT_SECONDS_MAX, KIB, ClientSettings

KEEPALIVE_SECONDS = 30.0  # longer than a poll period, shorter than CDNs grant (60 s)
CONTROL_CONNECTIONS = 2  # one for the journal, one for the index
# An error's body is read so that the connection can be kept; after a longer one it is cheaper to
# close it.
ERROR_BODY_BYTES_MAX = 64 * KIB


class HttpUpstream(PypiRoutes):
    """The upstream port (source.py). Belongs to one event loop.

    `on_hold(until_unix_seconds, reason)` is called when upstream asks us to wait.
    """

    def __init__(
        self, settings: ClientSettings, *, clock: Clock | None = None, on_hold: OnHold | None = None
    ) -> None:
        super().__init__(settings, HttpSender(settings, clock or SystemClock(), on_hold))


class HttpSender:
    """Sends requests when they are allowed, and reads answers within their limits.

    Errors: UpstreamUnavailable, RateLimited, BrokenBody, OversizedBody. A call that fails or is
    cancelled gives back its slot and its bytes. Belongs to one event loop.
    """

    def __init__(
        self, settings: ClientSettings, clock: Clock, on_hold: OnHold | None = None
    ) -> None:
        self._clock = clock
        self._on_hold = on_hold
        self._budget = ByteBudget(settings.bytes_in_flight_max)
        self._host = urlsplit(settings.base_url).netloc
        self._headers = (("User-Agent", settings.user_agent), ("Accept-Encoding", "gzip"))
        timeout = {
            "connect": settings.connect_seconds_max,
            "read": settings.read_seconds_max,
            "write": settings.read_seconds_max,
            "pool": settings.connect_seconds_max,
        }
        self._extensions = {
            control: {"timeout": timeout, "trace": partial(self._before_wire, control)}
            for control in (False, True)
        }
        secure = settings.base_url.startswith("https:")
        tls = httpx.create_ssl_context() if secure else False
        self._documents = _Lane(settings.in_flight, settings, tls)
        self._control = _Lane(CONTROL_CONNECTIONS, settings, tls)
        # Made when a file is requested from another host, which is rare. Its requests count among
        # those for documents; with connections of its own it closes none of the others.
        self._elsewhere: _Lane | None = None
        self._settings = settings
        self._closed = False
        self.gate = Gate(settings.rate, clock)
        self.requests_sent = 0

    async def send(self, call: Call) -> Reply:
        """Send one request and read its whole answer; waits for a slot, the pace and a hold."""
        async with self._transport(call) as transport:
            while True:
                await self.gate.before_send(control=call.control)
                if self._closed:
                    raise UpstreamUnavailable(f"{call.what}: the upstream client is closed")
                with contextlib.suppress(_HeldBack):
                    return await self._send_now(transport, call)

    @contextlib.asynccontextmanager
    async def _transport(self, call: Call) -> AsyncIterator[httpx.AsyncHTTPTransport]:
        async with (self._control if call.control else self._documents).slot() as transport:
            if not call.elsewhere:
                yield transport
                return
            if self._elsewhere is None:
                tls = httpx.create_ssl_context()
                self._elsewhere = _Lane(self._settings.in_flight, self._settings, tls)
            async with self._elsewhere.slot() as other:
                yield other

    def limited(self, error: RateLimited) -> RateLimited:
        """Begin the hold that this error asks for, report it, and return the error to be raised."""
        until = self.gate.hold(self._clock.wall() + (error.retry_after_seconds or 0.0))
        if self._on_hold is not None:
            self._on_hold(until, str(error))
        return error

    async def close(self) -> None:
        """Close connections. Idempotent; never raises."""
        self._closed = True
        await self.gate.close()
        await self._documents.close()
        await self._control.close()
        if self._elsewhere is not None:
            await self._elsewhere.close()

    async def _send_now(self, transport: httpx.AsyncHTTPTransport, call: Call) -> Reply:
        try:
            request = httpx.Request(
                call.method,
                call.url,
                headers=(("Host", self._netloc(call)), *self._headers, *call.headers),
                content=call.content,
                extensions=self._extensions[call.control],
            )
            async with asyncio.timeout(call.limits.total_seconds):
                response = await transport.handle_async_request(request)
                try:
                    return await self._read(response, call)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise UpstreamUnavailable(
                f"{call.what}: no whole answer within {call.limits.total_seconds:g} s"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UpstreamUnavailable(
                f"{call.what}: {type(error).__name__}: {str(error)[:200]}"
            ) from None

    def _netloc(self, call: Call) -> str:
        return urlsplit(call.url).netloc if call.elsewhere else self._host

    async def _read(self, response: httpx.Response, call: Call) -> Reply:
        head = Head(response.status_code, _plain_headers(response.headers.raw))
        seconds = hold_seconds(head, self._clock.wall())
        if seconds is not None:
            # Before the body is read: every other request waits from this moment on.
            message = f"{call.what}: upstream answered {head.status}"
            raise self.limited(RateLimited(message, retry_after_seconds=seconds))
        if head.status != HTTPStatus.OK:
            await _drain(response)
            return Reply(head, b"")
        decoder = BodyDecoder(
            call.limits.body,
            head.headers.get("content-encoding", ""),
            head.headers.get("content-length"),
        )
        # Journal and index have limits of their own and no byte budget: they must not wait for
        # giants.
        begun, pieces = self._clock.monotonic(), 0
        with self._budget.lease() as lease:
            try:
                async for chunk in response.aiter_raw():
                    grown, pieces = decoder.feed(chunk), pieces + 1
                    if call.limits.too_slow(decoder.raw, self._clock.monotonic() - begun):
                        raise UpstreamUnavailable(f"{call.what}: the answer comes too slowly")
                    if call.limits.too_small(decoder.raw, pieces):
                        raise BrokenBody(f"{call.what}: {pieces} chunks for {decoder.raw} bytes")
                    if not call.control:
                        await lease.take(grown)
            except (httpx.RemoteProtocolError, httpx.ReadError) as error:
                raise BrokenBody(f"{call.what}: body ends early: {str(error)[:200]}") from None
            return Reply(head, decoder.finish())

    async def _before_wire(self, control: bool, event: str, _info: object) -> None:
        # To connect may take seconds. Meanwhile another answer may have asked us to wait, or this
        # process was suspended and resumes when its partitions belong to others.
        if event == "http11.send_request_headers.started":
            if not self.gate.open_to(control=control):
                raise _HeldBack
            self.requests_sent += 1


class FileAnswer(NamedTuple):
    """An answer being read: header names in lower case, pieces as they were sent."""

    status: int
    url: str
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]


class FileRequests:
    """GET of files below `base_url`, from a server that is not PyPI: no pace, no hold.

    A request ends after `read_seconds` without a piece. Belongs to one event loop.
    """

    def __init__(
        self, base_url: str, *, user_agent: str, read_seconds: float, redirects: int
    ) -> None:
        self._base = base_url
        self._client = httpx.AsyncClient(
            headers={"User-Agent": user_agent, "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(read_seconds, connect=CONNECT_SECONDS_MAX),
            follow_redirects=True,
            max_redirects=redirects,
            proxy=proxy_for(base_url),
            trust_env=False,
        )

    @contextlib.asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[FileAnswer]:
        """The answer, which the block reads. Raises UpstreamUnavailable."""
        try:
            async with self._client.stream("GET", url, headers=headers) as got:
                plain = _plain_headers(got.headers.raw)
                yield FileAnswer(got.status_code, str(got.url), plain, got.aiter_raw())
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UpstreamUnavailable(
                f"{self._base}: {type(error).__name__}: {str(error)[:200]}",
                hint="is the address right, and does it answer?",
            ) from None

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()


class _HeldBack(Exception):
    """The request is not allowed any more; nothing was sent."""


class _Lane:
    """At most `size` requests at a time, each on a connection of its own.

    A request that fails or is cancelled takes its transport with it: one that is cancelled while it
    puts the connection back leaves it in use for ever, and nothing goes over that transport again.
    """

    def __init__(self, size: int, settings: ClientSettings, tls: SSLContext | bool) -> None:
        self._slots = asyncio.Semaphore(size)
        self._make = partial(_transport, settings, tls)
        # The last one used comes first: few requests use few connections, which stay open.
        self._idle = [self._make() for _ in range(size)]
        self._all = set(self._idle)
        self._closing: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[httpx.AsyncHTTPTransport]:
        async with self._slots:
            transport = self._idle.pop()
            try:
                yield transport
            except (Exception, asyncio.CancelledError):
                transport = self._instead_of(transport)
                raise
            finally:
                self._idle.append(transport)

    async def close(self) -> None:
        for transport in list(self._all):  # one that is in use may be replaced meanwhile
            await _closed(transport)
        if self._closing:
            await asyncio.wait(self._closing)

    def _instead_of(self, used: httpx.AsyncHTTPTransport) -> httpx.AsyncHTTPTransport:
        """A new one; the old one is closed beside, since whoever used it may be cancelled."""
        self._all.discard(used)
        task = asyncio.create_task(_closed(used))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        fresh = self._make()
        self._all.add(fresh)
        return fresh


async def _closed(transport: httpx.AsyncHTTPTransport) -> None:
    with contextlib.suppress(httpx.HTTPError, OSError):
        await transport.aclose()


def _transport(settings: ClientSettings, tls: SSLContext | bool) -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport(
        verify=tls,
        limits=httpx.Limits(
            max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE_SECONDS
        ),
        proxy=proxy_for(settings.base_url),
        trust_env=False,
    )


def _plain_headers(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    plain: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        plain[key] = f"{plain[key]}, {text}" if key in plain else text
    return plain


async def _drain(response: httpx.Response) -> None:
    seen = 0
    # The content of an error's body does not matter, nor whether it is complete.
    with contextlib.suppress(httpx.HTTPError):
        async for chunk in response.aiter_raw():
            seen += len(chunk)
            if seen > ERROR_BODY_BYTES_MAX:
                return
