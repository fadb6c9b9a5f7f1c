"""Refuses every socket that would leave the machine, in the tests and in each Python they start.

`tests/conftest.py` imports this module and puts its folder on PYTHONPATH, so that the interpreter
of a subprocess runs it before anything else. An audit hook sees C code that goes through `socket`,
name look-ups included, and cannot be taken out again.
"""

from __future__ import annotations

import socket
import sys

LOCAL_NAMES = {"", "localhost", "ip6-localhost", "0.0.0.0", "::", "::1"}  # the last ones by servers
GUARDED = {
    "socket.connect",
    "socket.sendto",
    "socket.getaddrinfo",
    "socket.gethostbyname",
}


class LeavesTheMachine(RuntimeError):
    """No OSError: what handles a broken network must not swallow it."""


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if event not in GUARDED:
        return
    host = _host(event, arguments)
    if host is None or host in LOCAL_NAMES or host.startswith("127."):
        return
    if host.endswith(".invalid"):  # RFC 6761: never resolves; tests of a wrong address use it
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    raise LeavesTheMachine(f"{event} to {host!r}: tests reach loopback only")


def _host(event: str, arguments: tuple[object, ...]) -> str | None:
    """Return the host of an audit event; None if it has none (unix socket, passive look-up)."""
    if event in {"socket.connect", "socket.sendto"}:
        own, address = arguments[0], arguments[1]
        if getattr(own, "family", None) not in {socket.AF_INET, socket.AF_INET6}:
            return None
        host = address[0] if isinstance(address, tuple) else None
    else:
        host = arguments[0]
    if isinstance(host, bytes | bytearray):
        host = bytes(host).decode("ascii", "replace")
    return host if isinstance(host, str) else None


sys.addaudithook(_refuse)
