"""The guard of `tests/support/loopback_only`, here and in a subprocess."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

OUTSIDE = "192.0.2.1"  # RFC 5737: an address of nobody
REFUSED = "tests reach loopback only"


def test_an_address_outside_is_refused() -> None:
    """Neither a connection nor a datagram leaves the machine."""
    with socket.socket() as stream, pytest.raises(RuntimeError, match=REFUSED):
        stream.connect((OUTSIDE, 80))
    with (
        socket.socket(type=socket.SOCK_DGRAM) as datagram,
        pytest.raises(RuntimeError, match=REFUSED),
    ):
        datagram.sendto(b"x", (OUTSIDE, 80))


def test_a_name_outside_is_not_even_looked_up() -> None:
    """No DNS query is made; `.invalid` fails as it would anywhere."""
    with pytest.raises(RuntimeError, match=REFUSED):
        socket.getaddrinfo("files.example.org", 443)
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("nowhere.invalid", 443)


def test_loopback_works() -> None:
    """A server on 127.0.0.1 is reached by name and by number."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            with socket.create_connection((host, port)) as client:
                assert port == client.getpeername()[1]


def test_a_subprocess_is_guarded_too() -> None:
    """A Python started by a test meets the same refusal."""
    program = f"import socket; socket.create_connection(({OUTSIDE!r}, 80), 1)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert REFUSED in done.stderr
