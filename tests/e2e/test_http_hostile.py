"""`pypistream serve` as a process, under requests that are no requests, and under very many."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
import pytest

from sinks.http.server import CONNECTIONS_MAX
from tests.support.process import Program, started
from tests.support.reading_world import build
from tests.support.served import answers, free_port

SECONDS_MAX = 240.0
CANARY = "a-word-that-is-in-no-answer"
CONNECTIONS = 10_000
FILES_KEPT = 500  # of the test's own limit on open files
MEMORY_BYTES_MAX = 700 * 1024 * 1024  # 10 000 connections and all; else some 110 MiB


class Served(NamedTuple):
    """A server and where it is."""

    program: Program
    url: str

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return "127.0.0.1", int(self.url.rpartition(":")[2])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """It serves a log with some projects; files beside it have a word that nobody may read."""
    root = tmp_path_factory.mktemp("hostile")
    data = root / "data"
    asyncio.run(build(data))
    for path in (root / "secret", data / "secret", data / "dumps" / ".secret"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(CANARY)
    url = f"http://127.0.0.1:{free_port()}"
    with started("serve", "--data", str(data), "--http", url[7:], "--sql", cwd=root) as program:
        ready = ("/v1/changes?limit=1", "/healthz")
        program.until(lambda: all(answers(url, path) for path in ready), SECONDS_MAX, "answer")
        yield Served(program, url)


def healthy(server: Served) -> bool:
    """It answers, is the same process, and has not met an error of its own."""
    assert server.program.alive, server.program.text()
    assert "a request failed" not in server.program.text()
    said = httpx.get(f"{server.url}/healthz", timeout=SECONDS_MAX)
    return (said.status_code, said.json()["status"]) == (200, "ok")


def sent(server: Served, request: bytes) -> bytes:
    """What comes back. Once an answer has begun no more is sent, so that the server ends it."""
    found = b""
    with socket.create_connection(server.address, SECONDS_MAX) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
        with contextlib.suppress(ConnectionError):
            found = connection.recv(65_536)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65_536):
                found += piece
    return found


PATHS = (
    "/dumps/../secret", "/dumps/../../secret", "/dumps/..%2fsecret", "/dumps/..%2F..%2Fsecret",
    "/dumps/%2e%2e/secret", "/dumps/%2e%2e%2fsecret", "/dumps/..%5csecret", "/dumps/.secret",
    "/dumps/%252e%252e%252fsecret", "/dumps/..%c0%afsecret", "/dumps/..%00/secret",
    "/dumps//secret", "/dumps/./../secret", "/dumps/.versions/../secret",
    "/dumps/.versions/..%2f..%2f/secret", "/dumps/.versions/%2e%2e/secret",
    "/dumps/sha256/../../secret", "/dumps/sha256/%2e%2e/%2e%2e%2fsecret",
    "/dumps/deltas/..%2f..%2fsecret", "/dumps/deltas/../../secret", "/dumps/log.sqlite",
    "/dumps/..%2flog.sqlite", "/static/../secret", "/static/x/..%2f..%2fsecret",
    "/static/%2e%2e/%2e%2e%2fsecret", "/simple/../secret", "/simple/..%2fsecret",
    "//etc/passwd", "/etc/passwd", "/%2fetc%2fpasswd", "/file:///etc/passwd", "/.git/config",
    "/.env", "/settings.json", "/state/serving.sqlite", "/pypi/..%2f..%2fsecret/json",
    "/pypi/%00/json", "/pypi/%ff%fe/json", "/pypi/%c0%ae%c0%ae/json", "/pypi/./json",
    "/pypi/../json", "/pypi//json", "/pypi/a%0d%0aSet-Cookie:%20x=1/json",
    "/pypi/A%0d%0aSet-Cookie:%20x=1/json", "/v1/projects/%0d%0aSet-Cookie:%20x=1",
    "/project/%3Cscript%3Ealert(1)%3C/script%3E/", "/project/%0d%0aLocation:%20x/",
    "/search/?q=%3Cscript%3Ealert(1)%3C/script%3E", "/v1/projects?q=%00", "/v1/projects?after=%ff",
    "/v1/query?project=..%2f..%2fsecret", "/v1/query?project=%00", "/v1/changes?since=%00",
    "/v1/changes?project=" + "%2a" * 500, "/v1/stream/changes?since=-1",
    "/v1/stream/changes?since=99999999999999999999", "/v1/stream/metadata?since=AAAA",
    "/v1/sql?q=ATTACH+%27secret%27", "/?" + "a=b&" * 900, "/" + "a/" * 2_000, "/" + "%41" * 1_300,
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_path_leads_nowhere_else(server: Served, path: str) -> None:
    """No file but those that are published, no header of the client's making, no script."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    found = sent(server, request.encode("latin-1"))
    head, _, body = found.partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 "), found[:200]
    assert head[9:12] in (b"200", b"301", b"307", b"308", b"400", b"404", b"414", b"431"), head
    assert CANARY.encode() not in found
    assert b"root:" not in found
    assert b"set-cookie" not in head.lower()
    assert b"<script>alert" not in body


