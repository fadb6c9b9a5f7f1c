"""Faults of XML-RPC."""

from __future__ import annotations

import xmlrpc.client
from typing import Any
from xml.parsers.expat import ExpatError

import pytest

from tests.support.standin import Running
from tests.support.standin_faults import (
    HELLO,
    Checks,
    call,
    hang_check,
    kinds_of,
    rpc,
)
from upstream.standin.faults import journal

CHECKS = Checks()
hang_check(CHECKS, "xmlrpc-hang")


def page(site: Running, since: int) -> list[list[Any]]:
    (found,), _ = xmlrpc.client.loads(
        call(site, "changelog_since_serial", since).body, use_builtin_types=True
    )
    assert isinstance(found, list)
    return found


@CHECKS.of("xmlrpc-fault")
def _(site: Running) -> None:
    site.fault("xmlrpc-fault", code=42, message="broken")
    with rpc(site) as proxy, pytest.raises(xmlrpc.client.Fault, match="42: 'broken'"):
        proxy.changelog_last_serial()


@CHECKS.of("xmlrpc-rate-limit")
def _(site: Running) -> None:
    site.fault("xmlrpc-rate-limit")
    with rpc(site) as proxy, pytest.raises(xmlrpc.client.Fault, match="-32500") as caught:
        proxy.changelog_last_serial()
    assert caught.value.faultString.endswith("too many requests by the client.")


@CHECKS.of("xmlrpc-rate-limit-reset")
def _(site: Running) -> None:
    site.fault("xmlrpc-rate-limit-reset", reset=9)
    with rpc(site) as proxy, pytest.raises(xmlrpc.client.Fault, match="reset in 9 seconds"):
        proxy.changelog_last_serial()


@CHECKS.of("xmlrpc-bad-xml")
def _(site: Running) -> None:
    site.fault("xmlrpc-bad-xml")
    with rpc(site) as proxy, pytest.raises(ExpatError):
        proxy.changelog_last_serial()


@CHECKS.of("xmlrpc-control-character")
def _(site: Running) -> None:
    site.fault("xmlrpc-control-character")
    with rpc(site) as proxy, pytest.raises(ExpatError):
        proxy.changelog_since_serial(0)


@CHECKS.of("xmlrpc-entities")
def _(site: Running) -> None:
    site.fault("xmlrpc-entities")
    assert b"<!ENTITY l9" in call(site, "changelog_last_serial").body


@CHECKS.of("xmlrpc-gone")
def _(site: Running) -> None:
    for status in (404, 410, 501):
        site.heal()
        site.fault("xmlrpc-gone", status=status)
        assert status == call(site, "changelog_last_serial").status
        assert 200 == site.ask(HELLO).status


@CHECKS.of("xmlrpc-lagging")
def _(site: Running) -> None:
    before = site.control("serial")["serial"]
    site.fault("xmlrpc-lagging", lag_seconds=50)
    site.hand.on(50)
    made = site.change("role", "loopback-hello")
    with rpc(site) as proxy:
        assert before == proxy.changelog_last_serial()
        assert [] == proxy.changelog_since_serial(before)
        assert before >= proxy.list_packages_with_serial()["loopback-hello"]
        site.hand.on(55)
        assert made["serial"] == proxy.changelog_last_serial()


@CHECKS.of("xmlrpc-low-serial")
def _(site: Running) -> None:
    site.fault("xmlrpc-low-serial", serial=1000)
    with rpc(site) as proxy:
        assert 1000 == proxy.changelog_last_serial()
        assert [] == proxy.changelog_since_serial(0)


@CHECKS.of("xmlrpc-serial-jump")
def _(site: Running) -> None:
    last = site.control("serial")["serial"]
    site.fault("xmlrpc-serial-jump", by=20_000_000)
    with rpc(site) as proxy:
        assert last + 20_000_000 == proxy.changelog_last_serial()
    assert last + 20_000_000 == page(site, last)[-1][4]


@CHECKS.of("xmlrpc-rows-out-of-order")
def _(site: Running) -> None:
    right = page(site, 0)
    site.fault("xmlrpc-rows-out-of-order")
    assert right[::-1] == page(site, 0)


@CHECKS.of("xmlrpc-repeated-rows")
def _(site: Running) -> None:
    right = page(site, 0)
    since = right[50][4]
    assert isinstance(since, int)
    site.fault("xmlrpc-repeated-rows", count_back=3)
    assert right[48:] == page(site, since)


@CHECKS.of("xmlrpc-empty-page")
def _(site: Running) -> None:
    site.fault("xmlrpc-empty-page", count=1)
    assert [] == page(site, 0)
    assert page(site, 0)


@CHECKS.of("xmlrpc-bad-row")
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


@CHECKS.of("xmlrpc-bad-name")
def _(site: Running) -> None:
    right = page(site, 0)
    site.fault("xmlrpc-bad-name")
    rows = page(site, 0)
    extra = [row for row in rows if row not in right]
    assert ["../../etc/passwd"] == [row[0] for row in extra]
    assert sorted(row[4] for row in rows) == [row[4] for row in rows]
    assert len({row[4] for row in rows}) == len(rows)


@CHECKS.of("xmlrpc-deep")
def _(site: Running) -> None:
    site.fault("xmlrpc-deep", depth=2000)
    assert 2000 < call(site, "changelog_last_serial").body.count(b"<array>")


@CHECKS.of("xmlrpc-wrong-type")
def _(site: Running) -> None:
    site.fault("xmlrpc-wrong-type")
    with rpc(site) as proxy:
        assert "not what you asked for" == proxy.changelog_last_serial()


@pytest.mark.parametrize("kind", kinds_of(journal))
def test_each_fault_shows_and_heals(site: Running, kind: str) -> None:
    """The fault is seen on the wire; switched off, everything is right again."""
    CHECKS.run(kind, site)
