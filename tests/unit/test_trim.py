"""What stays of a document, and what is said about it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from processors import trim as trim_module
from processors.shapes import CoreMetadata, Digests, Document, File, Info, Ownership, Published
from processors.trim import trim
from schemas.errors import ForeignMetadata, OversizedBody
from schemas.names import normalize
from tests.support.documents import body, document, file
from tests.support.oracle import oracle_trim

NAME = normalize("Some.Project")


def trimmed(value: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(trim(body(value), NAME).metadata)
    return result


def test_description_and_older_releases_go_and_everything_else_stays() -> None:
    """Of three releases the two below the latest go; all other keys are as they were."""
    value = document("0.9.0", "0.10.0", "1.0")
    assert trimmed(value) == {
        **value,
        "info": {key: x for key, x in value["info"].items() if key != "description"},
        "releases": {"1.0": value["releases"]["1.0"]},
    }


@pytest.mark.parametrize(
    ("versions", "latest", "kept"),
    [
        (("0.9", "0.10", "0.11"), "0.10", {"0.10", "0.11"}),  # as text 0.9 would be the highest
        (("1.0", "1.0.0", "0.9"), "1.0.0", {"1.0", "1.0.0"}),
        (("1.0", "2.0rc1", "2.0.dev3", "0.1"), "1.0", {"1.0", "2.0rc1", "2.0.dev3"}),
        (("1.0", "2024.2.29", "0.5.2"), "0.5.2", {"1.0", "2024.2.29", "0.5.2"}),
        (("1!0.1", "2.0"), "1!0.1", {"1!0.1"}),
        (("1.0", "1.0+local", "1.0.post1"), "1.0", {"1.0", "1.0+local", "1.0.post1"}),
        (("unknown", "1.0", "2004d"), "1.0", {"1.0"}),
        (("unknown", "1.0", "2004d"), "unknown", {"unknown", "1.0"}),
        (("2004g", "2004f", "2004h"), "2004g", {"2004g", "2004h"}),
        (("0.9", "1.1"), "1.0", {"1.1"}),  # the latest is not among the keys
        (("0.9", "1.0"), "", {"0.9", "1.0"}),
        (("0.9", "1.0"), None, {"0.9", "1.0"}),
        (("9" * 201, "1.0"), "1.0", {"1.0"}),  # too long for a version we order as one
    ],
)
def test_releases_not_below_the_latest_stay(
    versions: tuple[str, ...], latest: str | None, kept: set[str]
) -> None:
    """PEP 440 decides; a text that is no version is below all that are."""
    value = document(*versions, version=latest)
    value["urls"] = []
    assert set(trimmed(value)["releases"]) == kept
    assert trimmed(value) == oracle_trim(value)


def test_unknown_keys_and_numbers_stay_as_they_are_written() -> None:
    """On every level; a number keeps its digits even where no double holds them."""
    value = document("0.9", "1.0")
    value["info"]["new"] = value["new"] = {"a": [1, {"b": None}]}
    value["releases"]["1.0"][0]["new"] = "x"
    raw = body(value).replace(
        b'"last_serial"', b'"exact":[1.10,18446744073709551616],"last_serial"'
    )
    result = trim(raw, NAME)
    assert b'"exact":[1.10,18446744073709551616]' in result.metadata
    assert json.loads(result.metadata) == oracle_trim(json.loads(raw))
    assert result.anomalies == ("big-int",)


def test_a_document_without_releases_stays_one() -> None:
    """The key is announced as going away; nothing of ours takes its place."""
    value = document("1.0")
    del value["releases"]
    result = trim(body(value), NAME)
    assert "releases" not in json.loads(result.metadata)
    assert json.loads(result.releases)["releases"] == {}


def test_a_document_of_nothing_but_info_stays_one() -> None:
    value = {"info": document("1.0")["info"]}
    assert trimmed(value) == oracle_trim(value)


@pytest.mark.parametrize("releases", [None, [], "x", 7])
def test_releases_that_are_no_object_are_kept_and_noted(releases: object) -> None:
    result = trim(body({**document("1.0"), "releases": releases}), NAME)
    assert json.loads(result.metadata)["releases"] == releases
    assert "releases-not-an-object" in result.anomalies


def test_metadata_is_compact_however_the_body_was_indented() -> None:
    """The old index wrote four spaces; the same values give the same bytes."""
    value = document("0.9", "1.0")
    indented = json.dumps(value, indent=4).encode()
    assert trim(indented, NAME).metadata == trim(body(value), NAME).metadata
    odd = json.dumps({**value, "new": [1, {"a": " b "}]}, indent=4).encode()
    assert b"\n" not in trim(odd, NAME).metadata


@pytest.mark.parametrize(
    ("given", "header", "serial", "anomalies"),
    [
        (1000, 999, 1000, ()),
        (..., 999, 999, ()),
        (..., None, 0, ()),
        (None, 999, 999, ("serial-not-usable",)),
        ("1000", 999, 999, ("serial-not-usable",)),
        (True, 999, 999, ("serial-not-usable",)),
        (-1, 999, 999, ("serial-not-usable",)),
        (2**63, 999, 999, ("big-int", "serial-not-usable")),
    ],
)
def test_serial_is_the_bodys_else_the_headers(
    given: object, header: int | None, serial: int, anomalies: tuple[str, ...]
) -> None:
    """And the metadata is not altered for that."""
    value = document("1.0")
    del value["last_serial"]
    if given is not ...:
        value["last_serial"] = given
    result = trim(body(value), NAME, header_serial=header)
    assert (result.serial, result.anomalies) == (serial, anomalies)
    assert json.loads(result.metadata).get("last_serial", ...) == given


@pytest.mark.parametrize("name", ["other", "Some.Project ", "\u017fome-project", "../x", ""])
def test_another_projects_document_is_refused(name: str) -> None:
    """A name that PEP 508 does not allow is nobody's, in either path."""
    for extra in ({}, {"new": 1}):
        with pytest.raises(ForeignMetadata) as caught:
            trim(body({**document("1.0", name=name), **extra}), NAME)
        assert (caught.value.asked, caught.value.got) == (NAME, name)


