"""Each fault can be seen on the wire, alone, and is gone once healed."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import time
import xmlrpc.client
import zlib
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from xml.parsers.expat import ExpatError

import pytest

from tests.support.standin import Reply, Running, standin
from upstream.standin.faults import KINDS

HELLO = "/pypi/loopback-hello/json"
GREETING = "/pypi/loopback-greeting/json"
MIB = 1 << 20
Check = Callable[[Running], None]
CHECKS: dict[str, Check] = {}


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    with standin(projects=120) as running:
        yield running


@pytest.fixture
def site(shared: Running) -> Iterator[Running]:
    shared.heal()
    yield shared
    shared.heal()


def check(kind: str) -> Callable[[Check], Check]:
    def register(function: Check) -> Check:
        CHECKS[kind] = function
        return function

    return register


def rpc(site: Running) -> Any:
    return xmlrpc.client.ServerProxy(f"{site.url}/pypi", allow_none=True)


def call(site: Running, method: str, *arguments: int) -> Reply:
    body = xmlrpc.client.dumps(arguments, method).encode()
    return site.ask("/pypi", "POST", body)


def page(site: Running, since: int) -> list[list[Any]]:
    (found,), _ = xmlrpc.client.loads(
        call(site, "changelog_since_serial", since).body, use_builtin_types=True
    )
    assert isinstance(found, list)
    return found


def head_and_body(data: bytes) -> tuple[bytes, bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    return head, body


def length_in(head: bytes) -> int:
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return int(lines[b"content-length"])


# --- freshness


@check("stale")
def _(site: Running) -> None:
    time.sleep(0.65)  # what other checks changed is older than the lag
    before = site.ask(HELLO)
    site.fault("stale", lag_seconds=0.6)
    site.change("role", "loopback-hello")
    old = site.ask(HELLO)
    not_modified = site.ask(HELLO, if_none_match=before.headers["etag"])
    time.sleep(0.65)
    new = site.ask(HELLO)

    assert before.body == old.body
    assert 304 == not_modified.status
    assert before.json()["last_serial"] < new.json()["last_serial"]


@check("stuck")
def _(site: Running) -> None:
    before = site.ask(HELLO)
    site.fault("stuck")
    for _ in range(2):
        site.change("role", "loopback-hello")
        assert before.body == site.ask(HELLO).body
    site.heal()
    assert site.truth("loopback-hello")["document"] == site.ask(HELLO).json()


@check("soft-purge")
def _(site: Running) -> None:
    before = site.ask(HELLO)
    site.fault("soft-purge")
    assert before.body == site.ask(HELLO).body
    site.change("role", "loopback-hello")
    first = site.ask(HELLO, if_none_match=before.headers["etag"])
    second = site.ask(HELLO, if_none_match=before.headers["etag"])
    site.change("role", "loopback-hello")
    third, fourth = site.ask(HELLO), site.ask(HELLO)

    assert 304 == first.status
    assert 200 == second.status
    assert second.json() == third.json()
    assert third.json()["last_serial"] < fourth.json()["last_serial"]
    created = site.change("create")["project"]
    assert [404, 200] == [site.ask(f"/pypi/{created}/json").status for _ in range(2)]


@check("serial-back")
def _(site: Running) -> None:
    unchanged = next(n for n in site.served_names() if not n.startswith("loopback"))
    for name in ("loopback-hello", unchanged):
        site.change("role", "loopback-hello")
        new = site.ask(f"/pypi/{name}/json").headers["x-pypi-last-serial"]
        number = site.fault("serial-back")
        back = site.ask(f"/pypi/{name}/json")
        site.control(f"faults/{number}", method="DELETE")
        again = site.ask(f"/pypi/{name}/json").headers["x-pypi-last-serial"]

        assert new == again
        assert int(back.headers["x-pypi-last-serial"]) < int(new)
        assert back.json()["last_serial"] == int(back.headers["x-pypi-last-serial"])


@check("header-serial")
def _(site: Running) -> None:
    site.fault("header-serial", by=7)
    reply = site.ask(HELLO)
    assert reply.json()["last_serial"] + 7 == int(reply.headers["x-pypi-last-serial"])


@check("other-shape")
def _(site: Running) -> None:
    before = site.ask(HELLO)
    site.fault("other-shape")
    reply = site.ask(HELLO)
    assert "rolled_out_field" in reply.json()["info"]
    assert before.json()["last_serial"] == reply.json()["last_serial"]
    assert before.headers["etag"] != reply.headers["etag"]


@check("spurious-404")
def _(site: Running) -> None:
    site.fault("spurious-404", count=1)
    assert [404, 200] == [site.ask(HELLO).status for _ in range(2)]
    site.fault("spurious-404", after_event_seconds=5)
    made = site.change("create")["project"]
    old = next(n for n in site.served_names() if site.truth(n)["serial"] < 40_000_000)
    assert 404 == site.ask(f"/pypi/{made}/json").status
    assert 200 == site.ask(f"/pypi/{old}/json").status


@check("cached-404")
def _(site: Running) -> None:
    site.fault("cached-404", ttl_seconds=0.5)
    name = site.change("remove-project")["project"]
    first = site.ask(f"/pypi/{name}/json").status
    site.change("create", name)
    kept = site.ask(f"/pypi/{name}/json").status
    time.sleep(0.55)
    assert [404, 404, 200] == [first, kept, site.ask(f"/pypi/{name}/json").status]


@check("foreign-body")
def _(site: Running) -> None:
    site.fault("foreign-body")
    reply = site.ask(HELLO)
    assert 200 == reply.status
    assert "loopback-hello" != reply.json()["info"]["name"]


@check("index-old")
def _(site: Running) -> None:
    accept = "application/vnd.pypi.simple.v1+json"
    site.fault("index-old", lag_seconds=60)
    made = site.change("create")
    names = {p["name"] for p in site.ask("/simple/", accept=accept).json()["projects"]}
    assert made["display_name"] not in names
    site.heal()
    names = {p["name"] for p in site.ask("/simple/", accept=accept).json()["projects"]}
    assert made["display_name"] in names


@check("index-lacks")
def _(site: Running) -> None:
    accept = "application/vnd.pypi.simple.v1+json"
    whole = len(site.ask("/simple/", accept=accept).json()["projects"])
    site.fault("index-lacks", names_share=0.5)
    assert round(whole / 2) == len(site.ask("/simple/", accept=accept).json()["projects"])


# --- transport


@check("wrong-length-short")
def _(site: Running) -> None:
    site.fault("wrong-length-short", by=10)
    head, body = head_and_body(site.raw(HELLO))
    assert length_in(head) + 10 == len(body)


@check("wrong-length-long")
def _(site: Running) -> None:
    site.fault("wrong-length-long", by=10)
    head, body = head_and_body(site.raw(HELLO))
    assert length_in(head) - 10 == len(body)
    assert json.loads(body)


@check("truncated-body")
def _(site: Running) -> None:
    site.fault("truncated-body", keep=0.5)
    with pytest.raises(http.client.IncompleteRead):
        site.ask(HELLO)
    head, body = head_and_body(site.raw(HELLO, accept_encoding="gzip"))
    assert b"content-encoding: gzip" in head
    assert length_in(head) // 2 == len(body)


@check("truncated-identity")
def _(site: Running) -> None:
    site.fault("truncated-identity")
    head, body = head_and_body(site.raw(HELLO))
    assert b"content-length" not in head
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


@check("truncated-chunks")
def _(site: Running) -> None:
    site.fault("truncated-chunks")
    with pytest.raises(http.client.IncompleteRead):
        site.ask(HELLO)


@check("truncated-gzip")
def _(site: Running) -> None:
    site.fault("truncated-gzip")
    reply = site.ask(HELLO)
    assert "gzip" == reply.headers["content-encoding"]
    assert len(reply.body) == int(reply.headers["content-length"])
    with pytest.raises(EOFError):
        gzip.decompress(reply.body)


@check("truncated-text")
def _(site: Running) -> None:
    site.fault("truncated-text")
    with pytest.raises(json.JSONDecodeError):
        site.ask(HELLO).json()


@check("gzip-without-trailer")
def _(site: Running) -> None:
    site.fault("gzip-without-trailer")
    inflate = zlib.decompressobj(31)
    body = inflate.decompress(site.ask(HELLO).body)
    assert site.truth("loopback-hello")["document"] == json.loads(body)
    assert not inflate.eof


@check("gzip-with-garbage")
def _(site: Running) -> None:
    site.fault("gzip-with-garbage")
    inflate = zlib.decompressobj(31)
    inflate.decompress(site.ask(HELLO).body)
    assert inflate.eof
    assert b"garbage" in inflate.unused_data


@check("bad-gzip")
def _(site: Running) -> None:
    site.fault("bad-gzip")
    with pytest.raises((zlib.error, gzip.BadGzipFile, EOFError)):
        gzip.decompress(site.ask(HELLO).body)


@check("not-gzip")
def _(site: Running) -> None:
    site.fault("not-gzip")
    reply = site.ask(HELLO)
    assert "gzip" == reply.headers["content-encoding"]
    assert reply.json()


@check("drip")
def _(site: Running) -> None:
    size = len(site.ask(HELLO).body)
    site.fault("drip", bytes_per_second=size * 2)
    began = time.monotonic()
    reply = site.ask(HELLO)
    assert reply.json()
    assert 0.3 < time.monotonic() - began < 2


def _all_that_comes(connection: socket.socket) -> bytes:
    """What arrives until nothing does for the socket's time-out; fails if the other side closes."""
    data = b""
    try:
        while part := connection.recv(1 << 16):
            data += part
    except TimeoutError:
        return data
    pytest.fail("the connection was closed")


