"""`manifest.json` of a dump: the files beside it, and what they claim to reflect.

Readers ignore keys they do not know; a breaking change raises `format`. `deltas/manifest.json`
lists what leads from one dump to the next, `full/manifest.json` the dumps that are kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from schemas.records import SCHEMA_VERSION, Cut, Filter, Places

MANIFEST_FORMAT = 1
MANIFEST_FILE = "manifest.json"
DELTAS = "deltas"  # their folder, beside the manifest, with a manifest of their own
FULL = "full"  # the folder of kept dumps, where a file's name holds the hash of its content
HASH_CHARACTERS = 16  # of the SHA-256 in such a name: no two files of one kind will collide
MANIFEST_BYTES_MAX = 16 * 1024 * 1024  # what a reader accepts; 10 000 named exceptions take 1 MB
EXCEPTION_NAMES_MAX = 10_000  # state.jsonl.zst has all of them


class DumpFile(msgspec.Struct, frozen=True):
    """One file.

    bytes, sha256        (hex) of the file as it is
    rows                 lines, elements or rows of a table
    uncompressed_bytes   of its zstd frames; of other files the same as `bytes`
    file                 its name in `full/`, which never stands for anything else; "" = none
    """

    bytes: int
    sha256: str
    rows: int
    uncompressed_bytes: int
    file: str = ""


class Tables(msgspec.Struct, frozen=True):
    """What the DuckDB file and the Parquet files of a dump show: a cut of their own.

    They are made less often than the other files, so their cut may lie before the dump's. The keys
    mean the same as in `Manifest`. `files`: which files these are. `history_since`: the changelog
    has every row of the journal after that serial up to `reached`; null = unknown.
    """

    created: str
    vector: tuple[Cut | None, ...]
    watermark: int | None
    base: int
    reached: int
    files: tuple[str, ...]
    history_since: int | None = None


class Backfill(msgspec.Struct, frozen=True):
    """A backfill that is not finished: `done` of `names` are decided."""

    done: int
    names: int


class ExceptionName(msgspec.Struct, frozen=True):
    """A normalised name the watermark does not speak for, and its status in `state`."""

    name: str
    status: str


class Exceptions(msgspec.Struct, frozen=True):
    """Counts by status, and the first EXCEPTION_NAMES_MAX by name; `omitted`: how many more."""

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
    filter      which projects the log holds; `releases`: all, or only the latest. null = unknown
    version     where the dump was made, `.versions/<version>/` holds just these files, unchanged
    tables      what is to be known of those `files` that stand at a cut of their own, if there are
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
    filter: Filter | None = None
    releases: str = "all"
    version: str = ""
    tables: Tables | None = None
    format: int = MANIFEST_FORMAT
    schema: int = SCHEMA_VERSION


class FullManifest(msgspec.Struct, frozen=True):
    """`full/manifest.json`: the dumps that are kept, from old to new; the last is the newest one.

    Each is that dump's manifest without the names of its exceptions. A file of a kept dump, such as
    `packages.jsonl.zst`, lies here under the name in its `file`.
    """

    created: str
    dumps: tuple[Manifest, ...]
    format: int = MANIFEST_FORMAT
    schema: int = SCHEMA_VERSION


class Delta(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """A file of `deltas/`: every record of metadata, releases and state between two cuts.

    file       holds a part of its sha256 in its name, and never anything else under that name
    from, to   places of those cuts; the next delta begins where this one ends, if none is missing
    watermark, base, reached   what the manifest of a dump says of `to`
    """

    file: str
    bytes: int
    sha256: str
    rows: int
    uncompressed_bytes: int
    created: str
    start: Places
    end: Places
    watermark: int | None
    base: int = 0
    reached: int = 0


class DeltaManifest(msgspec.Struct, frozen=True):
    """`deltas/manifest.json`: deltas from old to new, all of one log."""

    created: str
    log: str
    deltas: tuple[Delta, ...]
    filter: Filter | None = None
    releases: str = "all"
    format: int = MANIFEST_FORMAT
    schema: int = SCHEMA_VERSION


def places(vector: Sequence[Cut | None]) -> Places:
    """The places of a vector's cuts, as a delta names them."""
    return tuple(
        None if cut is None else (cut.changelog, cut.refetch, cut.metadata, cut.releases, cut.state)
        for cut in vector
    )


def hashed_name(name: str, sha256: str) -> str:
    """The name in `full/` of a file with this name and content."""
    stem, dot, kind = name.partition(".")
    return f"{stem}-{sha256[:HASH_CHARACTERS]}{dot}{kind}"
