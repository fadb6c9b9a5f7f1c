"""Documents built from index pages, held against the JSON API's own: synthetic and recorded ones.

No core metadata is among the recorded data, so `info` is compared on the stand-in's projects only.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from processors.index_document import Built, build, complete, latest_of
from processors.index_page import IndexPage, parse_page
from processors.trim import trim
from schemas.compression import decompress
from schemas.names import NormalizedName, normalize
from tests.support.documents import RECORDED
from tests.support.second_source import (
    FILE_KEYS,
    files_of,
    info_of,
    latest_with_files,
)
from upstream.standin.app import Standin, build_app
from upstream.standin.http_types import Request
from upstream.standin.packages import INSTALLABLE_NAMES
from upstream.standin.settings import StandinSettings

SITE = "https://index.example.org"
ACCEPT = b"application/vnd.pypi.simple.v1+json"


@pytest.fixture(scope="module")
def app() -> Iterator[Standin]:
    made = build_app(StandinSettings(projects=700, seed=5))
    yield made
    made.close()


def built_of(
    page: IndexPage, name: NormalizedName, display_name: str, metadata: bytes | None
) -> Built:
    return build(page, latest_of(page, name), name, display_name, SITE, metadata)


class _Case(NamedTuple):
    name: NormalizedName
    page: bytes
    metadata: bytes | None
    true: dict[str, Any]


def _cases(app: Standin) -> Iterator[_Case]:
    for name, project in app.world.projects.items():
        true = app.world.document(project.edition)
        if true is None or not project.edition.served or not any(true["releases"].values()):
            continue
        headers = {b"accept": ACCEPT}
        page = app.site.answer(
            Request("simple", "GET", f"/simple/{name}/", headers, {}, name, name)
        ).body
        key = normalize(name)
        latest = latest_of(parse_page(page, key), key)
        metadata = None
        if latest.described_by is not None:
            filename = f"{latest.described_by.filename}.metadata"
            request = Request("files", "GET", f"/files/{name}/x", {}, {}, name, name)
            request.filename = filename
            metadata = app.site.answer(request).body
        yield _Case(key, page, metadata, true)


def test_what_the_stand_in_tells_twice_is_told_the_same(app: Standin) -> None:
    """Every file under its version; where there is core metadata, all of `info` that it can say."""
    described = 0
    for case in _cases(app):
        true = case.true
        page = parse_page(case.page, case.name)
        built = built_of(page, case.name, true["info"]["name"], case.metadata)
        made = json.loads(built.body)
        assert built.anomalies == (), case.name
        assert {n: _comparable(*f, true) for n, f in files_of(made).items()} == {
            n: _comparable(*f, true) for n, f in files_of(true).items()
        }, case.name
        assert made["info"]["version"] == latest_with_files(true)
        assert made["urls"] == made["releases"][made["info"]["version"]]
        assert trim(built.body, case.name).serial == page.serial
        # Projects that can be installed have the short metadata that lies in their wheels.
        if case.name in INSTALLABLE_NAMES or case.metadata is None:
            continue
        if made["info"]["version"] == true["info"]["version"]:
            described += 1
            assert _one_line(info_of(made)) == _one_line(info_of(true)), case.name
            assert (made["info"]["license"] or "") == (true["info"].get("license") or "")
    assert described > 100


def _comparable(version: str, file: dict[str, Any], true: dict[str, Any]) -> tuple[str, Any]:
    """Files of the old index lack times and addresses, and addresses here are the stand-in's."""
    kept = {key: value for key, value in file.items() if key not in ("url", "core-metadata")}
    kept["yanked"] = bool(kept["yanked"])  # not there before 2019
    if "last_serial" not in true:
        del kept["upload_time_iso_8601"], kept["requires_python"]
    return version, kept


def _one_line(info: dict[str, Any]) -> dict[str, Any]:
    """Core metadata has one line per value; blanks and line ends at odd places do not fit in."""
    return {
        key: " ".join(value.split()) if isinstance(value, str) else value
        for key, value in info.items()
    }


def test_releases_are_put_back(app: Standin) -> None:
    """The document without `releases` and the page: all that both tell, and `urls` in full."""
    for case in _cases(app):
        true = case.true
        lacking = {key: value for key, value in true.items() if key != "releases"}
        body = json.dumps(lacking).encode()
        assert trim(body, case.name).lacks_releases
        made = json.loads(complete(body, parse_page(case.page, case.name), case.name).body)
        assert {key: value for key, value in made.items() if key != "releases"} == lacking
        version = true["info"]["version"]
        assert made["releases"][version] == true["urls"]
        assert {v for v, files in made["releases"].items() if files} == {
            v for v, files in true["releases"].items() if files
        }


