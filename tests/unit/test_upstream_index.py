"""The index as PEP 691 JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.errors import UpstreamUnavailable
from upstream import index
from upstream.index import parse_serial_map
from upstream.listing import Listing
from upstream.source import ProjectSerial


def page(projects: list[Any], **meta: Any) -> bytes:
    meta = {"api-version": "1.4", "_last-serial": 99} | meta
    return json.dumps({"meta": meta, "projects": projects}).encode()


def test_the_serial_map() -> None:
    """Names as displayed, their serials, the map's own serial and ETag; unknown keys are left."""
    found = parse_serial_map(
        page([{"name": "Demo.Pröject", "_last-serial": 7, "later": [1]}], tracks=[]), '"e"'
    )

    assert (found.last_serial, found.etag) == (99, '"e"')
    assert isinstance(found.projects[0], ProjectSerial)
    assert [(p.name, p.serial) for p in found.projects] == [("Demo.Pröject", 7)]


def test_a_project_without_a_serial_has_serial_zero() -> None:
    """PEP 691 knows no serial; one that lacks it must not lose the map."""
    found = parse_serial_map(page([{"name": "a"}, {"name": "b", "_last-serial": 2}]))

    assert [p.serial for p in found.projects] == [0, 2]


@pytest.mark.parametrize("version", ["1.0", "1.4", "1.99"])
def test_every_minor_version_is_read(version: str) -> None:
    assert parse_serial_map(page([], **{"api-version": version})).last_serial == 99


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'{"meta": {}, "projects": []}',
        b'{"projects": []}',
        page([])[:-2],
        page([], **{"api-version": "2.0"}),
        page([], **{"api-version": 1}),
        page([], **{"_last-serial": None}),
        page([], **{"_last-serial": "99"}),
        page([], **{"_last-serial": -1}),
        page([], **{"_last-serial": 2**63}),
        page([], **{"_last-serial": 1.5}),
        page([], **{"_last-serial": True}),
        page([{"name": None}]),
        page([{"_last-serial": 1}]),
        page([{"name": "a", "_last-serial": 2**64}]),
        page([{"name": "a", "_last-serial": "1"}]),
        page(["a"]),
        page([{"name": "a", "x": 0}]).replace(b'"a"', b'"\xff"'),
        page([{"name": "a", "x": 0}]).replace(b"0}", b"[" * 100_000 + b"}"),
    ],
)
def test_a_map_that_is_none_is_refused_whole(body: bytes) -> None:
    """A name left out would count as a project removed."""
    with pytest.raises(UpstreamUnavailable, match="index"):
        parse_serial_map(body)


LINES = [ProjectSerial(name, serial) for serial, name in enumerate(["a", "Pröject", "", "x" * 99])]
COMPACT = (",", ":")  # as PyPI writes it


def as_upstream(lines: list[Any], **others: Any) -> bytes:
    """An index without blanks."""
    meta = {"_last-serial": 99, "api-version": "1.4"}
    return json.dumps({"meta": meta, "projects": lines, **others}, separators=COMPACT).encode()


@pytest.mark.parametrize("piece_bytes", [0, 1, 40, 10_000])
def test_pieces_of_any_size_are_the_same_map(
    piece_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines as objects are few at a time: all of PyPI's would take 130 MB."""
    monkeypatch.setattr(index, "PIECE_BYTES", piece_bytes)
    monkeypatch.setattr(index, "_at_once", None)  # nothing else is needed
    body = as_upstream([{"_last-serial": each.serial, "name": each.name} for each in LINES])

    found = parse_serial_map(body)
    assert (99, LINES) == (found.last_serial, list(found.projects))


@pytest.mark.parametrize(
    "body",
    [
        as_upstream([{"name": "a},{b"}, {"name": '},{"name":"c'}]),
        as_upstream([{"name": "a", "x": [{"y": 1}, {"y": 2}]}, {"name": "b"}]),
        as_upstream([{"name": "a"}, {"name": "b"}], versions=["1"]),
        as_upstream([{"name": "a"}], **{'x"projects': [{"name": "b"}, {"name": "c"}]}),
        as_upstream([], **{'x"projects': [{"name": "b"}, {"name": "c"}]}),
        as_upstream([{"name": "a", 'x"projects': [{"name": "b"}, {"name": "c"}]}]),
        page([{"name": "a"}, {"name": "b"}]),
    ],
)
def test_what_cannot_be_cut_is_read_at_once(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut that falls into a text or into something else is noticed, and no name is another."""
    monkeypatch.setattr(index, "PIECE_BYTES", 0)

    assert [each["name"] for each in json.loads(body)["projects"]] == [
        each.name for each in parse_serial_map(body).projects
    ]


def test_a_listing_is_the_sequence_of_its_lines() -> None:
    """However it is asked: one by one, from the end, by slices."""
    listing = Listing(LINES)

    assert LINES == list(listing)
    assert len(LINES) == len(listing)
    assert [listing[at] for at in range(-4, 4)] == LINES * 2
    assert LINES[1:3] == listing[1:3]
    assert LINES[::-2] == listing[::-2]
    assert [each.serial for each in LINES] == [listing.serial(at) for at in range(4)]
    for beyond in (4, -5):
        with pytest.raises(IndexError):
            listing[beyond]
    assert [] == list(Listing())
