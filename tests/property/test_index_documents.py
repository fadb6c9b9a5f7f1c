"""Index pages and core metadata of any content: what comes out of them, and what never does."""

from __future__ import annotations

import json
from email.message import EmailMessage
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processors.core_metadata import parse_core_metadata
from processors.index_document import Built, build, complete, latest_of
from processors.index_files import placed
from processors.index_page import IndexPage, parse_page
from processors.trim import trim
from schemas.errors import ForeignMetadata, MalformedMetadata, OversizedBody
from schemas.names import normalize
from tests.support.second_source import latest_with_files

NAME = normalize("Some.Project")
SITE = "https://index.example.org"
BOUNDED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

numbers = st.lists(st.integers(0, 20), min_size=1, max_size=4).map(
    lambda parts: ".".join(map(str, parts))
)
suffixes = st.sampled_from(
    ["", "", "a1", "rc2", ".post1", ".dev3", "+local.1", "-1", ".dev-r20", "\n0.2b", "-final"]
)
versions = st.one_of(
    st.builds(str.__add__, numbers, suffixes),
    st.sampled_from(["unknown", "2004d", "1.0.2 dev", "1!2.0", "v1.1", "0.5.2.5.g5b3e942"]),
)
stems = st.sampled_from(["some_project", "Some.Project", "some-project", "SOME_PROJECT"])
endings = st.sampled_from(
    [
        ("sdist", "{stem}-{version}.tar.gz"),
        ("sdist", "{stem}-{version}.zip"),
        ("bdist_wheel", "some_project-{wheel}-py3-none-any.whl"),
        ("bdist_wheel", "some_project-{wheel}-2-cp312-cp312-win_amd64.whl"),
        ("bdist_egg", "{stem}-{version}-py2.7.egg"),
        ("bdist_wininst", "{stem}-{version}.win32-py3.4.exe"),
        ("bdist_dumb", "{stem}-{version}.linux-x86_64.tar.gz"),
    ]
)


@st.composite
def releases(draw: st.DrawFn) -> dict[str, list[dict[str, Any]]]:
    """By version, files as a page has them, named as the tools of their time named them."""
    texts = draw(st.lists(versions, min_size=1, max_size=6, unique_by=_meaning))
    found: dict[str, list[dict[str, Any]]] = {}
    for version in texts:
        kinds = draw(st.lists(endings, min_size=1, max_size=4, unique_by=lambda kind: kind[1]))
        stem = draw(stems)
        found[version] = [
            {
                "filename": shape.format(
                    stem=stem, version="_".join(version.split()), wheel=_in_wheel(version)
                ),
                "url": "https://files.example.org/x",
                "hashes": {"sha256": "ab" * 32},
                "yanked": draw(st.sampled_from([False, False, True, "", "broken"])),
                "size": draw(st.none() | st.integers(0, 2**63 - 1)),
                "upload-time": draw(st.sampled_from(["2026-01-02T03:04:05.000006Z", None])),
                "kind": kind,
            }
            for kind, shape in kinds
        ]
    return found


def _in_wheel(version: str) -> str:
    return "_".join(version.split()).replace("-", "_")


def _meaning(version: str) -> str:
    """Two versions that a file name spells alike cannot be told apart by anybody."""
    return "".join(character for character in version.lower() if character.isalnum())


def page_of(found: dict[str, list[dict[str, Any]]], **changes: Any) -> bytes:
    files = [file for each in found.values() for file in each]
    value = {
        "meta": {"api-version": "1.4", "_last-serial": 12},
        "name": NAME,
        "versions": list(found),
        "files": files,
        **changes,
    }
    return json.dumps(value).encode()


def built_of(page: IndexPage, display_name: str, metadata: bytes | None) -> Built:
    return build(page, latest_of(page, NAME), NAME, display_name, SITE, metadata)


