"""The HTTP client beside a server that answers whatever bytes a test wants."""

from __future__ import annotations

import contextlib
import json
import xmlrpc.client
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from schemas.names import normalize
from tests.support.raw_server import Answerer, RawServer, message, packed, raw_server
from upstream.client import HttpUpstream
from upstream.limits import Clock
from upstream.settings import ClientSettings

DEMO = normalize("demo")
BODY = json.dumps({"info": {"name": "demo"}, "last_serial": 42}).encode()
FULL = packed(BODY, etag='"abc"', x_pypi_last_serial="42", content_type="application/json")


def unpaced(url: str, **changed: Any) -> ClientSettings:
    """As fast as it goes; whoever wants a time-out to come shortens that one."""
    return replace(ClientSettings(url, "me@example.org", rate=0, read_seconds_max=60), **changed)


@contextlib.asynccontextmanager
async def upstream(
    answer: Answerer, clock: Clock | None = None, **changed: Any
) -> AsyncIterator[tuple[HttpUpstream, RawServer]]:
    """A client of these settings, and the server that it asks."""
    async with raw_server(answer) as server:
        client = HttpUpstream(unpaced(server.url, **changed), clock=clock)
        try:
            yield client, server
        finally:
            await client.close()


def xml(value: Any) -> bytes:
    """The answer of an XML-RPC method."""
    return message(
        xmlrpc.client.dumps((value,), methodresponse=True, allow_none=True).encode(),
        content_type="text/xml",
    )
