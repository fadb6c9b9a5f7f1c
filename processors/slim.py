"""The slim form: every release of a project, each file without what nobody resolves by.

Left out of PyPI's file object: comment_text, downloads, has_sig, md5_digest, path, python_version,
upload_time, and any key we do not know. Brought to today's spelling (the old index, before 2018,
had others): `md5_digest` becomes `digests.md5` where there is no better digest, `upload_time`
(UTC without saying so) becomes `upload_time_iso_8601`. A value of the wrong type is left out, a
size that does not fit 63 bits becomes null, an entry that is no object or names no file is
dropped; each leaves an anomaly. Types: `schemas.releases`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from processors.shapes import Digests, File, FileOpen

_encode = msgspec.json.Encoder().encode
_decode_files = msgspec.json.Decoder(list[FileOpen]).decode
_decode_entries = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_FIELDS = {
    field.encode_name: (field.name, msgspec.json.Decoder(field.type).decode)
    for field in msgspec.structs.fields(FileOpen)
}


class SlimHead(NamedTuple):
    """What stands before the releases."""

    name: str
    display_name: str
    serial: int
    latest: str | None


class SlimBody(NamedTuple):
    """The encoded object of releases, and how many of the lowest did not fit."""

    releases: bytes
    omitted: int


def strip(releases: Iterable[list[File]]) -> None:
    """Bring file objects to the slim form, in place: they must have been written out before."""
    for files in releases:
        for file in files:
            digests = file.digests
            if digests is UNSET:
                if file.md5_digest:
                    file.digests = Digests(md5=file.md5_digest)
            elif digests.sha256 or digests.blake2b_256:
                digests.md5 = UNSET
            if file.upload_time_iso_8601 is UNSET and file.upload_time:
                file.upload_time_iso_8601 = f"{file.upload_time.removesuffix('Z')}Z"
            file.comment_text = file.downloads = file.has_sig = UNSET
            file.md5_digest = file.path = file.python_version = file.upload_time = UNSET


def encode_releases(releases: dict[str, list[File]], head: SlimHead, bytes_max: int) -> SlimBody:
    """Write stripped releases, given in ascending order; drops the lowest until all fits."""
    room = bytes_max - len(join(head, b""))
    body = _encode(releases)
    if len(body) <= room:
        return SlimBody(body, 0)
    used = len(b"{}")
    kept: list[str] = []
    for version in reversed(releases):
        used += len(_encode({version: releases[version]})) - len(b"{}") + len(b",")
        if used > room:
            break
        kept.append(version)
    body = _encode({version: releases[version] for version in reversed(kept)})
    return SlimBody(body, len(releases) - len(kept))


def join(head: SlimHead, releases: bytes) -> bytes:
    """The record's value."""
    return b'{"name":%b,"display_name":%b,"serial":%d,"latest":%b,"releases":%b}' % (
        _encode(head.name),
        _encode(head.display_name),
        head.serial,
        _encode(head.latest),
        releases,
    )


def salvage(files: msgspec.Raw, anomalies: set[str]) -> list[File]:
    """The files of one release of unknown shape; what cannot be used is noted in `anomalies`."""
    try:
        return list(_decode_files(files))
    except msgspec.ValidationError:
        pass
    try:
        entries = _decode_entries(files)
    except msgspec.ValidationError:
        anomalies.add("release-not-a-list")
        return []
    found = (_salvage_file(entry, anomalies) for entry in entries)
    return [file for file in found if file is not None]


def _salvage_file(entry: msgspec.Raw, anomalies: set[str]) -> File | None:
    try:
        given = _decode_object(entry)
    except msgspec.ValidationError:
        anomalies.add("file-not-an-object")
        return None
    values: dict[str, object] = {}
    for key, (field, decode) in _FIELDS.items():
        raw = given.get(key)
        if raw is None:
            continue
        try:
            values[field] = decode(raw)
        except msgspec.ValidationError:
            anomalies.add("file-value-of-wrong-type")
            if field == "size":
                values[field] = None
    if "filename" not in values:
        anomalies.add("file-without-filename")
        return None
    return File(**values)  # type: ignore[arg-type]  # each was decoded by its own field's type
