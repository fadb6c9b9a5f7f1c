"""`manifest.json` of a dump: what the files beside it are, and what they may claim.

Readers ignore keys they do not know; a breaking change raises `format`. Parquet files and deltas
will be further entries and keys.
"""

from __future__ import annotations

import msgspec

from schemas.records import SCHEMA_VERSION, Cut

MANIFEST_FORMAT = 1
MANIFEST_FILE = "manifest.json"
MANIFEST_BYTES_MAX = 16 * 1024 * 1024  # 10 000 named exceptions are 1 MB; what a reader accepts
EXCEPTION_NAMES_MAX = 10_000  # state.jsonl.zst has every one


class DumpFile(msgspec.Struct, frozen=True):
    """One file. `sha256` (hex) and `bytes` are of the file as it is; `rows`: lines or elements."""

    bytes: int
    sha256: str
    rows: int
    uncompressed_bytes: int


class Backfill(msgspec.Struct, frozen=True):
    """A backfill that is not finished: `done` of `names` are decided."""

    done: int
    names: int


class ExceptionName(msgspec.Struct, frozen=True):
    """A normalised name the watermark does not speak for, and its status in `state`."""

    name: str
    status: str


class Exceptions(msgspec.Struct, frozen=True):
    """All of them by status; the first EXCEPTION_NAMES_MAX by name; `omitted` is how many more."""

    counts: dict[str, int]
    names: tuple[ExceptionName, ...] = ()
    omitted: int = 0


class Manifest(msgspec.Struct, frozen=True):
    """A complete dump at one cut of one log.

    format      of this file; schema = of the topics' values (`schemas/*.v<n>.schema.json`)
    created     RFC 3339, UTC
    log         the log's id; `vector` its cut per partition, in the order of the partitions
    watermark   every serial up to it is reflected, but for `exceptions`; null = no such claim
    base        0, or what happened up to here is not known to be complete (`watermark` is null)
    reached     every serial in (base, reached] is reflected, also while `watermark` is null
    backfill    the running backfill that the watermark waits for, if one is known
    names       ever heard of, the exceptions among them; coverage = percent of them that are none,
                rounded down; null while `watermark` is
    files       by name, beside the manifest
    version     where the dump was made, `.versions/<version>/` holds just these files, unchanged
    """

    created: str
    log: str
    vector: tuple[Cut | None, ...]
    watermark: int | None
    exceptions: Exceptions
    files: dict[str, DumpFile]
    base: int = 0
    reached: int = 0
    backfill: Backfill | None = None
    names: int = 0
    coverage: float | None = None
    version: str = ""
    format: int = MANIFEST_FORMAT
    schema: int = SCHEMA_VERSION
