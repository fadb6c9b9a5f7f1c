"""Faults of freshness: answers that were right once, or are another project's."""

from __future__ import annotations

import pytest

from tests.support.standin import Running
from tests.support.standin_faults import (
    HELLO,
    Checks,
    kinds_of,
)
from upstream.standin.faults import freshness

CHECKS = Checks()


@CHECKS.of("stale")
def _(site: Running) -> None:
    site.hand.on(65)  # what other checks changed is older than the lag
    before = site.ask(HELLO)
    site.fault("stale", lag_seconds=60)
    site.change("role", "loopback-hello")
    old = site.ask(HELLO)
    not_modified = site.ask(HELLO, if_none_match=before.headers["etag"])
    site.hand.on(65)
    new = site.ask(HELLO)

    assert before.body == old.body
    assert 304 == not_modified.status
    assert before.json()["last_serial"] < new.json()["last_serial"]


@CHECKS.of("stuck")
def _(site: Running) -> None:
    before = site.ask(HELLO)
    site.fault("stuck")
    for _ in range(2):
        site.change("role", "loopback-hello")
        assert before.body == site.ask(HELLO).body
    site.heal()
    assert site.truth("loopback-hello")["document"] == site.ask(HELLO).json()


@CHECKS.of("soft-purge")
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


@CHECKS.of("serial-back")
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


@CHECKS.of("header-serial")
def _(site: Running) -> None:
    site.fault("header-serial", by=7)
    reply = site.ask(HELLO)
    assert reply.json()["last_serial"] + 7 == int(reply.headers["x-pypi-last-serial"])


@CHECKS.of("other-shape")
def _(site: Running) -> None:
    before = site.ask(HELLO)
    site.fault("other-shape")
    reply = site.ask(HELLO)
    assert "rolled_out_field" in reply.json()["info"]
    assert before.json()["last_serial"] == reply.json()["last_serial"]
    assert before.headers["etag"] != reply.headers["etag"]


@CHECKS.of("spurious-404")
def _(site: Running) -> None:
    site.fault("spurious-404", count=1)
    assert [404, 200] == [site.ask(HELLO).status for _ in range(2)]
    site.fault("spurious-404", after_event_seconds=5)
    made = site.change("create")["project"]
    old = next(n for n in site.served_names() if site.truth(n)["serial"] < 40_000_000)
    assert 404 == site.ask(f"/pypi/{made}/json").status
    assert 200 == site.ask(f"/pypi/{old}/json").status


@CHECKS.of("cached-404")
def _(site: Running) -> None:
    site.fault("cached-404", ttl_seconds=50)
    name = site.change("remove-project")["project"]
    first = site.ask(f"/pypi/{name}/json").status
    site.change("create", name)
    kept = site.ask(f"/pypi/{name}/json").status
    site.hand.on(55)
    assert [404, 404, 200] == [first, kept, site.ask(f"/pypi/{name}/json").status]


@CHECKS.of("foreign-body")
def _(site: Running) -> None:
    site.fault("foreign-body")
    reply = site.ask(HELLO)
    assert 200 == reply.status
    assert "loopback-hello" != reply.json()["info"]["name"]


@CHECKS.of("index-old")
def _(site: Running) -> None:
    accept = "application/vnd.pypi.simple.v1+json"
    site.fault("index-old", lag_seconds=60)
    made = site.change("create")
    names = {p["name"] for p in site.ask("/simple/", accept=accept).json()["projects"]}
    assert made["display_name"] not in names
    site.heal()
    names = {p["name"] for p in site.ask("/simple/", accept=accept).json()["projects"]}
    assert made["display_name"] in names


@CHECKS.of("index-lacks")
def _(site: Running) -> None:
    accept = "application/vnd.pypi.simple.v1+json"
    whole = len(site.ask("/simple/", accept=accept).json()["projects"])
    site.fault("index-lacks", names_share=0.5)
    assert round(whole / 2) == len(site.ask("/simple/", accept=accept).json()["projects"])


@pytest.mark.parametrize("kind", kinds_of(freshness))
def test_each_fault_shows_and_heals(site: Running, kind: str) -> None:
    """The fault is seen on the wire; switched off, everything is right again."""
    CHECKS.run(kind, site)
