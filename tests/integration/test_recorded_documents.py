"""Every recorded document goes through and comes out as promised, checked by the oracle."""

from __future__ import annotations

import json
from typing import Any

import pytest

from processors.trim import trim
from schemas.codec import decode
from schemas.names import NormalizedName, normalize
from schemas.releases import SlimReleases
from tests.support import oracle, repology
from tests.support.documents import Recorded, recorded

HEADER_SERIAL = 4711


@pytest.fixture(scope="module")
def documents() -> list[Recorded]:
    """The selection, or the whole set (see tests/data/README.md)."""
    return list(recorded())


def test_the_set_is_not_empty_and_names_its_documents(documents: list[Recorded]) -> None:
    assert len(documents) >= 83
    for each in documents:
        assert normalize(json.loads(each.body)["info"]["name"]) == each.asked


def test_metadata_is_what_the_oracle_says(documents: list[Recorded]) -> None:
    for each in documents:
        result = trim(each.body, NormalizedName(each.asked), header_serial=HEADER_SERIAL)
        given = json.loads(each.body)
        assert json.loads(result.metadata) == oracle.oracle_trim(given), each.file
        assert b"\n" not in result.metadata
        assert result.serial == given.get("last_serial", HEADER_SERIAL)
        assert (result.display_name, result.version) == (
            given["info"]["name"],
            given["info"].get("version"),
        )


def test_slim_form_is_what_the_oracle_says(documents: list[Recorded]) -> None:
    """Order of releases included; and it reads as the published type."""
    for each in documents:
        result = trim(each.body, NormalizedName(each.asked), header_serial=HEADER_SERIAL)
        given = json.loads(each.body)
        expected = oracle.oracle_slim(given, each.asked, result.serial)
        slim = json.loads(result.releases)
        assert slim == expected, each.file
        assert list(slim["releases"]) == list(expected["releases"])
        assert decode(result.releases, SlimReleases).releases.keys() == slim["releases"].keys()


def test_trimming_again_changes_nothing(documents: list[Recorded]) -> None:
    for each in documents:
        once = trim(each.body, NormalizedName(each.asked), all_releases=False)
        twice = trim(once.metadata, NormalizedName(each.asked), all_releases=False)
        assert (twice.metadata, twice.hash) == (once.metadata, once.hash), each.file


def test_hash_does_not_depend_on_how_a_body_is_written(documents: list[Recorded]) -> None:
    """Indented with escapes, or compact and sorted with raw UTF-8: the same hash."""
    for each in documents:
        given = json.loads(each.body)
        spaced = json.dumps(given, indent=2).encode()
        compact = json.dumps(given, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        hashes = {
            trim(raw, NormalizedName(each.asked)).hash
            for raw in (each.body, spaced, compact.encode())
        }
        assert len(hashes) == 1, each.file


def test_repology_reads_a_dump_of_todays_documents(documents: list[Recorded]) -> None:
    """Those of today's shape, with nothing added: every key it indexes is there."""
    today = [each for each in documents if _has_todays_keys(json.loads(each.body))]
    trimmed = [trim(each.body, NormalizedName(each.asked)).metadata for each in today]
    dump = b"[\n" + b",\n".join(trimmed) + b"\n]\n"
    packages = list(repology.read(dump))
    assert len(packages) == len(trimmed) > 10
    assert all(package.info["name"] for package in packages)


def _has_todays_keys(document: dict[str, Any]) -> bool:
    files = [file for found in document.get("releases", {}).values() for file in found]
    return (
        "releases" in document
        and set(repology.INFO_KEYS) <= document["info"].keys()
        and all({"yanked", "url"} <= file.keys() for file in files)
    )
