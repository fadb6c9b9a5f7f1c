"""Faults of the JSON API as a whole: gone, or without releases; the index says what it said."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.standin import Running, standin
from tests.support.standin_faults import HELLO, Checks, kinds_of
from upstream.standin.faults import json_api

CHECKS = Checks()
PAGE = "/simple/loopback-hello/"
JSON_INDEX = "application/vnd.pypi.simple.v1+json"


@pytest.fixture
def site() -> Iterator[Running]:
    with standin(projects=60) as running:
        yield running


@CHECKS.of("json-gone")
def _(site: Running) -> None:
    page = site.ask(PAGE, accept=JSON_INDEX).json()
    for status in (404, 410, 501):
        site.heal()
        site.fault("json-gone", status=status)
        assert status == site.ask(HELLO).status
        assert status == site.ask("/pypi/loopback-hello/1.0.0/json").status
        assert page == site.ask(PAGE, accept=JSON_INDEX).json()


@CHECKS.of("no-releases")
def _(site: Running) -> None:
    whole = site.ask(HELLO).json()
    site.fault("no-releases")
    lacking = site.ask(HELLO)
    site.heal()
    site.fault("no-releases", as_null=True)

    assert lacking.json() == {key: value for key, value in whole.items() if key != "releases"}
    assert lacking.headers["x-pypi-last-serial"] == str(whole["last_serial"])
    assert 304 == site.ask(HELLO, if_none_match=site.ask(HELLO).headers["etag"]).status
    assert {**whole, "releases": None} == site.ask(HELLO).json()


@pytest.mark.parametrize("kind", kinds_of(json_api))
def test_the_fault_is_seen_and_heals(site: Running, kind: str) -> None:
    """Each kind has a check."""
    CHECKS.run(kind, site)
