"""Where the HTTP service listens: an address as people write it, and a socket bound to it."""

from __future__ import annotations

import errno
import re
import socket
from typing import NamedTuple

from pypistream.data_dir import DataDir
from schemas.errors import UsageError

DEFAULT_HTTP = "127.0.0.1:8000"
PORT_MAX = 65_535  # 16 bits
_ADDRESS = re.compile(r"(?:(?P<host>[^\s:/@\[\]]+|\[[0-9A-Fa-f:.]+\]):)?(?P<port>[0-9]{1,5})")


class Address(NamedTuple):
    """A host (name or IP address, without brackets) and a port, 0 = any free one."""

    host: str
    port: int

    def url(self) -> str:
        """The URL under which a browser on this machine reaches it."""
        everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  no binding
        host = everywhere.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def address_of(text: str) -> Address:
    """`HOST:PORT`, `[IPv6]:PORT`, or a port alone: this machine only. Raises UsageError."""
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found["port"]) > PORT_MAX:
        raise UsageError(
            f"http = {text!r} is not an address", hint="HOST:PORT, as in 127.0.0.1:8000"
        )
    host = (found["host"] or "127.0.0.1").strip("[]")
    return Address(host, int(found["port"]))


def bound(address: Address) -> socket.socket:
    """A socket that listens there, for `serve` or for a child. Raises UsageError."""
    try:
        [(family, kind, protocol, _, place), *_] = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise UsageError(
            f"{address.host!r} is not an address of this machine: {error.strerror or error}",
            hint="--http HOST:PORT; 0.0.0.0 is every address",
        ) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        # A client that connects before the service is ready waits instead of being refused.
        listener.listen(socket.SOMAXCONN)
    except OSError as error:
        listener.close()
        raise _refused(error, address) from error
    return listener


def bound_for(role: str, text: str, data: DataDir) -> socket.socket:
    """As `bound`, for a role of a directory. Raises also DataDirectoryInUse."""
    try:
        return bound(address_of(text))
    except UsageError:
        if data.state.exists():  # the listener there may be this very role of the same directory
            data.hold(role).release()
        raise


def address_now(listener: socket.socket) -> Address:
    """Where a socket listens, with the port it was given."""
    host, port = listener.getsockname()[:2]
    return Address(host, port)


def _refused(error: OSError, address: Address) -> UsageError:
    where = f"{address.host}:{address.port}"
    if error.errno == errno.EADDRINUSE:
        return UsageError(
            f"{where} is taken: another process listens there",
            hint="choose another port with --http HOST:PORT; port 0 is any free one",
        )
    return UsageError(
        f"cannot listen at {where}: {error.strerror}",
        hint="choose another address with --http HOST:PORT",
    )