CORE = frozenset({"core-metadata"})
STUB = frozenset({"digests"})  # who kept the page put the SHA-256 of small files of his own in
OLD = CORE | {"upload_time_iso_8601", "yanked"}


class Pair(NamedTuple):
    """A recorded page and document of one project, and how they differ.

    `files`: how many both have, the page alone, the document alone. `differ`: keys that do in
    files that both have. docs/second-source.md says why.
    """

    page: str
    document: str
    files: tuple[int, int, int]
    differ: frozenset[str]


PAIRS = (
    Pair("black--413b73e6.json", "black--6d5a6efb.json.zst", (257, 0, 0), CORE),
    Pair("pytest--12ce8724.json", "pytest--b66f3d48.json.zst", (293, 0, 0), CORE),
    Pair("django--2fb12bea.json.zst", "Django--f3bee15f.json.zst", (437, 344, 0), CORE),
    Pair("pyyaml--bc2491eb.json", "PyYAML--1eb71924.json", (11, 0, 9), OLD | {"version"}),
    Pair("sqlalchemy--dc6ec3f3.json", "SQLAlchemy--1c0460e9.json", (0, 1, 146), frozenset()),
    Pair("twisted--03986b0b.json", "Twisted--30684ae2.json", (1, 0, 0), OLD | STUB),
    Pair("attrs--a2c9094a.json", "attrs--1815c3cd.json", (2, 0, 52), CORE | STUB),
    Pair("hbmqtt--3fc656af.json", "hbmqtt--9b0b0046.json", (3, 0, 35), CORE | STUB),
    Pair(
        "importlib-metadata--4797720c.json", "importlib-metadata--110dd5e6.json", (2, 0, 209), CORE
    ),
    Pair("ipython--b79a4497.json", "ipython--d7cc4a2c.json", (3, 5, 0), OLD),
    Pair("py--1d85c2e0.json", "py--a285c5d2.json", (2, 0, 0), OLD | STUB | {"requires_python"}),
    Pair("six--127958e4.json", "six--8dc40ecf.json", (2, 0, 44), CORE | STUB),
)


def compared(folder: Path, pair: Pair) -> tuple[Counter[str], Counter[str]]:
    """(files by where they are, keys that differ among the files that both have)."""
    document = json.loads(_read(folder / "json-project" / pair.document))
    name = normalize(document["info"]["name"])
    page = parse_page(_read(folder / "simple-json" / pair.page), name)
    made = json.loads(built_of(page, name, document["info"]["name"], None).body)
    ours, theirs = files_of(made), files_of(document)
    files = Counter(
        both=len(ours.keys() & theirs.keys()),
        page_only=len(ours.keys() - theirs.keys()),
        document_only=len(theirs.keys() - ours.keys()),
    )
    keys: Counter[str] = Counter()
    for filename in ours.keys() & theirs.keys():
        (version, file), (true_version, true) = ours[filename], theirs[filename]
        keys["version"] += version != true_version
        for key in FILE_KEYS:
            keys[key] += file[key] != true[key]
        digests = {**_digests(made, filename), **_digests(document, filename)}
        keys["digests"] += digests != {**digests, **_digests(made, filename)}
    return files, +keys


def _digests(document: dict[str, Any], filename: str) -> dict[str, str]:
    """SHA-256 and BLAKE2b of a file, as far as they are there."""
    files = (file for each in document["releases"].values() for file in each)
    file = next(file for file in files if file["filename"] == filename)
    return {key: value for key, value in file.get("digests", {}).items() if key != "md5"}


def _read(path: Path) -> bytes:
    raw = path.read_bytes()
    return decompress(raw) if path.suffix == ".zst" else raw


@pytest.mark.skipif(RECORDED not in os.environ, reason=f"{RECORDED} names no folder")
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.page.partition("--")[0])
def test_recorded_pairs_differ_as_documented(pair: Pair) -> None:
    """Every file that both have is under the same version and equal but for what time changed."""
    files, keys = compared(Path(os.environ[RECORDED]), pair)

    assert tuple(files.values()) == pair.files
    assert frozenset(keys) == pair.differ