def test_name_and_version_are_told_as_upstream_spells_them() -> None:
    result = trim(body(document("v1.0-1", name="SOME__Project")), NAME)
    assert (result.display_name, result.version) == ("SOME__Project", "v1.0-1")


def test_too_large_a_document_is_refused_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = body(document("1.0"))
    monkeypatch.setattr(trim_module, "VALUE_BYTES_MAX", 100)
    with pytest.raises(OversizedBody) as caught:
        trim(raw, NAME)
    assert caught.value.bytes_seen == len(raw)


def test_without_all_releases_there_is_no_slim_form() -> None:
    result = trim(body(document("0.9", "1.0")), NAME, all_releases=False)
    assert (result.releases, result.releases_omitted) == (b"", 0)
    assert result.hash == trim(body(document("0.8", "1.0")), NAME, all_releases=False).hash


def test_hash_sees_every_value_but_the_serial() -> None:
    """Older releases count through the slim form; what no form holds does not count."""
    value = document("0.9", "1.0")
    base = trim(body(value), NAME).hash
    assert trim(body({**value, "last_serial": 2000}), NAME).hash == base
    assert len(base) == 32
    longer = {**value, "info": {**value["info"], "description": "other"}}
    assert trim(body(longer), NAME).hash == base
    changed = [
        {**value, "info": {**value["info"], "summary": "other"}},
        {**value, "new": 1},
        {**value, "vulnerabilities": [{"id": "PYSEC-1", "aliases": []}]},
        {**value, "releases": {**value["releases"], "0.9": []}},
        {**value, "releases": {**value["releases"], "0.9": [file("x", yanked=True)]}},
    ]
    hashes = {trim(body(each), NAME).hash for each in changed}
    assert len(hashes | {base}) == len(changed) + 1


def test_hash_is_the_same_on_both_paths() -> None:
    """A key that the strict types do not know, in a part that is dropped, changes nothing."""
    value = document("0.9", "1.0")
    other = json.loads(body(value))
    other["info"]["description"] = {"not": "a text"}
    assert trim(body(other), NAME) == trim(body(value), NAME)


@pytest.mark.parametrize(
    ("change", "slug"),
    [
        ({"requires_dist": ["x"] * 1001}, "requires-dist-over-limit"),
        ({"classifiers": ["x"] * 501}, "classifiers-over-limit"),
        ({"summary": "x" * (1024 * 1024 + 1)}, "strings-over-limit"),
        ({"version": "not a version"}, "version-not-pep440"),
        ({"version": "2.0"}, "latest-not-among-releases"),
        ({"version": None}, "no-version"),
        ({"summary": "a\0b"}, "nul"),
        ({"summary": "a\x1bb"}, "control-character"),
    ],
)
def test_oddities_are_kept_and_named(change: dict[str, Any], slug: str) -> None:
    """On both paths the value stays and the slug tells of it."""
    for extra in ({}, {"new": 1}):
        value = {**document("1.0", **change), **extra}
        result = trim(body(value), NAME)
        assert slug in result.anomalies
        assert json.loads(result.metadata) == oracle_trim(value)


def test_an_escape_that_need_not_be_is_no_anomaly() -> None:
    """A tab may be spelt as a number; unknown values keep the spelling they came in."""
    raw = body({**document("1.0"), "new": "@"}).replace(b'"@"', rb'"\u0009\u000A\u0041"')
    assert trim(raw, NAME).anomalies == ()
    assert rb'"\u0009\u000A\u0041"' in trim(raw, NAME).metadata


def test_tabs_line_ends_and_escaped_backslashes_are_no_anomaly() -> None:
    value = document("1.0", summary="a\tb\r\nc\\u0000\b\f")
    assert trim(body(value), NAME).anomalies == ()


@pytest.mark.parametrize(("limit", "slug"), [("RELEASES_MAX", "releases"), ("FILES_MAX", "files")])
def test_too_many_releases_or_files_are_named(
    limit: str, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trim_module, limit, 1)
    assert f"{slug}-over-limit" in trim(body(document("0.9", "1.0")), NAME).anomalies


@pytest.mark.parametrize(
    "shape", [Info, File, Document, Digests, CoreMetadata, Ownership, Published]
)
def test_known_shapes_are_declared_in_the_order_of_their_keys(shape: type) -> None:
    """The canonical form needs sorted keys, and the strict types write them as declared."""
    keys = shape.__struct_encode_fields__  # type: ignore[attr-defined]
    assert keys == tuple(sorted(keys))
