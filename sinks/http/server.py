"""Serves an application on a bound socket: uvicorn, with the limits that it lacks.

A request's head has bytes and seconds, a connection that moves nothing is closed, and when there
are too many connections the one that has waited longest without a whole request goes first: slow
clients cannot keep others out. Nor can those that do not read fill the memory (`unread`): a client
has one answer at a time, the next is made when that has been taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import Callable, Generator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from sinks.http.documents import Headers, Quick
from sinks.http.unread import UNCOUNTED_BYTES_MAX, Unread

HEAD_BYTES_MAX = 32 * 1024  # of a request up to its body; the application is stricter in parts
QUICK_BYTES_MAX = 4 * 1024  # of a head that the short cut takes; others are looked at more closely
FIELDS_KEPT = 256  # kinds of header fields, up to 4 KB each: clients are few kinds
REQUEST_SECONDS_MAX = 20.0  # from its first byte (or the connection) to its last
STALLED_SECONDS_MAX = 60.0  # without taking a byte of the answer
SWEEP_SECONDS = 2.0  # between two looks at all connections
CONNECTIONS_MAX = 12_000  # two thousand streams and ten thousand who say nothing whole
FILES_KEPT = 256  # of the limit on open files: databases, dumps being sent
BACKLOG = 2_048
KEEP_ALIVE_SECONDS = 30
NOT_SENT_BYTES_MAX = 128 * 1024  # in the system's buffer of a connection, not yet on its way
STOP_SECONDS = 5  # for answers that are under way
_GET, _HTTP, _END = b"GET ", b" HTTP/1.1", b"\r\n"
_KNOWN = b"if-none-match"  # what each document has another of is not worth remembering


class Watched:
    """All connections of a server, the one that came first before the others."""

    def __init__(self, connections_max: int) -> None:
        self.connections_max = connections_max
        self.all: dict[_Protocol, None] = {}
        self.unread = Unread()

    def joined(self, protocol: _Protocol) -> None:
        """One more; the longest-waiting one goes if there are too many."""
        if len(self.all) >= self.connections_max:
            waiting = (each for each in self.all if each.reading_since is not None)
            next(waiting, next(iter(self.all))).abort()
        self.all[protocol] = None

    def sweep(self, now: float) -> None:
        """Close what has taken too long."""
        for each in list(self.all):
            since = each.reading_since
            slow = since is not None and now - since > REQUEST_SECONDS_MAX
            idle = each.idle_since is not None and now - each.idle_since > KEEP_ALIVE_SECONDS
            if slow or idle or each.stalled(now):
                each.abort()
        self.unread.sweep(now)


class _Lines:
    """The header lines that uvicorn begins every answer with; it renews them each second."""

    def __init__(self) -> None:
        self._of: Headers = []
        self._lines = b""

    def now(self, headers: Headers) -> bytes:
        """As they stand in an answer."""
        if headers is not self._of:
            self._lines = b"".join(b"%b: %b\r\n" % pair for pair in headers)
            self._of = headers
        return self._lines


class _Fields:
    """Header fields that were read once. A client's are the same bytes in all its requests."""

    def __init__(self) -> None:
        self._read: dict[bytes, Headers] = {}

    def learn(self, piece: bytes, url: bytes, headers: Headers) -> None:
        """Read by the parser out of a piece, with which their request had begun and ended.

        Where the piece is nothing else, the same bytes after any request line are the same fields.
        """
        line, _, fields = piece.partition(_END)
        alone = fields.find(_END + _END) == len(fields) - len(_END + _END)
        if not alone or line != _GET + url + _HTTP or any(key == _KNOWN for key, _ in headers):
            return
        if len(self._read) >= FIELDS_KEPT:
            self._read.clear()
        self._read[fields] = headers

    def of(self, piece: bytes) -> tuple[bytes, Headers] | None:
        """URL and headers of a piece that is a GET with fields known here, and nothing else."""
        line, _, fields = piece.partition(_END)
        headers = self._read.get(fields)
        if headers is None or not (line.startswith(_GET) and line.endswith(_HTTP)):
            return None
        return line[len(_GET) : -len(_HTTP)], headers


