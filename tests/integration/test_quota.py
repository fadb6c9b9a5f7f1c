"""Who asks too much for what is expensive is told when to come again, and by which limit."""

from __future__ import annotations

from xmlrpc.client import Fault, dumps, loads

import pytest

from sinks.http import queries
from sinks.http.library import Library
from sinks.http.quota import CLIENTS_REMEMBERED, Limit, Quota
from sinks.http.streams.sse import _address
from sinks.http.xmlrpc import calls as xmlrpc_calls
from tests.support.http_world import client_of
from tests.support.logs import Clock
from tests.support.memory_library import MemoryLibrary
from tests.support.view_records import document, file

STRANGER, OTHER, OURS = "192.0.2.1", "192.0.2.2", "127.0.0.1"
LIMIT = Limit("some", 10)


@pytest.fixture
def clock() -> Clock:
    return Clock(0)


@pytest.fixture
def library() -> Library:
    held = MemoryLibrary()
    held.put(document("foo"), {"1.0": [file("foo-1.0.tar.gz")]})
    return held


def quota(clock: Clock, limit: Limit = LIMIT) -> Quota:
    return Quota(limit, lambda: clock() / 1000)


def test_a_client_has_so_many_in_any_minute(clock: Clock) -> None:
    """Each its own; of IPv6 the whole network of a customer; an old one makes room again."""
    asked = quota(clock)
    for _ in range(10):
        assert asked.wait(STRANGER) == 0.0
        clock.ms += 1_000

    assert asked.wait(STRANGER) == pytest.approx(54.0)  # the first five, of which the last was at 4
    assert asked.wait(OTHER) == 0.0
    assert [asked.wait(f"2001:db8::{i}") for i in range(10)] == [0.0] * 10
    assert asked.wait("2001:db8::ffff") > 0
    assert asked.wait("2001:db8:0:1::1") == 0.0

    clock.ms += 54_000
    assert [asked.wait(STRANGER) for _ in range(5)] == [0.0] * 5
    assert asked.wait(STRANGER) == pytest.approx(5.0)


def test_there_are_never_more_in_a_minute(clock: Clock) -> None:
    """However they come: of what was let in, no minute holds more than the limit."""
    asked, taken = quota(clock), list[int]()
    for number in range(2_000):
        clock.ms += (number * 7_919) % 1_700
        units = 1 + number % 3
        if not asked.wait(STRANGER, units):
            taken += [clock.ms] * units

    assert len(taken) > 100
    assert all(later - first >= 60_000 for first, later in zip(taken, taken[10:], strict=False))


def test_who_waits_as_long_as_told_is_let_in(clock: Clock) -> None:
    asked = quota(clock)
    for number in range(200):
        if wait := asked.wait(STRANGER, 1 + number % 4):
            clock.ms += round(wait * 1000 + 0.5)
            assert asked.wait(STRANGER, 1 + number % 4) == 0.0
        clock.ms += number * 13 % 900


def test_a_socket_for_both_versions_makes_one_customer_of_nobody(clock: Clock) -> None:
    """It calls IPv4 by IPv6; whoever asks is known by the same name on both."""
    asked = quota(clock)
    assert [asked.wait(f"::ffff:{STRANGER}") for _ in range(10)] == [0.0] * 10
    assert asked.wait(STRANGER) > 0
    assert asked.wait(f"::ffff:{OTHER}") == 0.0

    assert {asked.wait(f"::ffff:{OURS}") for _ in range(50)} == {0.0}
    assert ["", STRANGER, "2001:db8::/64", "", ""] == [
        _address({"client": (each, 1)})
        for each in (f"::ffff:{OURS}", f"::ffff:{STRANGER}", "2001:db8::7", "testclient", "")
    ]


def test_this_machines_addresses_are_counted_only_where_that_is_said(clock: Clock) -> None:
    """A proxy before us would be one client."""
    asked, strict = quota(clock), quota(clock, Limit("strict", 10, own=True))

    assert {asked.wait(own) for own in (OURS, "::1") for _ in range(50)} == {0.0}
    assert [strict.wait(OURS) > 0 for _ in range(11)] == [False] * 10 + [True]


def test_what_is_more_than_a_minute_has_takes_a_whole_one(clock: Clock) -> None:
    asked = quota(clock)
    assert asked.wait(STRANGER, 1_000) == 0.0
    assert asked.wait(STRANGER) == pytest.approx(60.0)


def test_clients_are_not_remembered_without_end(clock: Clock) -> None:
    asked = quota(clock, Limit("one", 1))
    for number in range(CLIENTS_REMEMBERED + 1):
        asked.wait(f"client {number}")

    assert asked.wait(f"client {CLIENTS_REMEMBERED}") > 0
    assert asked.wait("client 0") == 0.0


async def test_queries_of_a_stranger_are_limited(
    library: Library, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one and in batches, by one count; nobody else is kept waiting."""
    monkeypatch.setattr(queries, "LIMIT", Limit("query", 5))
    routes = queries.routes(library, lambda: clock() / 1000)
    batch = {"queries": [{"project": "foo"}] * 3}
    async with client_of(library, routes, address=STRANGER) as client:
        many = await client.post("/v1/query", json=batch)
        first = [await client.get("/v1/query?project=foo") for _ in range(3)]
        again = await client.post("/v1/query", json=batch)
    async with client_of(library, routes, address=OTHER) as client:
        other = await client.get("/v1/query?project=foo")
    clock.ms += 60_000
    async with client_of(library, routes, address=STRANGER) as client:
        later = await client.get("/v1/query?project=foo")

    assert [200, 200, 200, 429, 429] == [each.status_code for each in (many, *first, again)]
    assert ("60", '"query";q=5;w=60') == (
        first[-1].headers["retry-after"],
        first[-1].headers["ratelimit-policy"],
    )
    assert '"query" is 5 a minute' in first[-1].json()["error"]
    assert (200, 200) == (other.status_code, later.status_code)


async def test_calls_of_a_stranger_are_limited(
    library: Library, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of a multicall is one, a long answer is many; the fault says it in PyPI's words."""
    monkeypatch.setattr(xmlrpc_calls, "LIMIT", Limit("xml-rpc", 130))
    routes = xmlrpc_calls.routes(library, lambda: clock() / 1000)
    calls = [{"methodName": "package_releases", "params": ["foo"]}] * 11
    sent = [
        dumps((), "list_packages"),
        dumps((calls,), "system.multicall"),
        dumps(("foo",), "package_releases"),
        dumps((), "list_packages"),
    ]
    async with client_of(library, routes, address=STRANGER) as client:
        answers = [await client.post("/pypi", content=each) for each in sent]

    assert [200, 429, 200, 429] == [each.status_code for each in answers]
    assert '"xml-rpc";q=130;w=60' == answers[1].headers["ratelimit-policy"]
    with pytest.raises(Fault, match=r"HTTPTooManyRequests: .* Limit may reset in 60 seconds"):
        loads(answers[1].content)
