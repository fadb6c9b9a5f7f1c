"""The HTTP application on a real socket, in the test's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence

from starlette.routing import BaseRoute

from sinks.http.app import Front
from sinks.http.library import Library
from sinks.http.server import serve_app


@contextlib.asynccontextmanager
async def served(library: Library, routes: Sequence[BaseRoute]) -> AsyncIterator[str]:
    """Serve on loopback while it lasts; gives the address, `http://127.0.0.1:port`."""
    listener = socket.create_server(("127.0.0.1", 0))
    ready = asyncio.Event()
    serving = asyncio.create_task(serve_app(Front(library, routes, ()), listener, ready=ready.set))
    try:
        await ready.wait()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        serving.cancel()
        await asyncio.wait([serving])
        listener.close()
