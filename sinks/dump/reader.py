"""Reads a dump, here or where it was copied to: verified, or refused with DumpCorrupt.

It refuses a truncated file, a flipped bit, mixed files of two dumps, a manifest of a newer format,
and anything that would take unbounded memory: a small zstd file may announce a terabyte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from schemas.codec import NO_JSON
from schemas.compression import read_frames
from schemas.errors import DumpCorrupt
from schemas.manifest import (
    MANIFEST_BYTES_MAX,
    MANIFEST_FILE,
    MANIFEST_FORMAT,
    DumpFile,
    Manifest,
)
from sinks.dump.frames import ARRAY_CLOSE, ARRAY_NEXT, ARRAY_OPEN, lines_of
from sinks.publication import version_of

FRAMED = ".zst"  # files of frames; others (Parquet, DuckDB) are verified by length and hash only
READ_BYTES = 1024 * 1024


class _Format(msgspec.Struct):
    format: int


_manifest = msgspec.json.Decoder(Manifest)
_format = msgspec.json.Decoder(_Format)


class DumpReader:
    """One complete dump.

    In a live directory it stays unchanged until the second publication after it; then files are
    missing, and a new reader has to be made.
    """

    def __init__(self, root: str | Path) -> None:
        """Reads the manifest; raises DumpCorrupt."""
        root = Path(root)
        self.directory = version_of(root) or root
        self.manifest = read_manifest(self.directory / MANIFEST_FILE)

    def verify(self) -> None:
        """Read every file to its end against the manifest; DumpCorrupt at the first fault."""
        for name in self.manifest.files:
            if name.endswith(FRAMED):
                for _ in self.rows(name):
                    pass
            else:
                self.check(name)

    def rows(self, name: str) -> Iterator[bytes]:
        """Lines (or elements of an array) without newline, in the order of the names.

        Of a file of tables (`*.parquet`, `*.duckdb`) there are none: raises DumpCorrupt. The file's
        SHA-256 is verified only at the end, where DumpCorrupt may be raised: so no effect may come
        before the end, or before `verify`.
        """
        known = self.manifest.files.get(name)
        if known is None or not name.endswith(FRAMED):
            raise DumpCorrupt(f"{self.directory} holds no {name}", hint="see its manifest.json")
        try:
            with (self.directory / name).open("rb") as file:
                yield from checked_rows(name, file, known)
        except OSError as error:
            raise DumpCorrupt(
                f"{self.directory / name}: {error.strerror}", hint="download the dump again"
            ) from error

    def check(self, name: str) -> None:
        """Read a file of any kind to its end; raises DumpCorrupt if it is not as described."""
        known = self.manifest.files[name]
        try:
            with (self.directory / name).open("rb") as opened:
                file = _Hashed(opened)
                while file.read(READ_BYTES):
                    if file.bytes > known.bytes:
                        break
        except OSError as error:
            raise DumpCorrupt(
                f"{self.directory / name}: {error.strerror}", hint="download the dump again"
            ) from error
        if (file.bytes, file.hexdigest()) != (known.bytes, known.sha256):
            raise DumpCorrupt(f"{name} is not the file its manifest describes", hint=_ANEW)


class _Hashed:
    """A file that is hashed and counted as it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.bytes = 0

    def read(self, size: int) -> bytes:
        piece = self._file.read(size)
        self._hash.update(piece)
        self.bytes += len(piece)
        return piece

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def checked_rows(name: str, opened: BinaryIO, known: DumpFile) -> Iterator[bytes]:
    """The rows of an open file, as `DumpReader.rows` returns them."""
    file = _Hashed(opened)
    rows = uncompressed = 0

    def frames() -> Iterator[bytes]:
        nonlocal uncompressed
        for frame in read_frames(cast("BinaryIO", file)):
            uncompressed += len(frame)
            # Before anything is parsed: mixed files and bombs fail here, not at the end.
            if uncompressed > known.uncompressed_bytes or file.bytes > known.bytes:
                raise DumpCorrupt(f"{name} is longer than its manifest says", hint=_ANEW)
            yield frame

    for row in _rows(name, frames()):
        rows += 1
        yield row
    found = (file.bytes, file.hexdigest(), rows, uncompressed)
    if found != (known.bytes, known.sha256, known.rows, known.uncompressed_bytes):
        raise DumpCorrupt(f"{name} is not the file its manifest describes", hint=_ANEW)


def _rows(name: str, frames: Iterator[bytes]) -> Iterator[bytes]:
    if name.endswith(".json.zst"):
        return _elements(name, frames)
    lines = lines_of(frames)
    if name.endswith(".csv.zst") and not next(lines, b""):
        raise DumpCorrupt(f"{name} has no line of names", hint=_ANEW)
    return lines


_ANEW = "fetch manifest and file anew; they may come from two dumps"


def _elements(name: str, frames: Iterator[bytes]) -> Iterator[bytes]:
    """The documents of `[` newline document `,` newline document … newline `]` newline."""
    lines = lines_of(frames)
    if next(lines, None) != ARRAY_OPEN[:-1]:
        raise DumpCorrupt(f"{name} is not one JSON array")
    element = next(lines, b"")
    for following in lines:
        ends = following == ARRAY_CLOSE[1:-1]
        if element and element.endswith(ARRAY_NEXT[:1]) == ends:
            raise DumpCorrupt(f"{name} has a comma too few or too many")
        if element:
            yield element if ends else element[:-1]
        element = following
    if element != ARRAY_CLOSE[1:-1]:
        raise DumpCorrupt(f"{name} ends within its array", hint=_ANEW)


def read_manifest(path: Path) -> Manifest:
    """A dump's manifest. Raises DumpCorrupt for a damaged one, or a newer format."""
    try:
        with path.open("rb") as file:
            raw = file.read(MANIFEST_BYTES_MAX + 1)
    except OSError as error:
        raise DumpCorrupt(f"{path}: {error.strerror}", hint="is this a dump?") from error
    if len(raw) > MANIFEST_BYTES_MAX:
        raise DumpCorrupt(f"{path} has over {MANIFEST_BYTES_MAX} bytes")
    try:
        if (made := _format.decode(raw).format) != MANIFEST_FORMAT:
            raise DumpCorrupt(
                f"{path} has format {made}, this version reads {MANIFEST_FORMAT}",
                hint="a newer pypistream reads it",
            )
        manifest = _manifest.decode(raw)
    except NO_JSON as error:
        raise DumpCorrupt(f"{path}: {error}", hint="download it again") from error
    for name in manifest.files:
        check_name(name, str(path))
    return manifest


def check_name(name: str, where: str) -> None:
    """Raise DumpCorrupt for a name that is no file in the manifest's own folder."""
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise DumpCorrupt(f"{where} names a file outside of its directory: {name[:80]!r}")
