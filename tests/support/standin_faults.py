"""Checks of faults: one function per kind, which looks at what comes over the wire."""

from __future__ import annotations

import json
import socket
import time
import xmlrpc.client
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.support.standin import SECONDS_MAX, Reply, Running
from upstream.standin.faults import KINDS

HELLO = "/pypi/loopback-hello/json"
MIB = 1 << 20
Check = Callable[[Running], None]


class Checks(dict[str, Check]):
    """Checks by kind."""

    def of(self, kind: str) -> Callable[[Check], Check]:
        """Register the check of a kind."""

        def register(function: Check) -> Check:
            self[kind] = function
            return function

        return register

    def run(self, kind: str, site: Running) -> None:
        """The fault is seen; switched off, everything is right again."""
        self[kind](site)
        site.heal()

        assert site.truth("loopback-hello")["document"] == site.ask(HELLO).json()
        with rpc(site) as proxy:
            assert site.control("serial")["serial"] == proxy.changelog_last_serial()


def kinds_of(*modules: ModuleType) -> list[str]:
    """Kinds that these modules define, so that none is left without a check."""
    names = {module.__name__ for module in modules}
    return sorted(name for name, kind in KINDS.items() if kind.apply.__module__ in names)


def rpc(site: Running) -> Any:
    """Python's own client."""
    return xmlrpc.client.ServerProxy(f"{site.url}/pypi", allow_none=True)


def call(site: Running, method: str, *arguments: int) -> Reply:
    """A call whose answer is not decoded."""
    return site.ask("/pypi", "POST", xmlrpc.client.dumps(arguments, method).encode())


def status_check(
    checks: Checks, kind: str, expected: int, waiting: str | None = None, **parameters: int
) -> None:
    """Register a check of status and Retry-After on three routes."""

    def function(site: Running) -> None:
        site.fault(kind, **parameters)
        for reply in (site.ask(HELLO), site.ask("/simple/"), call(site, "changelog_last_serial")):
            assert expected == reply.status
            assert waiting == reply.headers.get("retry-after")

    checks[kind] = function


def not_json_check(checks: Checks, kind: str) -> None:
    """Register a check that status 200 comes with a body that is no JSON."""

    def function(site: Running) -> None:
        site.fault(kind)
        reply = site.ask(HELLO)
        assert 200 == reply.status
        with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
            reply.json()

    checks[kind] = function


def _all_that_comes(connection: socket.socket) -> bytes:
    """What arrives until nothing does for the socket's time-out; fails if the other side closes."""
    data = b""
    try:
        while part := connection.recv(1 << 16):
            data += part
    except TimeoutError:
        return data
    pytest.fail("the connection was closed")


def _in_flight(site: Running, count: int) -> None:
    """Wait until so many requests are."""
    end = time.monotonic() + SECONDS_MAX
    while (now := site.control("stats")["in_flight"]["all"]["now"]) != count:
        assert time.monotonic() < end, f"{now} requests are in flight, not {count}"
        time.sleep(0.02)


def hang_check(checks: Checks, kind: str) -> None:
    """Register a check that nothing more comes, and that a client that leaves is let go."""

    def function(site: Running) -> None:
        site.fault(kind)
        with socket.create_connection(site.address, timeout=SECONDS_MAX) as connection:
            if kind == "xmlrpc-hang":
                connection.sendall(b"POST /pypi HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx")
            else:
                connection.sendall(f"GET {HELLO} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            _in_flight(site, 1)
            data = connection.recv(1) if kind == "hang-in-body" else b""
            connection.settimeout(0.3)
            data += _all_that_comes(connection)
            assert (kind == "hang-in-body") == bool(data)
            assert site.control("stats")["in_flight"]["all"]["now"] == 1
        _in_flight(site, 0)

    checks[kind] = function
