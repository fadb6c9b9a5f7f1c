"""Digests of a dump's lines, and of those that the log's records should give."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from schemas.codec import NO_JSON
from schemas.errors import DumpCorrupt, InvalidName, LogCorrupt
from schemas.manifest import Delta, DeltaManifest
from schemas.names import normalize
from schemas.records import Places
from schemas.topics import COMPACTED
from sinks.dump.delta_reader import delta_rows
from sinks.dump.lines import change_of, document_of, drop_in, line_of_delta, name_of
from sinks.dump.reader import DumpReader
from streams.log import Record

DROP_IN_FILE, PACKAGES_FILE = "pypicache.json.zst", "packages.jsonl.zst"
LINE_FILES = (PACKAGES_FILE, "releases.jsonl.zst", "state.jsonl.zst")
DIGEST_BYTES = 8  # no accidental fault keeps 64 bits unchanged


def line_digest(record: Record) -> str:
    """The digest of the line that the record should give, "" = none."""
    try:
        _, line = change_of(record)
    except LogCorrupt:
        return "?"  # no line of a dump looks like it
    return "" if line is None else _digest(line)


def dump_lines(reader: DumpReader) -> Iterator[tuple[str, str, str]]:
    """Name, file and digest of every line, file by file, each in the order of the names.

    DROP_IN_FILE with an empty digest: the drop-in's document does not match that of packages.
    Raises DumpCorrupt: at the end of a file that is not what the manifest says, for names out of
    order, and for a document without a name.
    """
    for file in LINE_FILES:
        before = ""
        for row in reader.rows(file):
            line = row + b"\n"
            name = _name(file, line)
            if name <= before:
                raise DumpCorrupt(f"{file} is not in the order of its names at {name!r}")
            before = name
            yield name, file, _digest(line)
    if DROP_IN_FILE in reader.manifest.files:
        yield from ((name, DROP_IN_FILE, "") for name in _beside_drop_in(reader))


def leading_to(manifest: DeltaManifest, at: Places) -> tuple[Delta, ...]:
    """The deltas that lead to a dump at these places, without a gap; () = none does. Pure."""
    found: list[Delta] = []
    for delta in reversed(manifest.deltas):
        if delta.end == (found[-1].start if found else at):
            found.append(delta)
        elif found:
            break
    return tuple(reversed(found))


def delta_lines(folder: Path, deltas: Sequence[Delta]) -> Iterator[tuple[str, str, int, str]]:
    """Name, file of the dump, number of the delta, and digest of the line that it leaves there.

    The digest is "" if the line is removed. Raises DumpCorrupt for a file that does not match the
    manifest, for lines out of order, and for malformed lines.
    """
    for number, delta in enumerate(deltas):
        before = ("", -1)
        for row in delta_rows(folder / delta.file, delta):
            try:
                name, topic, line = line_of_delta(row)
                order = COMPACTED.index(topic)
            except ValueError as error:
                raise DumpCorrupt(f"{delta.file} has a line that is none: {row[:80]!r}") from error
            if (name, order) <= before:
                raise DumpCorrupt(f"{delta.file} is not in the order of its names at {name!r}")
            before = (name, order)
            yield name, LINE_FILES[order], number, "" if line is None else _digest(line)


def _beside_drop_in(reader: DumpReader) -> Iterator[str]:
    """Names whose document in the drop-in does not match packages. Both are in order."""
    elements = reader.rows(DROP_IN_FILE)
    element = next(elements, None)
    for row in reader.rows(PACKAGES_FILE):
        expected = drop_in(document_of(row + b"\n"))
        if expected is not None and element == expected:
            element = next(elements, None)
            continue
        name = _name(PACKAGES_FILE, row)
        while element is not None and (other := _project(element)) < name:
            yield other
            element = next(elements, None)
        there = element is not None and _project(element) == name
        right = there and element == expected  # after some that belong to no package
        if there:
            element = next(elements, None)
        if not right and (there or expected is not None):
            yield name
    while element is not None:
        yield _project(element)
        element = next(elements, None)


class _Info(msgspec.Struct):
    name: str


class _Document(msgspec.Struct):
    info: _Info


_document = msgspec.json.Decoder(_Document)


def _project(element: bytes) -> str:
    try:
        return normalize(_document.decode(element).info.name)
    except (*NO_JSON, InvalidName) as error:
        raise DumpCorrupt(f"{DROP_IN_FILE} has a document without a name") from error


def _name(file: str, line: bytes) -> str:
    try:
        return name_of(line)
    except (ValueError, UnicodeDecodeError) as error:
        raise DumpCorrupt(f"{file} has a line without a name") from error


def _digest(line: bytes) -> str:
    return hashlib.blake2b(line, digest_size=DIGEST_BYTES).hexdigest()
