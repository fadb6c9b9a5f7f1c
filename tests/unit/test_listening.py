"""Addresses as people write them, and sockets bound to them."""

from __future__ import annotations

import pytest

from pypistream.children.listening import Address, address_now, address_of, bound
from schemas.errors import UsageError


@pytest.mark.parametrize(
    ("text", "address", "url"),
    [
        ("8000", ("127.0.0.1", 8000), "http://127.0.0.1:8000"),
        ("0.0.0.0:80", ("0.0.0.0", 80), "http://127.0.0.1:80"),
        ("[::1]:8000", ("::1", 8000), "http://[::1]:8000"),
        ("[::]:8000", ("::", 8000), "http://[::1]:8000"),
        ("web.example.org:8000", ("web.example.org", 8000), "http://web.example.org:8000"),
    ],
)
def test_an_address_is_read(text: str, address: tuple[str, int], url: str) -> None:
    """Host and port, a port alone, and brackets around IPv6."""
    assert address == address_of(text)
    assert url == address_of(text).url()


@pytest.mark.parametrize("text", ["", "x", "127.0.0.1", "h:99999", "http://h:1", "::1:8000", "h:"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not an address"):
        address_of(text)


def test_a_taken_port_is_an_error_that_says_so() -> None:
    """And it names the way out."""
    with bound(Address("127.0.0.1", 0)) as first:
        taken = address_now(first)
        with pytest.raises(UsageError, match=f"127.0.0.1:{taken.port} is taken") as refused:
            bound(taken)

        assert "--http" in refused.value.hint
