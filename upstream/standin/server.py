"""Serve a stand-in on a real socket, so that it can be rude on the wire and count connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Generator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from upstream.standin.app import EXTENSION, Standin, build_app
from upstream.standin.settings import StandinSettings
from upstream.standin.stats import ConnectionWatch, Stats
from upstream.standin.world import Clock

KEEP_ALIVE_SECONDS = 75  # as the index's edge; clients of a slow crawl keep their connections
BACKLOG = 2048
LATE_LOOK_SECONDS = 0.05  # between two looks how late the loop turns
SHUTDOWN_SECONDS = 1  # hanging answers are part of the work: nobody waits for them


def _protocol_of(stats: Stats) -> type[HttpToolsProtocol]:
    class Protocol(HttpToolsProtocol):
        """uvicorn's protocol, with the connection handed on in the scope."""

        watch: ConnectionWatch

        def connection_made(self, transport: Any) -> None:
            self.watch = ConnectionWatch(stats)
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            self.watch.lost()
            super().connection_lost(exc)

        def on_headers_complete(self) -> None:
            self.scope["extensions"] = {EXTENSION: (self.transport, self.watch)}  # type: ignore[dict-item]  # ours: not JSON
            try:
                super().on_headers_complete()
            except UnicodeDecodeError:
                self.send_400_response("Non-ASCII URL")

    return Protocol


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


async def serve(
    settings: StandinSettings,
    *,
    ready: Callable[[str], None] | None = None,
    clock: Clock = time.time,
) -> None:
    """Make the corpus, serve it, let it live; until cancelled.

    `ready` gets the address (`http://127.0.0.1:PORT`) once answers are quick. Raises OSError if the
    port is taken, upstream.standin.faults.BadFault for a wrong fault in the settings.
    """
    # The protocol is named because asyncio switches Nagle's delay off only where it is.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Bound before the corpus is made: a taken port is an error at once.
        listener.bind((settings.host, settings.port))
        app = await asyncio.to_thread(build_app, settings, clock=clock)
        try:
            await serve_app(app, listener, ready=ready)
        finally:
            app.close()
    finally:
        listener.close()


async def _watch_lateness(stats: Stats) -> None:
    """Tell how late this process has its turns: that much later it sees what was sent in time."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LATE_LOOK_SECONDS
        await asyncio.sleep(LATE_LOOK_SECONDS)
        stats.was_late(loop.time() - due)


async def serve_app(
    app: Standin, listener: socket.socket, *, ready: Callable[[str], None] | None = None
) -> None:
    """Serve a stand-in that is made already on a bound socket; until cancelled."""
    host, port = listener.getsockname()[:2]

    def started() -> None:
        if ready is not None:
            ready(f"http://{host}:{port}")

    config = uvicorn.Config(
        app,
        http=_protocol_of(app.stats),
        ws="none",
        lifespan="off",
        log_level="critical",
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server = _Server(config, started)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    living = asyncio.create_task(app.living.run())
    watching = asyncio.create_task(_watch_lateness(app.stats))
    try:
        done, _ = await asyncio.wait((serving, living), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        watching.cancel()
        living.cancel()
        server.should_exit = True
        server.force_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await living
        await serving
