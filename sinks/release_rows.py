"""A project's releases and files as one row of lists and packed texts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec
from msgspec import UnsetType
from msgspec.structs import astuple

from schemas.records import SERIAL_MAX
from schemas.releases import SlimFile, SlimReleases
from sinks.softly import Fields, moment_of

WHEEL_DASHES = 4  # name-version-python-abi-platform.whl; one more where there is a build tag
MUSL = "musllinux"  # in the names listed in `musl_wheels`

NEVER = "~"  # later than any time
# Between the texts of one: ASCII's own "unit separator", which no name, version or hash contains.
SEPARATOR = "\x1f"


class _Columns(NamedTuple):
    """The fields of many `SlimFile`s, each of all files."""

    core_metadata: Sequence[bool | dict[str, str] | UnsetType]
    digests: Sequence[dict[str, str] | UnsetType]
    filename: Sequence[str]
    packagetype: Sequence[str | UnsetType | None]
    requires_python: Sequence[str | UnsetType | None]
    size: Sequence[int | UnsetType | None]
    upload_time_iso_8601: Sequence[str | UnsetType | None]
    url: Sequence[str | UnsetType | None]
    yanked: Sequence[bool | UnsetType]
    yanked_reason: Sequence[str | UnsetType | None]


assert _Columns._fields == SlimFile.__struct_fields__

_typed = msgspec.json.Decoder(SlimReleases)
_untyped = msgspec.json.Decoder()


class ReleaseRow(msgspec.Struct):
    """A row of `base.releases_of`: field for field its columns.

    `release_*` have one element per version, in the order of versions; `version` to
    `core_metadata` one per file, the texts among them in one (see `packed`), but for `url`, of
    which nearly all are None; `wheels` and `musl_wheels` are what `built_wheels` gives, apart.
    Times are ISO 8601 in UTC without zone, sizes bytes.
    """

    latest: str | None
    serial: int | None
    omitted: int
    anomalies: list[str]
    release_count: int = 0
    file_count: int = 0
    bytes: int = 0
    first_uploaded: str | None = None
    last_uploaded: str | None = None
    url_base: str | None = None
    release_version: list[str] = []
    release_files: list[int] = []
    release_bytes: list[int] = []
    release_uploaded: list[str | None] = []
    release_yanked: list[bool] = []
    release_yanked_reason: list[str | None] = []
    version: str | None = None
    filename: str | None = None
    packagetype: str | None = None
    size: list[int | None] = []
    sha256: str | None = None
    blake2b: str | None = None
    md5: str | None = None
    requires_python: str | None = None
    yanked: list[bool] = []
    yanked_reason: str | None = None
    uploaded: list[str | None] = []
    url: list[str | None] = []
    core_metadata: str | None = None
    wheels: list[str] = []
    musl_wheels: list[str] = []


def packed(texts: Sequence[str | None]) -> str | None:
    """One text of many: SEPARATOR between them, "" for None, None for none at all.

    To DuckDB a list costs much more: each commit writes the lists of all rows in its vector of
    2 048 (ADR 029). A SEPARATOR within a text, which only hostile input has, becomes a blank.
    """
    if not texts:
        return None
    together = SEPARATOR.join([text or "" for text in texts])
    if together.count(SEPARATOR) < len(texts):
        return together
    return SEPARATOR.join([(text or "").replace(SEPARATOR, " ") for text in texts])


def release_row(value: bytes, omitted: int) -> ReleaseRow:
    """The row of a `releases` record.

    Raises msgspec.MsgspecError or RecursionError if it is not JSON.
    """
    try:
        slim = _typed.decode(value)
    except msgspec.ValidationError:
        return _row_of_anything(_untyped.decode(value), omitted)
    row = ReleaseRow(slim.latest, _serial(slim.serial), omitted, [])
    _fill(row, slim.releases)
    return row


def document_releases(document: Fields, latest: str | None, notes: list[str]) -> ReleaseRow:
    """The row of a project document, whose `releases` are few and in no order of versions."""
    row = ReleaseRow(latest, document.number("last_serial"), 0, notes)
    _fill(row, releases_in_document(document, latest))
    return row


def releases_in_document(document: Fields, latest: str | None) -> dict[str, list[SlimFile]]:
    """A project document's files by version: the latest release, and those above it."""
    found = files_by_version(document.child("releases"))
    if latest is not None and not found.get(latest):
        found[latest] = [_slim(each) for each in document.children("urls")]
    return found


def files_by_version(releases: Fields) -> dict[str, list[SlimFile]]:
    """The files by version of an object whose values are lists of files of any shape."""
    return {
        version: [_slim(each) for each in releases.children(version, "*")]
        for version, _ in releases.items()
    }


def _row_of_anything(value: object, omitted: int) -> ReleaseRow:
    notes: list[str] = []
    fields = Fields(value, "", notes)
    row = ReleaseRow(fields.text("latest"), fields.number("serial"), omitted, notes)
    _fill(row, files_by_version(fields.child("releases")))
    return row


def _slim(file: Fields) -> SlimFile:
    digests = file.child("digests")
    known = {name: digests.text(name) for name in ("sha256", "blake2b_256", "md5")}
    known["md5"] = known["md5"] or file.text("md5_digest")
    core = file.raw("core-metadata")
    return SlimFile(
        core_metadata=_hashes(core) if isinstance(core, dict) else False,
        digests={name: text for name, text in known.items() if text is not None},
        filename=file.text("filename") or "",
        packagetype=file.text("packagetype"),
        requires_python=file.text("requires_python"),
        size=file.number("size"),
        upload_time_iso_8601=file.time("upload_time_iso_8601") or file.time("upload_time"),
        url=file.text("url"),
        yanked=bool(file.flag("yanked")),
        yanked_reason=file.text("yanked_reason"),
    )