@BOUNDED
@given(releases())
def test_every_file_is_under_its_version(found: dict[str, list[dict[str, Any]]]) -> None:
    """Whatever kind of file; also where the version is none, or is the beginning of another."""
    page = parse_page(page_of(found), NAME)
    made, unplaced = placed(page, NAME)

    assert unplaced == 0
    assert {v: [file["filename"] for file in files] for v, files in made.items()} == {
        v: [file["filename"] for file in files] for v, files in found.items()
    }
    for version, files in found.items():
        for file, ours in zip(files, made[version], strict=True):
            assert ours["packagetype"] == file["kind"]
            assert ours["yanked"] == (file["yanked"] is not False)
            assert (
                ours["yanked_reason"]
                == (file["yanked"] if file["yanked"] not in (True, "") else None)
                or not ours["yanked"]
            )


@BOUNDED
@given(releases(), st.none() | st.binary(max_size=300))
def test_a_built_document_is_one(
    found: dict[str, list[dict[str, Any]]], metadata: bytes | None
) -> None:
    """`trim` takes it; latest, `urls` and serial are right; building it again gives the same."""
    page = parse_page(page_of(found), NAME)
    built = built_of(page, "Some.Project", metadata)
    made = json.loads(built.body)
    trimmed = trim(built.body, NAME)

    assert built == built_of(page, "Some.Project", metadata)
    assert trimmed.serial == 12
    assert trimmed.own_serial
    assert not trimmed.lacks_releases
    assert trimmed.version == latest_with_files(made)
    assert made["urls"] == made["releases"][trimmed.version]
    assert made["info"]["yanked"] == all(file["yanked"] for file in made["urls"])


@BOUNDED
@given(releases(), releases())
def test_completing_loses_nothing(
    on_page: dict[str, list[dict[str, Any]]], of_urls: dict[str, list[dict[str, Any]]]
) -> None:
    """Releases of the page and the files of `urls`; everything else stays as JSON tells it."""
    version, files = next(iter(of_urls.items()))
    lacking = {"info": {"name": "Some.Project", "version": version, "new": {"a": 1}}, "urls": files}
    page = parse_page(page_of(on_page), NAME)
    made = json.loads(complete(json.dumps(lacking).encode(), page, NAME).body)

    assert {key: value for key, value in made.items() if key != "releases"} == lacking
    assert files in made["releases"].values()
    assert made["releases"].keys() >= on_page.keys()
    assert len(made["releases"].keys() - on_page.keys()) <= 1


@BOUNDED
@given(st.binary(max_size=400) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["meta", "name", "files", "versions", "api-version", "filename", "url"]),
        inner, max_size=4),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_page_is_read_or_refused(body: bytes) -> None:
    """Never another error."""
    try:
        page = parse_page(body, NAME)
    except (MalformedMetadata, ForeignMetadata):
        return
    assert normalize(page.name) == NAME


lines = st.sampled_from(
    ["Name: some-project", "Version: 1.0", "Summary: x", "Keywords: a,b", "Project-URL: nothing",
     "Project-URL: a, https://x.example.org", "License-File: \xe9", "Content-Type: multipart/mixed",
     "  folded", "no header", ":", "Classifier: A :: B", "Name: twice", "Summary: =?utf-8?b?/w==?=",
     "Description: long", "\x00: \x01", "Author: \ud800", "Dynamic: x", "Requires-Dist: a (>1)"]
)  # fmt: skip


@BOUNDED
@given(
    st.binary(max_size=300)
    | st.lists(lines, max_size=12).map(
        lambda each: "\n".join(["Name: some-project", "Version: 1.0", *each]).encode(
            "utf-8", "surrogatepass"
        )
    )
)
def test_any_metadata_is_read_or_refused(body: bytes) -> None:
    """Only MalformedMetadata; what is read can be written as JSON and describes what it says."""
    try:
        fields = parse_core_metadata(body)
    except MalformedMetadata:
        return
    msgspec.json.encode(fields)
    assert "description" not in fields