class _Protocol(HttpToolsProtocol):
    """uvicorn's, watched, and with a short cut for answers that are there as bytes."""

    watched: Watched
    quick: Quick | None
    lines: _Lines
    fields: _Fields
    idle_since: float | None  # the last answer was by the short cut, and nothing came since
    reading_since: float | None  # a request has begun, or is due, and is not whole
    _head_bytes: int | None  # None = its head is there
    _piece_bytes: int
    _unsent: tuple[int, float]
    _under_way: RequestResponseCycle | None
    _next: tuple[RequestResponseCycle, Any] | None  # not begun: the answer before is not taken

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        self.reading_since = self.loop.time()
        self.idle_since = None
        self._answered = False
        self._head_bytes = 0
        self._unsent = (0, 0.0)
        self._under_way = self._next = None
        # Told only of what counts, and again when the last byte has left: until then all is held.
        transport.set_write_buffer_limits(high=UNCOUNTED_BYTES_MAX, low=0)
        super().connection_made(transport)
        self.watched.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.watched.all.pop(self, None)
        self.watched.unread.remove(self)
        self._next = None
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not take its answer as fast as it comes."""
        super().pause_writing()
        unsent = self.transport.get_write_buffer_size()
        self.watched.unread.add(self, unsent, self.loop.time())

    def resume_writing(self) -> None:
        """It has taken all of it."""
        self.watched.unread.remove(self)
        super().resume_writing()
        waiting, self._next = self._next, None
        if waiting is not None and not self.transport.is_closing():
            self._start_asgi_task(*waiting)

    def eof_received(self) -> None:
        """The transport closes now, and uvloop's raises if the rest of an answer comes after."""
        self._give_up()
        super().eof_received()

    def send_400_response(self, msg: str) -> None:
        """What came after a whole request may be none: that one is not answered any more."""
        self._give_up()
        super().send_400_response(msg)

    def abort(self) -> None:
        """Close it at once."""
        self._give_up()
        self.transport.abort()

    def _give_up(self) -> None:
        cycle = self._under_way
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._under_way = cycle  # of several requests sent at once the one that is answered now
        if self.flow.write_paused:
            self._next = (cycle, app)
            return
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        begins = self.idle_since is not None  # the parser, too, waits for a request's first byte
        if begins and self._answer_known(data):
            return
        self._piece_bytes = len(data)
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes is not None and self._head_bytes > HEAD_BYTES_MAX:
            self.send_400_response("The request's head is too long.")
        if begins and self.idle_since is not None:
            self.fields.learn(data, self.url, self.headers)

    def on_message_begin(self) -> None:
        self.reading_since = self.loop.time()
        self.idle_since = None
        self._answered = False
        self._head_bytes = self._piece_bytes
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        small = self._head_bytes is not None and self._head_bytes <= QUICK_BYTES_MAX
        self._head_bytes = None
        if small and self._answer_quickly():
            return
        try:
            super().on_headers_complete()
        except UnicodeDecodeError:
            self.send_400_response("The address must be ASCII.")

    def _answer_quickly(self) -> bool:
        """Whether the answer is on its way: nothing before it waits, and the client takes it."""
        parser = self.parser
        cycle: RequestResponseCycle | None = self.cycle
        if (
            self.quick is None
            or parser.get_method() != b"GET"
            or not parser.should_keep_alive()
            or (cycle is not None and not cycle.response_complete)
            or self.pipeline
            or self.flow.write_paused
        ):
            return False
        return self._write_quickly(self.quick, self.url, self.headers)

    def _answer_known(self, piece: bytes) -> bool:
        """The same without the parser, where nothing is under way and all of it is known."""
        found = self.fields.of(piece)
        if found is None or self.quick is None or self.flow.write_paused:
            return False
        if not self._write_quickly(self.quick, *found):
            return False
        self.idle_since = self.loop.time()
        return True

    def _write_quickly(self, quick: Quick, url: bytes, headers: Headers) -> bool:
        answer = quick(url, headers, self.lines.now(self.server_state.default_headers))
        if answer is None:
            return False
        self._answered = True
        self.server_state.total_requests += 1
        self.transport.write(answer)
        return True

    def on_body(self, body: bytes) -> None:
        if not self._answered:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self.reading_since = None
        self._piece_bytes = 0  # how much of the rest is the next head's is not known
        if self._answered:
            self.idle_since = self.loop.time()
        else:
            super().on_message_complete()

    def stalled(self, now: float) -> bool:
        """Whether nothing of what is to be sent has gone for too long."""
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent != self._unsent[0]:
            self._unsent = (unsent, now)
            return False
        return now - self._unsent[1] > STALLED_SECONDS_MAX


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs it, and says when it is ready."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._said = started

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._said()


async def serve_app(
    app: Any,
    listener: socket.socket,
    *,
    quick: Quick | None = None,
    ready: Callable[[], None] = lambda: None,
    stopping: Callable[[], None] = lambda: None,
) -> None:
    """Serve until cancelled; then what is under way may end within STOP_SECONDS.

    `stopping` is called first: streams without end are told to end. `quick`: a short cut.
    """
    # Connections inherit it: an answer's head and body leave at once, on any loop (asyncio's own
    # does this only for sockets that name their protocol), not 40 ms apart.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # The system's buffer grows to megabytes for a client that does not read, and what part of an
    # answer lies there would not count as unread here. What is on its way is not bounded by this.
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT_BYTES_MAX)
    # uvicorn's own words are of no use to whoever runs this; a bad request is no news.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    watched = Watched(_connections_max())
    # A function in a class would be bound to each connection.
    shortcut = None if quick is None else staticmethod(quick)
    protocol = {"watched": watched, "quick": shortcut, "lines": _Lines(), "fields": _Fields()}
    config = uvicorn.Config(
        app,
        http=type("Protocol", (_Protocol,), protocol),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    server = _Server(config, ready)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    sweeping = asyncio.create_task(_sweep(watched))
    try:
        done, _ = await asyncio.wait((serving, sweeping), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        sweeping.cancel()
        stopping()
        server.should_exit = True
        await serving


async def _sweep(watched: Watched) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        watched.sweep(loop.time())


def _connections_max() -> int:
    """As many as there may be open files; the soft limit is raised to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + FILES_KEPT
    if soft < wanted and soft != resource.RLIM_INFINITY:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    return max(1, min(CONNECTIONS_MAX, soft - FILES_KEPT))
