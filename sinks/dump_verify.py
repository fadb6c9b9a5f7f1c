"""A dump as digests of its lines, and those that the log's records should give."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from schemas.errors import DumpCorrupt, LogCorrupt
from sinks.dump_lines import change_of, document_of, drop_in, name_of
from sinks.dump_reader import DumpReader
from streams.log import Record

DROP_IN_FILE, PACKAGES_FILE = "pypicache.json.zst", "packages.jsonl.zst"
LINE_FILES = (PACKAGES_FILE, "releases.jsonl.zst", "state.jsonl.zst")
DIFFERING_MAX = 100  # one document too few or too many sets all that follow against others
DIGEST_BYTES = 8  # a fault that keeps 64 bits as they were is none of chance


def line_digest(record: Record) -> str:
    """Of the line that the record is to leave, "" = none."""
    try:
        _, line = change_of(record)
    except LogCorrupt:
        return "?"  # no line of a dump is like it
    return "" if line is None else _digest(line)


def dump_lines(reader: DumpReader) -> Iterator[tuple[str, str, str]]:
    """Name, file and digest of every line, file by file, each in the order of the names.

    With DROP_IN_FILE and no digest: the drop-in has another document there than packages has.
    Raises DumpCorrupt: at the end of a file that is not what the manifest says, for names out of
    order, and for a drop-in that is not made of the lines in packages at all.
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


def _beside_drop_in(reader: DumpReader) -> Iterator[str]:
    """Names whose line in packages is not what the drop-in was made of."""
    elements = reader.rows(DROP_IN_FILE)
    differing = 0
    for row in reader.rows(PACKAGES_FILE):
        expected = drop_in(document_of(row + b"\n"))
        if expected is None or next(elements, None) == expected:
            continue
        differing += 1
        if differing > DIFFERING_MAX:
            raise DumpCorrupt(
                f"{DROP_IN_FILE} is not made of {PACKAGES_FILE}", hint="pypistream rebuild dump"
            )
        yield _name(PACKAGES_FILE, row)
    if next(elements, None) is not None:
        raise DumpCorrupt(f"{DROP_IN_FILE} has documents that {PACKAGES_FILE} has not")


def _name(file: str, line: bytes) -> str:
    try:
        return name_of(line)
    except (ValueError, UnicodeDecodeError) as error:
        raise DumpCorrupt(f"{file} has a line without a name") from error


def _digest(line: bytes) -> str:
    return hashlib.blake2b(line, digest_size=DIGEST_BYTES).hexdigest()
