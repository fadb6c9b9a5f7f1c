"""Faults are chosen by share, count, time, route and project, and can be listed."""

from __future__ import annotations

import json

from tests.support.standin import Running, standin
from tests.support.standin_faults import (
    HELLO,
    call,
    kinds_of,
)
from upstream.standin.faults import (
    KINDS,
    content,
    freshness,
    journal,
    json_api,
    refusals,
    transport,
)

GREETING = "/pypi/loopback-greeting/json"


def test_every_kind_belongs_to_a_checked_module() -> None:
    """Each of these modules has a test file that goes through all of its kinds."""
    assert set(KINDS) == set(kinds_of(content, freshness, journal, json_api, refusals, transport))


def test_kinds_can_be_listed(site: Running) -> None:
    """A harness can go through all kinds, with the routes each applies to."""
    listed = {kind["kind"]: kind for kind in site.control("faults/kinds")}

    assert set(KINDS) == set(listed)
    assert all(kind["description"] and kind["routes"] for kind in listed.values())


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


def test_a_fault_of_one_project_comes_before_those_of_all(site: Running) -> None:
    """However old those are: what is wrong for good stays so when other faults come and go."""
    other = next(n for n in site.served_names() if not n.startswith("loopback"))
    site.fault("500", route="json")
    site.fault("spurious-404", route="json", project="loopback-hello")

    assert [404, 500] == [site.ask(f"/pypi/{n}/json").status for n in ("loopback-hello", other)]


def test_a_time(site: Running) -> None:
    """Gone after that many seconds."""
    site.fault("503", seconds=40)

    assert 503 == site.ask(HELLO).status
    site.hand.on(39)
    assert 503 == site.ask(HELLO).status
    site.hand.on(1)
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
