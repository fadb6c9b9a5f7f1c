"""Lines of a dump and of its deltas, as `verify` reads them: what is there, what is refused."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from schemas.compression import compress
from schemas.errors import DumpCorrupt
from schemas.manifest import MANIFEST_BYTES_MAX, Delta, DeltaManifest, DumpFile
from schemas.topics import Offset, Topic
from sinks.dump.delta_reader import delta_manifest
from sinks.dump.lines import delta_line
from sinks.dump.reader import DumpReader, checked_rows
from sinks.dump.verify import (
    DROP_IN_FILE,
    LINE_FILES,
    PACKAGES_FILE,
    delta_lines,
    dump_lines,
    leading_to,
    line_digest,
)
from streams.log import Record
from tests.support.repology import INFO_KEYS

CREATED = "2026-04-30T07:00:00Z"


def document(name: str, **info: Any) -> bytes:
    whole = {"info": {**dict.fromkeys(INFO_KEYS), "name": name, **info}, "releases": {}, "urls": []}
    return json.dumps(whole, separators=(",", ":")).encode()


def package(name: str, body: bytes | None = None) -> bytes:
    return b'{"name":"%b","serial":1,"document":%b}' % (name.encode(), body or document(name))


def lines(files: dict[str, list[bytes]]) -> list[tuple[str, str, bool]]:
    """Name, file and whether there is a digest, of a dump of these lines."""

    def rows(name: str) -> Iterator[bytes]:
        return iter(files.get(name, ()))

    reader = cast("DumpReader", SimpleNamespace(rows=rows, manifest=SimpleNamespace(files=files)))
    return [(name, file, bool(digest)) for name, file, digest in dump_lines(reader)]


def test_every_line_has_its_name_and_its_file() -> None:
    files = {PACKAGES_FILE: [package("a"), package("b")], LINE_FILES[2]: [b'{"name":"a"}']}
    assert lines(files) == [
        ("a", PACKAGES_FILE, True),
        ("b", PACKAGES_FILE, True),
        ("a", LINE_FILES[2], True),
    ]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([package("b"), package("a")], "order of its names at 'a'"),
        ([package("a"), package("a")], "order of its names at 'a'"),
        ([b"{}"], "a line without a name"),
        ([b'{"name":"\xff"}'], "a line without a name"),
    ],
)
def test_lines_that_are_none_are_refused(rows: list[bytes], why: str) -> None:
    with pytest.raises(DumpCorrupt, match=why):
        lines({PACKAGES_FILE: rows})


@pytest.mark.parametrize(
    ("elements", "found"),
    [
        ([document("b"), document("d")], []),
        ([document("b")], ["d"]),
        ([document("b"), document("D", summary="another")], ["d"]),
        ([document("a"), document("b"), document("c"), document("d")], ["a", "c"]),
        ([document("b"), document("d"), document("e"), document("f")], ["e", "f"]),
    ],
)
def test_the_drop_in_beside_the_packages(elements: list[bytes], found: list[str]) -> None:
    """What it lacks, what it has besides, and what is another document there."""
    shown = lines({PACKAGES_FILE: [package("b"), package("d")], DROP_IN_FILE: elements})
    assert found == [name for name, file, _ in shown if file == DROP_IN_FILE]


@pytest.mark.parametrize("element", [b"{}", b'{"info":{"name":"-"}}'])
def test_an_element_without_a_name_is_refused(element: bytes) -> None:
    with pytest.raises(DumpCorrupt, match="a document without a name"):
        lines({PACKAGES_FILE: [package("b")], DROP_IN_FILE: [element]})


def test_a_record_that_is_none_is_like_no_line() -> None:
    """Neither like one that is there nor like one that is gone."""
    gone = Record(Topic.STATE, 0, Offset(1), 0, "a", None, ())
    assert line_digest(gone) == ""
    assert line_digest(gone._replace(topic=Topic.CHANGELOG, value=b"{}")) == "?"
    assert line_digest(gone._replace(value=b'{"status":"ok"}')) not in {"", "?"}


# --- deltas ---------------------------------------------------------------------------------


def at(place: int) -> tuple[tuple[int, int, int, int, int]]:
    return ((place, 0, place, place, place),)


def delta(start: int, end: int) -> Delta:
    return Delta("f", 1, "", 0, 0, CREATED, at(start), at(end), watermark=end)


@pytest.mark.parametrize(("place", "starts"), [(50, [30, 40]), (40, [30]), (20, [10]), (60, [])])
def test_the_deltas_that_lead_to_a_dump(place: int, starts: list[int]) -> None:
    """Without a gap, and none if the last one leads elsewhere."""
    known = DeltaManifest(CREATED, "log", (delta(10, 20), delta(30, 40), delta(40, 50)))
    assert [at(start) for start in starts] == [each.start for each in leading_to(known, at(place))]


def shown(folder: Path, rows: list[bytes]) -> list[tuple[str, str, int, bool]]:
    """Of a delta of these lines: name, file, number and whether there is a digest."""
    plain = b"".join(rows)
    raw = compress(plain, 3)
    digest = hashlib.sha256(raw).hexdigest()
    (folder / "f").write_bytes(raw)
    known = Delta("f", len(raw), digest, len(rows), len(plain), CREATED, at(1), at(2), watermark=2)
    return [(name, file, n, bool(line)) for name, file, n, line in delta_lines(folder, [known])]


A, B = b'{"name":"a","serial":1}\n', b'{"name":"b","serial":1}\n'


def test_the_lines_of_a_delta(tmp_path: Path) -> None:
    """A line that goes has no digest."""
    rows = [
        delta_line(Topic.METADATA, "a", A),
        delta_line(Topic.STATE, "a", None),
        delta_line(Topic.RELEASES, "b", B),
    ]
    assert shown(tmp_path, rows) == [
        ("a", LINE_FILES[0], 0, True),
        ("a", LINE_FILES[2], 0, False),
        ("b", LINE_FILES[1], 0, True),
    ]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([delta_line(Topic.STATE, "a", None), delta_line(Topic.METADATA, "a", A)], "order"),
        ([delta_line(Topic.STATE, "b", None), delta_line(Topic.STATE, "a", None)], "order"),
        ([A], "a line that is none"),
        ([delta_line(Topic.CHANGELOG, "a", A)], "a line that is none"),
        ([b"no line at all\n"], "a line that is none"),
    ],
)
def test_lines_of_a_delta_that_are_refused(rows: list[bytes], why: str, tmp_path: Path) -> None:
    with pytest.raises(DumpCorrupt, match=why):
        shown(tmp_path, rows)


def test_a_list_of_deltas_beyond_the_limit_is_not_read() -> None:
    with pytest.raises(DumpCorrupt, match="has over"):
        delta_manifest(b" " * (MANIFEST_BYTES_MAX + 1), "deltas/manifest.json")


# --- the array of the drop-in -----------------------------------------------------------------


def elements(plain: bytes, rows: int) -> list[bytes]:
    """Of a file with that content, which its manifest describes rightly."""
    raw = compress(plain, 3)
    known = DumpFile(len(raw), hashlib.sha256(raw).hexdigest(), rows, len(plain))
    return list(checked_rows(DROP_IN_FILE, io.BytesIO(raw), known))


def test_the_elements_of_an_array() -> None:
    assert elements(b"[\n]\n", 0) == []
    assert elements(b'[\n{"a":1},\n{"b":2}\n]\n', 2) == [b'{"a":1}', b'{"b":2}']


@pytest.mark.parametrize(
    ("plain", "why"),
    [
        (b"{}\n", "is not one JSON array"),
        (b'[\n{"a":1}\n{"b":2}\n]\n', "a comma too few or too many"),
        (b'[\n{"a":1},\n]\n', "a comma too few or too many"),
        (b'[\n{"a":1},\n{"b":2}\n', "ends within its array"),
    ],
)
def test_an_array_that_is_none_is_refused(plain: bytes, why: str) -> None:
    with pytest.raises(DumpCorrupt, match=why):
        elements(plain, 2)
