"""Faults of connections: lengths, cuts, resets, slowness."""

from __future__ import annotations

import gzip
import http.client
import json
import time
import zlib

import pytest

from tests.support.standin import Running
from tests.support.standin_faults import (
    HELLO,
    Checks,
    hang_check,
    kinds_of,
)
from upstream.standin.faults import transport

CHECKS = Checks()


def head_and_body(data: bytes) -> tuple[bytes, bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    return head, body


def length_in(head: bytes) -> int:
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return int(lines[b"content-length"])


@CHECKS.of("wrong-length-short")
def _(site: Running) -> None:
    site.fault("wrong-length-short", by=10)
    head, body = head_and_body(site.raw(HELLO))
    assert length_in(head) + 10 == len(body)


@CHECKS.of("wrong-length-long")
def _(site: Running) -> None:
    site.fault("wrong-length-long", by=10)
    head, body = head_and_body(site.raw(HELLO))
    assert length_in(head) - 10 == len(body)
    assert json.loads(body)


@CHECKS.of("truncated-body")
def _(site: Running) -> None:
    site.fault("truncated-body", keep=0.5)
    with pytest.raises(http.client.IncompleteRead):
        site.ask(HELLO)
    head, body = head_and_body(site.raw(HELLO, accept_encoding="gzip"))
    assert b"content-encoding: gzip" in head
    assert length_in(head) // 2 == len(body)


@CHECKS.of("truncated-identity")
def _(site: Running) -> None:
    site.fault("truncated-identity")
    head, body = head_and_body(site.raw(HELLO))
    assert b"content-length" not in head
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


@CHECKS.of("truncated-chunks")
def _(site: Running) -> None:
    site.fault("truncated-chunks")
    with pytest.raises(http.client.IncompleteRead):
        site.ask(HELLO)


@CHECKS.of("truncated-gzip")
def _(site: Running) -> None:
    site.fault("truncated-gzip")
    reply = site.ask(HELLO)
    assert "gzip" == reply.headers["content-encoding"]
    assert len(reply.body) == int(reply.headers["content-length"])
    with pytest.raises(EOFError):
        gzip.decompress(reply.body)


@CHECKS.of("truncated-text")
def _(site: Running) -> None:
    site.fault("truncated-text")
    with pytest.raises(json.JSONDecodeError):
        site.ask(HELLO).json()


@CHECKS.of("gzip-without-trailer")
def _(site: Running) -> None:
    site.fault("gzip-without-trailer")
    inflate = zlib.decompressobj(31)
    body = inflate.decompress(site.ask(HELLO).body)
    assert site.truth("loopback-hello")["document"] == json.loads(body)
    assert not inflate.eof


@CHECKS.of("gzip-with-garbage")
def _(site: Running) -> None:
    site.fault("gzip-with-garbage")
    inflate = zlib.decompressobj(31)
    inflate.decompress(site.ask(HELLO).body)
    assert inflate.eof
    assert b"garbage" in inflate.unused_data


@CHECKS.of("bad-gzip")
def _(site: Running) -> None:
    site.fault("bad-gzip")
    with pytest.raises((zlib.error, gzip.BadGzipFile, EOFError)):
        gzip.decompress(site.ask(HELLO).body)


@CHECKS.of("not-gzip")
def _(site: Running) -> None:
    site.fault("not-gzip")
    reply = site.ask(HELLO)
    assert "gzip" == reply.headers["content-encoding"]
    assert reply.json()


@CHECKS.of("drip")
def _(site: Running) -> None:
    size = len(site.ask(HELLO).body)
    site.fault("drip", bytes_per_second=size * 2)
    began = time.monotonic()
    reply = site.ask(HELLO)
    assert reply.json()
    assert time.monotonic() - began > 0.3


for _kind in ("hang", "hang-in-body"):
    hang_check(CHECKS, _kind)


@CHECKS.of("reset")
def _(site: Running) -> None:
    site.fault("reset", route="json")
    assert b"RESET" == site.raw(HELLO)


@CHECKS.of("reset-in-body")
def _(site: Running) -> None:
    site.fault("reset-in-body")
    data = site.raw(HELLO)
    assert data.startswith(b"RESET")


@CHECKS.of("close")
def _(site: Running) -> None:
    site.fault("close")
    assert b"" == site.raw(HELLO)
    with pytest.raises(http.client.RemoteDisconnected):
        site.ask(HELLO)


@CHECKS.of("not-http")
def _(site: Running) -> None:
    site.fault("not-http")
    with pytest.raises(http.client.BadStatusLine):
        site.ask(HELLO)


@CHECKS.of("huge-headers")
def _(site: Running) -> None:
    site.fault("huge-headers", header_bytes=200_000)
    with pytest.raises(http.client.LineTooLong):
        site.ask(HELLO)


@pytest.mark.parametrize("kind", kinds_of(transport))
def test_each_fault_shows_and_heals(site: Running, kind: str) -> None:
    """The fault is seen on the wire; switched off, everything is right again."""
    CHECKS.run(kind, site)
