"""Faults of content and status: broken bodies, bombs, limits, refusals, redirects."""

from __future__ import annotations

import gzip
import json
import time
from email.utils import parsedate_to_datetime

import pytest

from tests.support.standin import Running
from tests.support.standin_faults import (
    HELLO,
    MIB,
    Checks,
    kinds_of,
    not_json_check,
    status_check,
)
from upstream.standin.faults import content, refusals

CHECKS = Checks()


for _kind in ("bad-json", "html", "empty-body", "bad-utf8"):
    not_json_check(CHECKS, _kind)


@CHECKS.of("not-an-object")
def _(site: Running) -> None:
    site.fault("not-an-object", value=[1])
    assert [1] == site.ask(HELLO).json()


@CHECKS.of("missing-keys")
def _(site: Running) -> None:
    site.fault("missing-keys")
    assert {"message": "ok"} == site.ask(HELLO).json()


@CHECKS.of("wrong-types")
def _(site: Running) -> None:
    site.fault("wrong-types")
    assert isinstance(site.ask(HELLO).json()["releases"], list)


@CHECKS.of("nan")
def _(site: Running) -> None:
    site.fault("nan")
    assert b"NaN" in site.ask(HELLO).body


@CHECKS.of("lone-surrogates")
def _(site: Running) -> None:
    site.fault("lone-surrogates")
    assert b"\\ud800" in site.ask(HELLO).body


@CHECKS.of("nul")
def _(site: Running) -> None:
    site.fault("nul")
    assert b"\\u0000" in site.ask(HELLO).body


@CHECKS.of("big-integer")
def _(site: Running) -> None:
    site.fault("big-integer", serial_too=True)
    document = site.ask(HELLO).json()
    assert 2**64 == document["last_serial"] == document["info"]["downloads"]["last_day"]


@CHECKS.of("depth-bomb")
def _(site: Running) -> None:
    site.fault("depth-bomb", depth=2000)
    assert b"[" * 2000 in site.ask(HELLO).body


@CHECKS.of("wide-bomb")
def _(site: Running) -> None:
    site.fault("wide-bomb", mib=1)
    assert MIB < len(site.ask(HELLO).body)


@CHECKS.of("huge-body")
def _(site: Running) -> None:
    site.fault("huge-body", mib=3)
    reply = site.ask(HELLO)
    assert 3 * MIB < len(reply.body)
    assert "loopback-hello" == reply.json()["info"]["name"]


@CHECKS.of("gzip-bomb")
def _(site: Running) -> None:
    site.fault("gzip-bomb", mib=64)
    reply = site.ask(HELLO)
    assert len(reply.body) < MIB
    assert 64 * MIB < len(gzip.decompress(reply.body)) < 65 * MIB


@CHECKS.of("gzip-in-gzip")
def _(site: Running) -> None:
    site.fault("gzip-in-gzip", mib=64)
    reply = site.ask(HELLO)
    assert len(reply.body) < 10_000
    assert 64 * MIB < len(gzip.decompress(gzip.decompress(reply.body)))


@CHECKS.of("double-gzip")
def _(site: Running) -> None:
    site.fault("double-gzip")
    reply = site.ask(HELLO)
    assert "gzip, gzip" == reply.headers["content-encoding"]
    assert json.loads(gzip.decompress(gzip.decompress(reply.body)))


@CHECKS.of("unknown-encoding")
def _(site: Running) -> None:
    site.fault("unknown-encoding", encoding="zstd")
    assert "zstd" == site.ask(HELLO).headers["content-encoding"]


status_check(CHECKS, "429", 429)
status_check(CHECKS, "429-retry-after", 429, "7", retry_after=7)
status_check(CHECKS, "429-bad-retry-after", 429, "soon")
status_check(CHECKS, "503", 503)
status_check(CHECKS, "503-retry-after", 503, "3")
status_check(CHECKS, "500", 500)
status_check(CHECKS, "403", 403)
status_check(CHECKS, "status", 502, status=502)


@CHECKS.of("429-retry-date")
def _(site: Running) -> None:
    site.fault("429-retry-date", retry_after=5)
    before = time.time()
    date = parsedate_to_datetime(site.ask(HELLO).headers["retry-after"])
    assert before + 5 <= date.timestamp() <= time.time() + 6


@CHECKS.of("redirect-loop")
def _(site: Running) -> None:
    site.fault("redirect-loop")
    assert HELLO == site.ask(HELLO).headers["location"]


@CHECKS.of("redirect-chain")
def _(site: Running) -> None:
    site.fault("redirect-chain", hops=3)
    path, seen = HELLO, []
    while (reply := site.ask(path)).status == 302:
        path = reply.headers["location"]
        seen.append(path)
    assert (3, 200) == (len(seen), reply.status)


@CHECKS.of("redirect-host")
def _(site: Running) -> None:
    site.fault("redirect-host", location="http://127.0.0.3:1/x")
    assert "http://127.0.0.3:1/x" == site.ask(HELLO).headers["location"]


@CHECKS.of("redirect-file")
def _(site: Running) -> None:
    site.fault("redirect-file")
    assert site.ask(HELLO).headers["location"].startswith("file:")


@CHECKS.of("redirect-project")
def _(site: Running) -> None:
    site.fault("redirect-project")
    assert HELLO != site.ask(HELLO).headers["location"]


@CHECKS.of("redirect-nowhere")
def _(site: Running) -> None:
    site.fault("redirect-nowhere")
    reply = site.ask(HELLO)
    assert (302, None) == (reply.status, reply.headers.get("location"))


@pytest.mark.parametrize("kind", kinds_of(content, refusals))
def test_each_fault_shows_and_heals(site: Running, kind: str) -> None:
    """The fault is seen on the wire; switched off, everything is right again."""
    CHECKS.run(kind, site)
