"""The HTTP application as a client sees it, without a socket: requests go to it as ASGI calls."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
from starlette.routing import BaseRoute

from sinks.http.app import Front, RefusalPage
from sinks.http.library import Library

ADDRESS = "http://127.0.0.1:8000"


def client_of(
    library: Library,
    routes: Sequence[BaseRoute] = (),
    hosts: Sequence[str] = (),
    address: str = "127.0.0.1",
    page: RefusalPage | None = None,
) -> httpx.AsyncClient:
    """A client of the application with these routes; used as `async with`. `address` is its own.

    It names no encoding that it takes: a test says what it wants.
    """
    application = Front(library, routes, hosts, page)
    transport = httpx.ASGITransport(application, client=(address, 1))
    client = httpx.AsyncClient(transport=transport, base_url=ADDRESS)
    del client.headers["accept-encoding"]
    return client


async def raw_answer(
    library: Library, routes: Sequence[BaseRoute], path: str, headers: dict[str, str]
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body as they were sent: httpx would unpack the body."""
    sent: list[dict[str, object]] = []
    asked = [(b"host", b"localhost")]
    asked += [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": asked,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message)

    await Front(library, routes, ())(scope, receive, send)
    start, *rest = sent
    given = start["headers"]
    assert isinstance(given, list)
    status = start["status"]
    assert isinstance(status, int)
    named = {name.decode().lower(): value.decode() for name, value in given}
    bodies = [message.get("body", b"") for message in rest]
    return status, named, b"".join(body for body in bodies if isinstance(body, bytes))
