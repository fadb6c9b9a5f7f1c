"""The slim form of all releases."""

from __future__ import annotations

import json
from typing import Any

import pytest

from processors import trim as trim_module
from processors.trim import trim
from schemas.codec import decode
from schemas.names import normalize
from schemas.releases import SlimReleases
from tests.support.documents import SHA256, body, document, file
from tests.support.oracle import oracle_slim

NAME = normalize("Some.Project")
FITTING = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.9", "0.10", "1.0")  # slim, more than the metadata


def slim(value: dict[str, Any]) -> dict[str, Any]:
    raw = trim(body(value), NAME).releases
    assert isinstance(decode(raw, SlimReleases), SlimReleases)
    result: dict[str, Any] = json.loads(raw)
    return result


def with_files(*files: object) -> dict[str, Any]:
    value = document("1.0")
    value["releases"]["0.9"] = list(files)
    return value


def test_every_release_is_there_ascending_with_the_text_as_it_was() -> None:
    """Also those without files, those that are no version, and equal ones."""
    versions = ("1.0.0", "0.10", "0.9", "2.0rc1", "unknown", "1.0", "1.0.dev1")
    value = document(*versions)
    value["releases"]["0.9"] = []
    found = slim(value)
    assert list(found["releases"]) == [
        "unknown", "0.9", "0.10", "1.0.dev1", "1.0", "1.0.0", "2.0rc1",
    ]  # fmt: skip
    assert found == oracle_slim(value, NAME, 1000)
    assert list(found) == ["name", "display_name", "serial", "latest", "releases"]


def test_a_file_keeps_what_a_resolver_asks_for() -> None:
    assert slim(with_files(file("a.whl", yanked=True, yanked_reason="broken")))["releases"][
        "0.9"
    ] == [
        {
            "core-metadata": {"sha256": SHA256},
            "digests": {"blake2b_256": "cd" * 32, "sha256": SHA256},
            "filename": "a.whl",
            "packagetype": "bdist_wheel",
            "requires_python": ">=3.9",
            "size": 1234,
            "upload_time_iso_8601": "2026-01-02T03:04:05.000006Z",
            "url": "https://files.example.org/packages/a.whl",
            "yanked": True,
            "yanked_reason": "broken",
        }
    ]


def test_a_file_of_the_old_index_is_brought_to_todays_spelling() -> None:
    old = {
        "comment_text": "",
        "downloads": 17,
        "filename": "a.tar.gz",
        "has_sig": False,
        "md5_digest": "ef" * 16,
        "packagetype": "sdist",
        "path": "source/a/a.tar.gz",
        "python_version": "source",
        "size": 5,
        "upload_time": "2016-01-02T03:04:05",
        "url": "https://files.example.org/a.tar.gz",
    }
    value = with_files(old)
    assert slim(value)["releases"]["0.9"] == [
        {
            "digests": {"md5": "ef" * 16},
            "filename": "a.tar.gz",
            "packagetype": "sdist",
            "size": 5,
            "upload_time_iso_8601": "2016-01-02T03:04:05Z",
            "url": "https://files.example.org/a.tar.gz",
        }
    ]
    assert slim(value) == oracle_slim(value, NAME, 1000)


def test_an_old_file_without_digest_or_time_has_none() -> None:
    """Nothing is made up; a digest that only md5 gives stays."""
    value = with_files({"filename": "a"}, {"filename": "b", "digests": {"md5": "ef" * 16}})
    files = slim(value)["releases"]["0.9"]
    assert files == [{"filename": "a"}, {"filename": "b", "digests": {"md5": "ef" * 16}}]
    assert slim(value) == oracle_slim(value, NAME, 1000)


def test_unknown_keys_of_a_file_do_not_reach_the_slim_form() -> None:
    value = with_files(file("a.whl", new={"a": 1}))
    assert slim(value) == oracle_slim(value, NAME, 1000)


@pytest.mark.parametrize("size", [2**63, 2**64, -1])
def test_a_size_that_fits_no_column_becomes_null(size: int) -> None:
    value = with_files(file("a.whl", size=size))
    result = trim(body(value), NAME)
    assert json.loads(result.releases)["releases"]["0.9"][0]["size"] is None
    assert "file-value-of-wrong-type" in result.anomalies


@pytest.mark.parametrize(
    ("entry", "slug", "left"),
    [
        (7, "file-not-an-object", 1),
        (None, "file-not-an-object", 1),
        ({}, "file-without-filename", 1),
        (file("a", filename=None), "file-without-filename", 1),
        (file("a", yanked="yes"), "file-value-of-wrong-type", 2),
        (file("a", digests=["x"]), "file-value-of-wrong-type", 2),
        (file("a", size=1.5), "file-value-of-wrong-type", 2),
        (file("a", url={"a": 1}), "file-value-of-wrong-type", 2),
    ],
)
def test_a_broken_file_does_not_cost_its_neighbour(entry: object, slug: str, left: int) -> None:
    """What is of the wrong type is left out and named; nothing is refused."""
    result = trim(body(with_files(entry, file("good.whl"))), NAME)
    files = json.loads(result.releases)["releases"]["0.9"]
    assert slug in result.anomalies
    assert len(files) == left
    assert files[-1]["filename"] == "good.whl"


@pytest.mark.parametrize("files", [None, {}, "x", 1])
def test_a_release_that_is_no_list_has_no_files(files: object) -> None:
    value = document("1.0")
    value["releases"]["0.9"] = files
    result = trim(body(value), NAME)
    assert json.loads(result.releases)["releases"]["0.9"] == []
    assert result.anomalies == ("release-not-a-list",)


def test_what_does_not_fit_loses_its_lowest_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly as many as must go; the metadata is published all the same."""
    value = document(*FITTING)
    whole = trim(body(value), NAME)
    sizes = [len(whole.releases)]
    for version in ("0.1", "0.2"):
        del value["releases"][version]
        sizes.append(len(trim(body(value), NAME).releases))
    value = document(*FITTING)
    for omitted, limit in ((0, sizes[0]), (1, sizes[0] - 1), (1, sizes[1]), (2, sizes[1] - 1)):
        monkeypatch.setattr(trim_module, "VALUE_BYTES_MAX", limit)
        result = trim(body(value), NAME)
        assert result.releases_omitted == omitted
        assert len(result.releases) <= limit
        assert list(json.loads(result.releases)["releases"]) == list(FITTING[omitted:])
        assert ("releases-omitted" in result.anomalies) == bool(omitted)
        assert result.metadata == whole.metadata


def test_serial_stands_in_the_value_but_not_in_the_hash() -> None:
    first, second = document("1.0"), {**document("1.0"), "last_serial": 2**40}
    assert slim(second)["serial"] == 2**40
    assert trim(body(first), NAME).hash == trim(body(second), NAME).hash