def _hangs(site: Running, kind: str) -> None:
    site.fault(kind)
    with socket.create_connection(site.address, timeout=0.3) as connection:
        if kind == "xmlrpc-hang":
            connection.sendall(b"POST /pypi HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx")
        else:
            connection.sendall(f"GET {HELLO} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        data = _all_that_comes(connection)
        assert (kind == "hang-in-body") == bool(data)
        assert site.control("stats")["in_flight"]["all"]["now"] == 1
    for _ in range(100):
        if site.control("stats")["in_flight"]["all"]["now"] == 0:
            return
        time.sleep(0.02)
    pytest.fail("the hanging request is still in flight after the client has gone")


for _kind in ("hang", "hang-in-body", "xmlrpc-hang"):
    check(_kind)(lambda site, kind=_kind: _hangs(site, kind))  # type: ignore[misc]  # loop variable


@check("reset")
def _(site: Running) -> None:
    site.fault("reset", route="json")
    assert b"RESET" == site.raw(HELLO)


@check("reset-in-body")
def _(site: Running) -> None:
    site.fault("reset-in-body")
    data = site.raw(HELLO)
    assert data.startswith(b"RESET")


@check("close")
def _(site: Running) -> None:
    site.fault("close")
    assert b"" == site.raw(HELLO)
    with pytest.raises(http.client.RemoteDisconnected):
        site.ask(HELLO)


@check("not-http")
def _(site: Running) -> None:
    site.fault("not-http")
    with pytest.raises(http.client.BadStatusLine):
        site.ask(HELLO)


@check("huge-headers")
def _(site: Running) -> None:
    site.fault("huge-headers", header_bytes=200_000)
    with pytest.raises(http.client.LineTooLong):
        site.ask(HELLO)


# --- content


def _not_json(kind: str) -> None:
    def function(site: Running) -> None:
        site.fault(kind)
        reply = site.ask(HELLO)
        assert 200 == reply.status
        with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
            reply.json()

    CHECKS[kind] = function


for _kind in ("bad-json", "html", "empty-body", "bad-utf8"):
    _not_json(_kind)


@check("not-an-object")
def _(site: Running) -> None:
    site.fault("not-an-object", value=[1])
    assert [1] == site.ask(HELLO).json()


@check("missing-keys")
def _(site: Running) -> None:
    site.fault("missing-keys")
    assert {"message": "ok"} == site.ask(HELLO).json()


@check("wrong-types")
def _(site: Running) -> None:
    site.fault("wrong-types")
    assert isinstance(site.ask(HELLO).json()["releases"], list)


@check("nan")
def _(site: Running) -> None:
    site.fault("nan")
    assert b"NaN" in site.ask(HELLO).body


@check("lone-surrogates")
def _(site: Running) -> None:
    site.fault("lone-surrogates")
    assert b"\\ud800" in site.ask(HELLO).body


@check("nul")
def _(site: Running) -> None:
    site.fault("nul")
    assert b"\\u0000" in site.ask(HELLO).body


@check("big-integer")
def _(site: Running) -> None:
    site.fault("big-integer", serial_too=True)
    document = site.ask(HELLO).json()
    assert 2**64 == document["last_serial"] == document["info"]["downloads"]["last_day"]


@check("depth-bomb")
def _(site: Running) -> None:
    site.fault("depth-bomb", depth=2000)
    assert b"[" * 2000 in site.ask(HELLO).body


@check("wide-bomb")
def _(site: Running) -> None:
    site.fault("wide-bomb", mib=1)
    assert MIB < len(site.ask(HELLO).body)


@check("huge-body")
def _(site: Running) -> None:
    site.fault("huge-body", mib=3)
    reply = site.ask(HELLO)
    assert 3 * MIB < len(reply.body)
    assert "loopback-hello" == reply.json()["info"]["name"]


@check("gzip-bomb")
def _(site: Running) -> None:
    site.fault("gzip-bomb", mib=64)
    reply = site.ask(HELLO)
    assert len(reply.body) < MIB
    assert 64 * MIB < len(gzip.decompress(reply.body)) < 65 * MIB


@check("gzip-in-gzip")
def _(site: Running) -> None:
    site.fault("gzip-in-gzip", mib=64)
    reply = site.ask(HELLO)
    assert len(reply.body) < 10_000
    assert 64 * MIB < len(gzip.decompress(gzip.decompress(reply.body)))


@check("double-gzip")
def _(site: Running) -> None:
    site.fault("double-gzip")
    reply = site.ask(HELLO)
    assert "gzip, gzip" == reply.headers["content-encoding"]
    assert json.loads(gzip.decompress(gzip.decompress(reply.body)))


@check("unknown-encoding")
def _(site: Running) -> None:
    site.fault("unknown-encoding", encoding="zstd")
    assert "zstd" == site.ask(HELLO).headers["content-encoding"]


# --- refusals


def _status(kind: str, expected: int, waiting: str | None = None, **parameters: int) -> None:
    def function(site: Running) -> None:
        site.fault(kind, **parameters)
        for reply in (site.ask(HELLO), site.ask("/simple/"), call(site, "changelog_last_serial")):
            assert expected == reply.status
            assert waiting == reply.headers.get("retry-after")

    CHECKS[kind] = function


_status("429", 429)
_status("429-retry-after", 429, "7", retry_after=7)
_status("429-bad-retry-after", 429, "soon")
_status("503", 503)
_status("503-retry-after", 503, "3")
_status("500", 500)
_status("403", 403)
_status("status", 502, status=502)


@check("429-retry-date")
def _(site: Running) -> None:
    site.fault("429-retry-date", retry_after=5)
    date = parsedate_to_datetime(site.ask(HELLO).headers["retry-after"])
    assert 4.5 < date.timestamp() - time.time() <= 6


@check("redirect-loop")
def _(site: Running) -> None:
    site.fault("redirect-loop")
    assert HELLO == site.ask(HELLO).headers["location"]


@check("redirect-chain")
def _(site: Running) -> None:
    site.fault("redirect-chain", hops=3)
    path, seen = HELLO, []
    while (reply := site.ask(path)).status == 302:
        path = reply.headers["location"]
        seen.append(path)
    assert (3, 200) == (len(seen), reply.status)


@check("redirect-host")
def _(site: Running) -> None:
    site.fault("redirect-host", location="http://127.0.0.3:1/x")
    assert "http://127.0.0.3:1/x" == site.ask(HELLO).headers["location"]


@check("redirect-file")
def _(site: Running) -> None:
    site.fault("redirect-file")
    assert site.ask(HELLO).headers["location"].startswith("file:")


@check("redirect-project")
def _(site: Running) -> None:
    site.fault("redirect-project")
    assert HELLO != site.ask(HELLO).headers["location"]


@check("redirect-nowhere")
def _(site: Running) -> None:
    site.fault("redirect-nowhere")
    reply = site.ask(HELLO)
    assert (302, None) == (reply.status, reply.headers.get("location"))


# --- XML-RPC


@check("xmlrpc-fault")
def _(site: Running) -> None:
    site.fault("xmlrpc-fault", code=42, message="broken")
    with rpc(site) as proxy, pytest.raises(xmlrpc.client.Fault, match="42: 'broken'"):
        proxy.changelog_last_serial()


@check("xmlrpc-rate-limit")
def _(site: Running) -> None:
    site.fault("xmlrpc-rate-limit")
    with rpc(site) as proxy, pytest.raises(xmlrpc.client.Fault, match="-32500") as caught:
        proxy.changelog_last_serial()
    assert caught.value.faultString.endswith("too many requests by the client.")


@check("xmlrpc-rate-limit-reset")
def _(site: Running) -> None:
    site.fault("xmlrpc-rate-limit-reset", reset=9)
    with rpc(site) as proxy, pytest.raises(xmlrpc.client.Fault, match="reset in 9 seconds"):
        proxy.changelog_last_serial()


@check("xmlrpc-bad-xml")
def _(site: Running) -> None:
    site.fault("xmlrpc-bad-xml")
    with rpc(site) as proxy, pytest.raises(ExpatError):
        proxy.changelog_last_serial()


@check("xmlrpc-control-character")
def _(site: Running) -> None:
    site.fault("xmlrpc-control-character")
    with rpc(site) as proxy, pytest.raises(ExpatError):
        proxy.changelog_since_serial(0)


@check("xmlrpc-entities")
def _(site: Running) -> None:
    site.fault("xmlrpc-entities")
    assert b"<!ENTITY l9" in call(site, "changelog_last_serial").body


@check("xmlrpc-gone")
def _(site: Running) -> None:
    for status in (404, 410, 501):
        site.heal()
        site.fault("xmlrpc-gone", status=status)
        assert status == call(site, "changelog_last_serial").status
        assert 200 == site.ask(HELLO).status


@check("xmlrpc-lagging")
def _(site: Running) -> None:
    time.sleep(0.01)
    before = site.control("serial")["serial"]
    site.fault("xmlrpc-lagging", lag_seconds=0.5)
    time.sleep(0.5)
    made = site.change("role", "loopback-hello")
    with rpc(site) as proxy:
        assert before == proxy.changelog_last_serial()
        assert [] == proxy.changelog_since_serial(before)
        assert before >= proxy.list_packages_with_serial()["loopback-hello"]
        time.sleep(0.55)
        assert made["serial"] == proxy.changelog_last_serial()


@check("xmlrpc-low-serial")
def _(site: Running) -> None:
    site.fault("xmlrpc-low-serial", serial=1000)
    with rpc(site) as proxy:
        assert 1000 == proxy.changelog_last_serial()
        assert [] == proxy.changelog_since_serial(0)


@check("xmlrpc-serial-jump")
def _(site: Running) -> None:
    last = site.control("serial")["serial"]
    site.fault("xmlrpc-serial-jump", by=20_000_000)
    with rpc(site) as proxy:
        assert last + 20_000_000 == proxy.changelog_last_serial()
    assert last + 20_000_000 == page(site, last)[-1][4]


@check("xmlrpc-rows-out-of-order")
def _(site: Running) -> None:
    right = page(site, 0)
    site.fault("xmlrpc-rows-out-of-order")
    assert right[::-1] == page(site, 0)


@check("xmlrpc-repeated-rows")
def _(site: Running) -> None:
    right = page(site, 0)
    since = right[50][4]
    assert isinstance(since, int)
    site.fault("xmlrpc-repeated-rows", count_back=3)
    assert right[48:] == page(site, since)


@check("xmlrpc-empty-page")
def _(site: Running) -> None:
    site.fault("xmlrpc-empty-page", count=1)
    assert [] == page(site, 0)
    assert page(site, 0)


@check("xmlrpc-bad-row")
def _(site: Running) -> None:
    right = page(site, 0)
    site.fault("xmlrpc-bad-row")
    odd = []
    for _ in range(8):
        rows = page(site, 0)
        assert [row for row in rows if row in right] == right
        odd.append(next(row for row in rows if row not in right))
    assert 8 == len({repr(row) for row in odd})
    assert any(len(row) != 5 for row in odd)


@check("xmlrpc-bad-name")
def _(site: Running) -> None:
    right = page(site, 0)
    site.fault("xmlrpc-bad-name")
    rows = page(site, 0)
    extra = [row for row in rows if row not in right]
    assert ["../../etc/passwd"] == [row[0] for row in extra]
    assert sorted(row[4] for row in rows) == [row[4] for row in rows]
    assert len({row[4] for row in rows}) == len(rows)


@check("xmlrpc-deep")
def _(site: Running) -> None:
    site.fault("xmlrpc-deep", depth=2000)
    assert 2000 < call(site, "changelog_last_serial").body.count(b"<array>")


@check("xmlrpc-wrong-type")
def _(site: Running) -> None:
    site.fault("xmlrpc-wrong-type")
    with rpc(site) as proxy:
        assert "not what you asked for" == proxy.changelog_last_serial()


# --- all of them


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_fault_shows_and_heals(site: Running, kind: str) -> None:
    """The fault is seen on the wire; switched off, everything is right again."""
    CHECKS[kind](site)
    site.heal()

    assert site.truth("loopback-hello")["document"] == site.ask(HELLO).json()
    assert site.control("serial")["serial"] == rpc_serial(site)


def rpc_serial(site: Running) -> object:
    with rpc(site) as proxy:
        return proxy.changelog_last_serial()


def test_every_check_is_of_a_kind() -> None:
    """No kind without a check, no check without a kind."""
    assert set(KINDS) == set(CHECKS)


def test_kinds_can_be_listed(site: Running) -> None:
    """A harness can go through all kinds, with the routes each applies to."""
    listed = {kind["kind"]: kind for kind in site.control("faults/kinds")}

    assert set(KINDS) == set(listed)
    assert all(kind["description"] and kind["routes"] for kind in listed.values())


# --- selectors


def test_a_share(site: Running) -> None:
    """About a third of the requests."""
    site.fault("503", share=0.33, route="json")
    statuses = [site.ask(HELLO).status for _ in range(300)]

    assert 60 < statuses.count(503) < 140


def test_a_sticky_share_picks_projects(site: Running) -> None:
    """Of stale projects a share is stale at every request, the others at none."""
    names = site.served_names()[:60]
    site.fault("stuck", share=0.5)
    for name in names:
        site.change("docdestroy", name)
    stale = {n: [site.ask(f"/pypi/{n}/json").body for _ in range(3)] for n in names}

    assert all(len(set(bodies)) == 1 for bodies in stale.values())
    fresh = [n for n, b in stale.items() if json.loads(b[0]) == site.truth(n)["document"]]
    assert 10 < len(fresh) < 50


def test_a_count(site: Running) -> None:
    """Gone after that many, and only true hits count."""
    site.fault("503", count=3, project="loopback-*")
    other = next(n for n in site.served_names() if not n.startswith("loopback"))

    assert [200] * 4 == [site.ask(f"/pypi/{other}/json").status for _ in range(4)]
    assert [503, 503, 503, 200] == [site.ask(HELLO).status for _ in range(4)]
    assert [] == site.control("faults")


def test_a_time(site: Running) -> None:
    """Gone after that many seconds."""
    site.fault("503", seconds=0.4)

    assert 503 == site.ask(HELLO).status
    time.sleep(0.45)
    assert 200 == site.ask(HELLO).status
    assert [] == site.control("faults")


def test_a_route(site: Running) -> None:
    """Only the route named; `*` is all that the kind applies to."""
    paths = {
        "json": HELLO,
        "version": "/pypi/loopback-hello/1.0.0/json",
        "simple": "/simple/",
        "files": "/files/loopback-hello/loopback_hello-1.0.0-py3-none-any.whl",
    }
    for route in paths:
        site.heal()
        site.fault("503", route=route)
        found = {name for name, path in paths.items() if site.ask(path).status == 503}
        assert {route} == found
        assert 200 == call(site, "changelog_last_serial").status
    site.fault("503", route="*")
    assert 503 == call(site, "changelog_last_serial").status


def test_wrong_specifications_are_refused(site: Running) -> None:
    """Unknown kind, parameter or route: 400 and a reason."""
    for body in (
        {"kind": "no-such-fault"},
        {"kind": "503", "lag": 3},
        {"kind": "503", "route": "nowhere"},
        {"kind": "xmlrpc-gone", "route": "json"},
    ):
        reply = site.ask("/_control/faults", "POST", json.dumps(body).encode())
        assert 400 == reply.status
        assert reply.json()["error"]
    assert [] == site.control("faults")
    assert 404 == site.ask("/_control/nothing").status


def test_faults_from_the_start() -> None:
    """Settings may switch faults on before the first request."""
    with standin(faults=({"kind": "503", "route": "json"},)) as site:
        assert 503 == site.ask(HELLO).status
        assert ["503"] == [fault["kind"] for fault in site.control("faults")]


def test_the_control_routes_are_never_spoilt(site: Running) -> None:
    """Whatever is on, truth and counters are told."""
    for kind in ("503", "hang", "reset", "stuck"):
        site.fault(kind)

    assert "ok" == site.truth("loopback-greeting")["status"]
    assert 503 == site.ask(GREETING).status
