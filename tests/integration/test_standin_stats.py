"""The stand-in knows whether its client kept its manners."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.standin import Running, standin

HELLO = "/pypi/loopback-hello/json"
CALL = (
    b"<?xml version='1.0'?><methodCall><methodName>changelog_last_serial</methodName>"
    b"<params></params></methodCall>"
)


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    with standin(projects=60, by_hand=True) as running:
        yield running


@pytest.fixture
def site(shared: Running) -> Running:
    shared.heal()
    shared.control("stats/reset", {})
    return shared


def settled(site: Running, name: str, count: int) -> None:
    """Wait until that many connections of a class are open: closing one takes a moment."""
    for _ in range(6_000):
        if site.control("stats")["connections"][name]["now"] == count:
            return
        time.sleep(0.01)
    pytest.fail(f"{name}: {site.control('stats')['connections']}")


def test_requests_by_route_and_status(site: Running) -> None:
    """Control requests are not among them."""
    for path in (
        HELLO,
        HELLO,
        "/pypi/nothing-here/json",
        "/simple/",
        "/pypi/loopback-hello/1.0.0/json",
    ):
        site.ask(path)
    site.ask("/pypi", "POST", CALL)
    site.control("serial")
    stats = site.control("stats")

    assert {
        "json": {"200": 2, "404": 1},
        "simple": {"200": 1},
        "version": {"200": 1},
        "xmlrpc": {"200": 1},
    } == stats["requests"]
    assert 6 == stats["total"] == stats["window_peak"]["all"]
    assert (4, 2) == (stats["window_peak"]["document"], stats["window_peak"]["journal"])


def test_connections_by_what_they_fetched(site: Running) -> None:
    """One that fetched a document counts there, one that saw only journal and map apart."""
    connections = [http.client.HTTPConnection(*site.address, timeout=60) for _ in range(5)]
    with contextlib.ExitStack() as stack:
        for connection in connections:
            stack.enter_context(contextlib.closing(connection))
        for number, connection in enumerate(connections):
            for _ in range(3):
                if number < 3:
                    connection.request("GET", HELLO)
                else:
                    connection.request("POST", "/pypi", CALL)
                connection.getresponse().read()
        open_now = site.control("stats")["connections"]
        connections[4].request("GET", HELLO)
        connections[4].getresponse().read()
        moved = site.control("stats")["connections"]
    settled(site, "all", 0)
    after = site.control("stats")["connections"]

    assert (3, 2, 5) == tuple(open_now[name]["now"] for name in ("document", "journal", "all"))
    assert (4, 1, 5) == tuple(moved[name]["now"] for name in ("document", "journal", "all"))
    assert (4, 2, 5) == tuple(after[name]["peak"] for name in ("document", "journal", "all"))
    assert 0 == after["document"]["now"] == after["journal"]["now"]
    assert 5 == after["all"]["total"]


def test_a_connection_without_a_request_is_nobodys(site: Running) -> None:
    """Only those that asked for something count."""
    with socket.create_connection(site.address):
        assert 0 == site.control("stats")["connections"]["all"]["now"]


def test_requests_in_flight() -> None:
    """As many as are waiting at once."""
    with standin(projects=60, latency_ms=3_000.0) as site:
        threads = [threading.Thread(target=site.ask, args=(HELLO,)) for _ in range(7)]
        for thread in threads:
            thread.start()
        during = site.control("stats")["in_flight"]
        while during["all"]["now"] < 7:
            time.sleep(0.01)
            during = site.control("stats")["in_flight"]
        for thread in threads:
            thread.join()
        after = site.control("stats")["in_flight"]

        assert 7 == during["all"]["now"] == during["document"]["now"]
        assert {"now": 0, "peak": 7, "total": 7} == after["document"]
        assert 0 == after["journal"]["peak"]


@pytest.mark.parametrize("kind", ["429-retry-after", "429-retry-date", "503-retry-after"])
def test_requests_before_retry_after_had_passed(site: Running, kind: str) -> None:
    """Early ones are counted by route; other classes of routes, and those in time, are not."""
    site.fault(kind, route="json", count=1, retry_after=5)
    assert "retry-after" in site.ask(HELLO).headers
    site.ask("/simple/")
    site.ask(HELLO)  # at once: on its way, perhaps, when the answer left
    site.hand.on(1.5)
    site.ask(HELLO)
    early = site.control("stats")
    site.hand.on(60)
    site.ask(HELLO)
    after = site.control("stats")

    assert {"json": 1} == early["early"]
    assert {"json": 2} == early["early_strict"]
    assert 1 == early["early_total"] == after["early_total"]


def test_rate_limit_faults_count_too(site: Running) -> None:
    """`Limit may reset in N seconds` is a time that was named."""
    site.fault("xmlrpc-rate-limit-reset", count=1, reset=2)
    site.ask("/pypi", "POST", CALL)
    site.hand.on(1.5)
    site.ask("/pypi", "POST", CALL)
    site.ask(HELLO)

    assert {"xmlrpc": 1} == site.control("stats")["early"]


def test_the_request_log(site: Running) -> None:
    """Time, route, project, call, status, agent and fault of each; `since` pages through it."""
    site.fault("503", route="json", count=1)
    first = site.hand()
    site.ask("/pypi/Loopback.Hello/json", user_agent="tester (+mailto:a@b.example)")
    site.hand.on(1)
    site.ask("/pypi", "POST", CALL)
    log = site.control("requests")

    assert [
        ("json", "loopback-hello", "", 503, "503"),
        ("xmlrpc", "", "changelog_last_serial", 200, ""),
    ] == [
        (line["route"], line["project"], line["call"], line["status"], line["fault"])
        for line in log
    ]
    assert "tester (+mailto:a@b.example)" == log[0]["user_agent"]
    assert [0, 1] == [int(line["at"] - first) for line in log]
    assert log[1:] == site.control(f"requests?since={log[0]['at']!r}")


def test_the_log_is_bounded() -> None:
    """The oldest lines go."""
    with standin(projects=60, request_log=3) as site:
        for _ in range(5):
            site.ask(HELLO)
        assert [3, 4, 5] == [line["number"] for line in site.control("requests")]


def test_a_request_given_up_is_no_longer_in_flight(site: Running) -> None:
    """A client that goes away while it waits leaves no trace but status 0."""
    site.fault("hang", route="json")
    with socket.create_connection(site.address) as connection:
        connection.sendall(f"GET {HELLO} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        while site.control("stats")["in_flight"]["all"]["now"] == 0:
            time.sleep(0.01)
    settled(site, "all", 0)
    for _ in range(6_000):
        if site.control("stats")["total"]:
            break
        time.sleep(0.01)
    stats = site.control("stats")

    assert 0 == stats["in_flight"]["all"]["now"]
    assert {"json": {"0": 1}} == stats["requests"]
    assert {"hang": 1} == stats["faults"]


def test_reset_begins_anew(site: Running) -> None:
    """Counters and log are empty."""
    site.ask(HELLO)
    site.control("stats/reset", {})
    stats = site.control("stats")

    assert (0, {}, 0) == (stats["total"], stats["requests"], stats["window_peak"]["all"])
    assert [] == site.control("requests")