def get(*lines: bytes, path: bytes = b"/v1/status") -> bytes:
    """A request with these header lines."""
    return b"GET %b HTTP/1.1\r\n%b\r\n\r\n" % (path, b"\r\n".join(lines))


HOST = b"Host: localhost"
REFUSED = {
    "no host": get(b"X: y"),
    "another host": get(b"Host: evil.example.org"),
    "another host with a port": get(b"Host: evil.example.org:80"),
    "a host behind a user": get(b"Host: localhost@evil.example.org"),
    "a host that begins like ours": get(b"Host: localhost.evil.example.org"),
    "an address that is none": get(b"Host: 127.0.0.1.evil.example.org"),
    "two hosts": get(HOST, b"Host: evil.example.org"),
    "a nul in a header": get(HOST, b"X: a\x00b"),
    "a header without a colon": get(HOST, b"nothing"),
    "a space before the colon": get(HOST, b"X : y"),
    "two lengths": get(HOST, b"Content-Length: 1", b"Content-Length: 2"),
    "a negative length": get(HOST, b"Content-Length: -1"),
    "a length in words": get(HOST, b"Content-Length: one"),
    "a length and chunks": get(HOST, b"Content-Length: 4", b"Transfer-Encoding: chunked"),
    "a chunk of no size": get(HOST, b"Transfer-Encoding: chunked") + b"zz\r\n\r\n",
    "many headers": get(HOST, *(b"X-%d: y" % number for number in range(5_000))),
    "a long header": get(HOST, b"X: " + b"y" * 100_000),
    "a long header's name": get(HOST, b"X" * 100_000 + b": y"),
    "a long address": get(HOST, path=b"/" + b"a" * 100_000),
    "a long query": get(HOST, path=b"/v1/projects?q=" + b"a" * 5_000),
    "an address with a space": get(HOST, path=b"/v1/status /x"),
    "an address that is not ASCII": get(HOST, path=b"/\xff\xfe"),
    "no address": b"GET HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a method of no protocol": b"BREW /pot HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a tunnel": b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an echo": b"TRACE / HTTP/1.1\r\nHost: localhost\r\nX: y\r\n\r\n",
    "something to delete": b"DELETE /pypi/foo/json HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "something to put": b"PUT /dumps/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx",
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9": b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "a large body": b"POST /pypi HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n"
    + b"x" * 2_000_000,
    "a large batch": b"POST /v1/query HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Length: 2000000\r\n\r\n" + b"[" * 2_000_000,
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_request_for_us_is_refused(server: Served, what: str) -> None:
    """With one answer, of 4xx (XML-RPC says its faults with 200), and an end; no error of ours."""
    found = sent(server, REFUSED[what])

    assert found.count(b"HTTP/1.1 ") <= 1
    if found:  # it may be closed before all was read, which loses the answer
        fault = what == "a large body" and b"<fault>" in found
        assert found.startswith(b"HTTP/1.1 4") or fault, found[:300]
    assert b'"serving"' not in found
    assert healthy(server)


ODD = {
    "many ranges": get(HOST, b"Range: bytes=" + b",".join([b"0-0"] * 1_000), path=b"/dumps/x"),
    "a range of no numbers": get(HOST, b"Range: bytes=a-b", path=b"/dumps/manifest.json"),
    "many tags": get(HOST, b"If-None-Match: " + b",".join([b'"x"'] * 3_000)),
    "many encodings": get(HOST, b"Accept-Encoding: " + b",".join([b"gzip;q=0.5"] * 1_000)),
    "encodings of no weight": get(HOST, b"Accept-Encoding: gzip;q=nan, zstd;q=1e999, *;q=-1"),
    "an odd cursor": get(HOST, b"Last-Event-ID: \xff\xfe", path=b"/v1/stream/metadata"),
    "a long cursor": get(HOST, b"Last-Event-ID: " + b"9" * 9_000, path=b"/v1/stream/changes"),
    "somebody else's address": get(HOST, b"X-Forwarded-For: " + b"1.2.3.4," * 900),
    "an upgrade": get(HOST, b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x"),
    "h2c": get(HOST, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: x"),
    "an expectation": get(HOST, b"Expect: 100-continue"),
    "an absolute address": get(HOST, path=b"http://localhost/v1/status"),
    "another's absolute address": get(HOST, path=b"http://evil.example.org/v1/status"),
    "many at once": get(HOST) * 200,
    "old HTTP": b"GET /v1/status HTTP/1.0\r\nHost: localhost\r\n\r\n",
    "an entity bomb": b"POST /pypi HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    b"Content-Length: 141\r\n\r\n"
    + b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    b"<methodCall><methodName>&b;</methodName></methodCall>".ljust(141),
    "a deep body": b"POST /v1/query HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    b"Content-Length: 200000\r\n\r\n" + b"[" * 200_000,
}


@pytest.mark.parametrize("what", ODD)
def test_what_is_odd_is_answered_or_refused(server: Served, what: str) -> None:
    """Never with an error of the program, and the next client is served."""
    found = sent(server, ODD[what])

    assert not found or found.startswith(b"HTTP/1.1 "), found[:300]
    assert b"HTTP/1.1 500" not in found
    assert CANARY.encode() not in found
    assert healthy(server)


def test_thousands_that_say_nothing_whole_keep_nobody_out(
    server: Served, record_property: Callable[[str, object], None]
) -> None:
    """Half heads that drip on, ten thousand of them where the limits of this machine allow it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = hard if hard != resource.RLIM_INFINITY else CONNECTIONS + FILES_KEPT
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wanted = min(CONNECTIONS, soft - FILES_KEPT)
    record_property("connections", f"{wanted}; the server takes {CONNECTIONS_MAX}")
    connections: list[socket.socket] = []
    try:
        for number in range(wanted):
            connection = socket.create_connection(server.address, SECONDS_MAX)
            connections.append(connection)
            connection.sendall(b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX-%d: " % number)
            if number % 1_000 == 0:
                assert healthy(server)
        assert len(connections) == wanted
        for connection in connections:
            with contextlib.suppress(ConnectionError):  # it may have been closed for being slow
                connection.send(b"y")
        assert healthy(server)
        assert httpx.get(f"{server.url}/v1/status", timeout=SECONDS_MAX).json()["serving"]
        used = psutil.Process(server.program.process.pid).memory_info().rss
        assert used < MEMORY_BYTES_MAX
    finally:
        for connection in connections:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert healthy(server)


def test_it_ends_cleanly_after_all_that(server: Served, tmp_path: Path) -> None:
    """With clients that still say nothing whole; nothing in its log is an error of the program."""
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            connection = socket.create_connection(server.address, SECONDS_MAX)
            stack.enter_context(connection)
            connection.sendall(b"GET / HT")
        assert server.program.stop(signal.SIGTERM, SECONDS_MAX) == 0
    said = server.program.text().splitlines()

    assert [line for line in said if "a request failed" in line or "Traceback" in line] == []
