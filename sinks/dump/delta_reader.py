"""Reads deltas: which of them continue from a position, and their lines, verified."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from schemas.codec import NO_JSON
from schemas.errors import DeltasMissing, DumpCorrupt, LogMismatch
from schemas.manifest import MANIFEST_BYTES_MAX, MANIFEST_FORMAT, Delta, DeltaManifest, DumpFile
from schemas.records import SCHEMA_VERSION, Places
from sinks.dump.reader import check_name, checked_rows


class _Format(msgspec.Struct):
    format: int


_format = msgspec.json.Decoder(_Format)
_manifest = msgspec.json.Decoder(DeltaManifest)
LOAD_ANEW = "load the dump anew: pypistream bootstrap --replace, or --follow, which does it itself"


def delta_manifest(raw: bytes, where: str) -> DeltaManifest:
    """Read `deltas/manifest.json`. Raises DumpCorrupt for a damaged one, or a newer format."""
    if len(raw) > MANIFEST_BYTES_MAX:
        raise DumpCorrupt(f"{where} has over {MANIFEST_BYTES_MAX} bytes")
    try:
        made = _format.decode(raw).format
        if made != MANIFEST_FORMAT:
            raise DumpCorrupt(
                f"{where} has format {made}, this version reads {MANIFEST_FORMAT}",
                hint="a newer pypistream reads it",
            )
        manifest = _manifest.decode(raw)
    except NO_JSON as error:
        raise DumpCorrupt(f"{where}: {error}", hint="download it again") from error
    check_schema(manifest.schema, where)
    for delta in manifest.deltas:
        check_name(delta.file, where)
    return manifest


def check_schema(schema: int, where: str) -> None:
    """Raise DumpCorrupt for documents of another schema version."""
    if schema != SCHEMA_VERSION:
        raise DumpCorrupt(
            f"{where} is of schema version {schema}, this version reads {SCHEMA_VERSION}",
            hint="use the pypistream of the version that made it",
        )


def leading_on(manifest: DeltaManifest, log: str, at: Places) -> tuple[Delta, ...]:
    """The deltas from `at` of `log` on, without a gap; () = none is newer. Pure.

    Raises LogMismatch for deltas of another log, DeltasMissing if the next one was removed.
    """
    if manifest.log != log:
        raise LogMismatch(
            f"these deltas are of log {manifest.log}, what was loaded is of log {log}",
            hint="was the other instance set up anew? pypistream bootstrap --replace takes it",
        )
    found: list[Delta] = []
    for delta in manifest.deltas:
        if delta.start == at:
            found.append(delta)
            at = delta.end
        elif found:
            break  # a gap; those before it are usable
    if found:
        return tuple(found)
    if not manifest.deltas or not behind(at, manifest.deltas[-1].end):
        return ()
    raise DeltasMissing(
        f"the deltas of {manifest.deltas[0].created} to {manifest.deltas[-1].created} do not "
        "lead on from what was taken in",
        hint=LOAD_ANEW,
    )


def behind(ours: Places, theirs: Places) -> bool:
    """Whether some places of a log lie behind others, in any partition. Pure."""
    if len(ours) != len(theirs):
        return True
    return any(
        theirs_p is not None
        and (our is None or any(a < b for a, b in zip(our, theirs_p, strict=True)))
        for our, theirs_p in zip(ours, theirs, strict=True)
    )


def delta_rows(path: Path, delta: Delta) -> Iterator[bytes]:
    """Lines without newline, verified only at the end: see `DumpReader.rows`."""
    known = DumpFile(delta.bytes, delta.sha256, delta.rows, delta.uncompressed_bytes)
    try:
        with path.open("rb") as file:
            yield from checked_rows(delta.file, file, known)
    except OSError as error:
        raise DumpCorrupt(f"{path}: {error.strerror}", hint="download it again") from error
