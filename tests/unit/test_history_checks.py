"""The checks of a log's history find what they are for: one planted fault each."""

from __future__ import annotations

import json

from schemas.topics import Offset, Topic
from streams.log import Record
from tests.support.claims import Claim, Edition, Past, Shown, broken, claim_of
from tests.support.history import doubled, fallen_positions, falls_back, journal_differences


def document(offset: int, event: int, body: int, text: bytes | None = b"{}") -> Record:
    headers = (("event-serial", b"%d" % event), ("serial", b"%d" % body))
    return Record(Topic.METADATA, 0, Offset(offset), 0, "a", text, headers)


def progress(offset: int, key: str, **value: object) -> Record:
    return Record(Topic.PROGRESS, 0, Offset(offset), 0, key, json.dumps(value).encode(), ())


def row(serial: int, key: str | None = "a") -> Record:
    return Record(
        Topic.CHANGELOG, 0, Offset(serial), 0, key, b"{}", (("event-serial", b"%d" % serial),)
    )


def past(*editions: Edition) -> Past:
    """The history of one name, `a`."""
    made = Past.__new__(Past)
    made.editions = {"a": list(editions)}
    return made


def test_a_body_or_an_event_that_goes_back() -> None:
    assert [] == falls_back([document(0, 5, 5), document(1, 7, 5), document(2, 7, 7)])
    assert 1 == len(falls_back([document(0, 5, 5), document(1, 7, 4)]))
    assert 1 == len(falls_back([document(0, 5, 5), document(1, 4, 6)]))
    assert 1 == len(falls_back([document(0, 9, 5), document(1, 9, 0, None), document(2, 9, 4)]))


def test_an_effect_that_comes_twice() -> None:
    assert [] == doubled([document(0, 5, 5), document(1, 5, 5, b"[]"), document(2, 6, 5)])
    assert 1 == len(doubled([document(0, 5, 5), document(1, 6, 6), document(2, 5, 5)]))


def test_a_position_that_falls() -> None:
    cuts = [progress(0, "p", changelog=3, serial=9), progress(1, "p", changelog=3, serial=12)]
    assert [] == fallen_positions(cuts)
    assert 1 == len(fallen_positions([*cuts, progress(2, "p", changelog=2, serial=12)]))
    heads = [progress(0, "head", serial=9, changelog=[4]), progress(1, "head", serial=8)]
    assert 2 == len(fallen_positions(heads))


def test_a_journal_row_that_is_missing_or_doubled() -> None:
    journal = [("a", None, 0, "create", serial) for serial in (3, 5, 8, 9)]
    assert [] == journal_differences([row(5), row(8), row(0, None)], journal, 3, 8)
    assert ["missing 8"] == journal_differences([row(5)], journal, 3, 8)
    assert ["too many 5"] == journal_differences([row(5), row(8), row(5)], journal, 3, 8)


def test_a_claim_that_is_ahead_of_the_truth() -> None:
    """Unless the name is an exception, or shown newer than claimed."""
    claim, truth = Claim("test", 0, 20), past(Edition(5, served=True), Edition(15, served=True))
    ok = {"status": "ok", "event": 5}

    assert [] == list(broken(claim, Shown({"a": ok}, {"a": 15}), truth))
    assert [] == list(broken(claim, Shown({"a": ok | {"status": "parked"}}, {"a": 5}), truth))
    assert [] == list(broken(Claim("test", 15, 20), Shown({"a": ok}, {"a": 5}), truth))
    assert 1 == len(list(broken(claim, Shown({"a": ok}, {"a": 5}), truth)))
    assert 1 == len(list(broken(claim, Shown(), truth)))


def test_a_ghost_that_a_claim_covers() -> None:
    truth = past(Edition(5, served=True), Edition(15, served=False))
    ok = {"status": "ok", "event": 5}

    assert 1 == len(list(broken(Claim("test", 0, 20), Shown({"a": ok}, {"a": 5}), truth)))
    assert [] == list(broken(Claim("test", 0, 14), Shown({"a": ok}, {"a": 5}), truth))


def test_a_claim_is_the_least_of_the_partitions() -> None:
    cuts = [{"serial": 9, "base": 0}, {"serial": 7, "base": 4}]
    assert (4, 7) == claim_of("test", cuts)[1:]
    assert (0, 0) == claim_of("test", [*cuts, None])[1:]
