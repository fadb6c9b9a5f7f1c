"""The judge of the fault runs finds what is wrong, missing and too many: by planted mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.oracle import oracle_slim, oracle_trim
from tests.support.published import Dump, Truth
from tests.support.truth import Judge

DOCUMENT: dict[str, Any] = {
    "info": {"name": "Foo", "version": "2.0", "summary": "s", "description": "long"},
    "last_serial": 7,
    "releases": {"1.0": [], "2.0": []},
    "urls": [],
}
TRUTH = {
    "foo": Truth("foo", 7, DOCUMENT),
    "bar": Truth("bar", 5, None),
}


def right() -> Dump:
    """What must be published."""
    line = {"name": "foo", "serial": 7, "document": oracle_trim(DOCUMENT)}
    slim = {"name": "foo", "document": oracle_slim(DOCUMENT, "foo", 7)}
    return Dump({}, {"foo": line}, {"foo": slim})


def test_the_truth_is_right() -> None:
    assert Judge(TRUTH).dump(right()) == {}


def _forget(dump: Dump) -> None:
    del dump.packages["foo"]


def _forget_releases(dump: Dump) -> None:
    del dump.releases["foo"]


def _keep_the_dead(dump: Dump) -> None:
    dump.packages["bar"] = dump.packages["foo"]


def _invent(dump: Dump) -> None:
    dump.releases["baz"] = dump.releases["foo"]


def _lag(dump: Dump) -> None:
    dump.packages["foo"]["serial"] = 6


def _alter(dump: Dump) -> None:
    dump.packages["foo"]["document"]["info"]["summary"] = None


def _keep_an_old_release(dump: Dump) -> None:
    dump.packages["foo"]["document"]["releases"]["1.0"] = []


def _lose_a_release(dump: Dump) -> None:
    del dump.releases["foo"]["document"]["releases"]["1.0"]


@pytest.mark.parametrize(
    ("plant", "name", "says"),
    [
        (_forget, "foo", "missing"),
        (_forget_releases, "foo", "missing"),
        (_keep_the_dead, "bar", "not there upstream"),
        (_invent, "baz", "not there"),
        (_lag, "foo", "serial 6 instead of 7"),
        (_alter, "foo", "info.summary"),
        (_keep_an_old_release, "foo", "['releases']"),
        (_lose_a_release, "foo", "slim"),
    ],
)
def test_a_planted_mistake_is_found(plant: Callable[[Dump], None], name: str, says: str) -> None:
    """The one name, and what is wrong with it."""
    dump = right()
    plant(dump)

    found = Judge(TRUTH).dump(dump)

    assert list(found) == [name]
    assert says in found[name]