@pytest.mark.parametrize(
    "body",
    [
        b"Name: a\nVersion: 1\n" + b"X: y\n" * 30_000,
        b"Name: a\nVersion: 1\n" + b"".join(b"X%d: y\n" % number for number in range(500)),
        b"Name: a\nVersion: 1\nSummary: " + b"x" * (2 << 20),
        b"\r" * 100_000,
        b"",
        b"\n\nName: a\nVersion: 1\n",
        b"<html></html>",
    ],
)
def test_too_much_is_refused(body: bytes) -> None:
    """Before anything is parsed whose work grows faster than the text."""
    with pytest.raises(MalformedMetadata):
        parse_core_metadata(body)


def test_a_long_description_is_no_header() -> None:
    """Eight MiB behind the headers are not looked at."""
    message = EmailMessage()
    message["Name"], message["Version"], message["Summary"] = "a", "1", "short"
    fields = parse_core_metadata(message.as_bytes() + b"x" * (8 << 20))

    assert fields == {"name": "a", "version": "1", "summary": "short"}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": "another"}, ForeignMetadata),
        ({"name": "not a name"}, ForeignMetadata),
        ({"meta": {"api-version": "2.0"}}, MalformedMetadata),
        ({"files": [{"filename": "x"}]}, MalformedMetadata),
        (
            {"files": [{"filename": "x", "url": "y", "hashes": {}, "size": 2**64}]},
            MalformedMetadata,
        ),
        ({"files": [{"filename": "x", "url": "y", "hashes": {"sha256": 1}}]}, MalformedMetadata),
        ({"versions": [1]}, MalformedMetadata),
    ],
)
def test_a_page_is_taken_whole_or_not(changes: dict[str, Any], error: type[Exception]) -> None:
    """A file that cannot be read would count as removed."""
    with pytest.raises(error):
        parse_page(page_of({}, **changes), NAME)


def test_a_page_of_a_giant() -> None:
    """20 000 files are placed in about a second, whatever their names."""
    files = [
        {"filename": f"some-project-{number}" + ".1-" * 30 + ".tar.gz", "url": "", "hashes": {}}
        for number in range(20_000)
    ]
    page = parse_page(page_of({}, files=files, versions=[str(n) for n in range(20_000)]), NAME)

    assert latest_of(page, NAME).unplaced == 20_000


def test_metadata_of_another_describes_nothing() -> None:
    """Another name, version or hash: the document is built without it, and says so."""
    file = {
        "filename": "some_project-1.0-py3-none-any.whl",
        "url": "https://files.example.org/x",
        "hashes": {},
    }
    page = parse_page(page_of({"1.0": [file]}), NAME)
    hashed = parse_page(page_of({"1.0": [{**file, "core-metadata": {"sha256": "00" * 32}}]}), NAME)
    good = b"Name: some_project\nVersion: 1.0.0\nSummary: said\n\nlong"

    def info(body: bytes, of: Any = page) -> tuple[object, tuple[str, ...]]:
        built = built_of(of, "", body)
        return json.loads(built.body)["info"].get("summary"), built.anomalies

    assert info(good) == ("said", ())
    assert info(good.replace(b"some_project", b"other")) == (None, ("core-metadata-of-another",))
    assert info(good.replace(b"1.0.0", b"1.1")) == (None, ("core-metadata-of-another",))
    assert info(good, hashed) == (None, ("core-metadata-of-another",))
    assert info(b"\xff\xfe") == (None, ("core-metadata-unreadable",))


def test_no_document_without_a_version() -> None:
    """A page whose files nobody can place."""
    page = parse_page(
        page_of({}, files=[{"filename": "x.whl", "url": "", "hashes": {}}], versions=[]), NAME
    )
    with pytest.raises(MalformedMetadata):
        built_of(page, "", None)
    with pytest.raises((MalformedMetadata, OversizedBody)):
        complete(b"[]", page, NAME)
