"""The index as PEP 691 JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.errors import UpstreamUnavailable
from upstream.index import parse_serial_map
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