def _hashes(core: Mapping[str, object]) -> dict[str, str]:
    return {name: value for name, value in core.items() if isinstance(value, str)}


def _fill(row: ReleaseRow, releases: Mapping[str, Sequence[SlimFile]]) -> None:
    """Spread versions and files over the row's lists."""
    row.release_count = len(releases)
    row.release_version = list(releases)
    row.release_files = [len(files) for files in releases.values()]
    files = [astuple(file) for each in releases.values() for file in each]
    reasons: list[str | None] = []
    if files:
        reasons = _fill_files(row, releases, _Columns(*zip(*files, strict=True)))
    _fill_releases(row, reasons)


def _fill_files(
    row: ReleaseRow, releases: Mapping[str, Sequence[SlimFile]], files: _Columns
) -> list[str | None]:
    """Spread the files; returns why each was yanked."""
    names = files.filename
    kinds = [each or None for each in files.packagetype]
    versions = [version for version, each in releases.items() for _ in each]
    reasons = [each or None for each in files.yanked_reason]
    row.file_count = len(names)
    row.version, row.filename, row.packagetype = packed(versions), packed(names), packed(kinds)
    row.size = [
        size if isinstance(size, int) and 0 <= size <= SERIAL_MAX else None for size in files.size
    ]
    digests = [each or {} for each in files.digests]
    blake2b = [each.get("blake2b_256") for each in digests]
    row.sha256 = packed([each.get("sha256") for each in digests])
    row.blake2b = packed(blake2b)
    row.md5 = packed([None if "sha256" in each else each.get("md5") for each in digests])
    row.requires_python = packed([each or None for each in files.requires_python])
    row.yanked = [each is True for each in files.yanked]
    row.yanked_reason = packed(reasons)
    row.uploaded = [moment_of(each or None) for each in files.upload_time_iso_8601]
    row.url_base, row.url = _urls(names, blake2b, files.url)
    row.core_metadata = packed(
        [each.get("sha256") if isinstance(each, dict) else None for each in files.core_metadata]
    )
    built = built_wheels(names, kinds, versions)
    row.wheels = [wheel for wheel in built if MUSL not in wheel]
    if len(row.wheels) < len(built):
        row.musl_wheels = [wheel for wheel in built if MUSL in wheel]
    row.bytes = min(SERIAL_MAX, sum(filter(None, row.size)))
    times = list(filter(None, row.uploaded))
    row.first_uploaded, row.last_uploaded = min(times, default=None), max(times, default=None)
    return reasons


def built_wheels(
    names: Sequence[str], kinds: Sequence[str | None], versions: Sequence[str]
) -> list[str]:
    """`filename/version` of the wheels that are built for a platform, not for `any`.

    The arguments have an element per file. A name with a slash or fewer parts is no wheel's.
    """
    return [
        f"{name}/{version}"
        for name, kind, version in zip(names, kinds, versions, strict=True)
        if kind == "bdist_wheel"
        and name[-8:-4] != "-any"
        and name[-4:] == ".whl"
        and "/" not in name
        and name.count("-") >= WHEEL_DASHES
    ]


def _urls(
    names: Sequence[str],
    hashes: Sequence[str | None],
    urls: Sequence[str | UnsetType | None],
) -> tuple[str | None, list[str | None]]:
    """The base of the usual addresses, and the addresses without those (see `duckdb_schema`)."""
    written = [url or "" for url in urls]
    ends = [
        f"/{blake2b[:2]}/{blake2b[2:4]}/{blake2b[4:]}/{name}" if blake2b else ""
        for blake2b, name in zip(hashes, names, strict=True)
    ]
    bases = (
        url.removesuffix(end)
        for url, end in zip(written, ends, strict=True)
        if end and url.endswith(end) and len(url) > len(end)
    )
    base = next(bases, None)
    if base is None:
        return None, [*written]
    usual = [base + end if end else None for end in ends]
    if usual == written:
        return base, [None] * len(written)
    return base, [None if url == end else url for url, end in zip(written, usual, strict=True)]


def _fill_releases(row: ReleaseRow, reasons: Sequence[str | None]) -> None:
    """Fill the columns of releases from those of their files, in the order of releases."""
    sizes = iter([size or 0 for size in row.size])
    uploaded = iter([moment or NEVER for moment in row.uploaded])
    counts = row.release_files
    row.release_bytes = [sum(islice(sizes, count)) for count in counts]
    if row.bytes == SERIAL_MAX:
        row.release_bytes = [min(SERIAL_MAX, total) for total in row.release_bytes]
    first = [min(islice(uploaded, count), default=NEVER) for count in counts]
    row.release_uploaded = [None if moment is NEVER else moment for moment in first]
    row.release_yanked = [False] * len(counts)
    row.release_yanked_reason = [None] * len(counts)
    if True in row.yanked:
        _fill_yanked(row, reasons)


def _fill_yanked(row: ReleaseRow, reasons: Sequence[str | None]) -> None:
    """A release is yanked if it has files and all of them are; it takes the first one's reason."""
    files = iter(zip(row.yanked, reasons, strict=True))
    for place, count in enumerate(row.release_files):
        mine = list(islice(files, count))
        if mine and all(yanked for yanked, _ in mine):
            row.release_yanked[place] = True
            row.release_yanked_reason[place] = next((why for _, why in mine if why), None)


def _serial(value: int) -> int | None:
    return value if 0 <= value <= SERIAL_MAX else None
