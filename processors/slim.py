"""The slim form: every release of a project, each file with what resolvers and mirrors need.

Left out of PyPI's file object: comment_text, downloads, has_sig, md5_digest, path, python_version,
upload_time, and any key we do not know. Brought to today's spelling (the old index, before 2018,
had others): `md5_digest` becomes `digests.md5` where there is no better digest, `upload_time`
(UTC without saying so) becomes `upload_time_iso_8601`. A value of the wrong type is left out, a
size that does not fit 63 bits becomes null, an entry that is no object or names no file is
dropped; each leaves an anomaly. Types: `schemas.releases`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, islice
from typing import NamedTuple, TypeAlias

import msgspec
from msgspec import UNSET, Raw

from processors.shapes import Old, OldDigests, Slim

Releases: TypeAlias = Mapping[str, Sequence[Slim | Old]]

_encode = msgspec.json.Encoder().encode
_decode_today = msgspec.json.Decoder(list[list[Slim]]).decode
_decode_old = msgspec.json.Decoder(list[list[Old]]).decode
_decode_release = msgspec.json.Decoder(list[Old]).decode
_decode_entries = msgspec.json.Decoder(list[Raw]).decode
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_FIELDS = {
    field.encode_name: (field.name, msgspec.json.Decoder(field.type).decode)
    for field in msgspec.structs.fields(Old)
}


class Head(NamedTuple):
    """The keys before the releases."""

    name: str
    display_name: str
    serial: int
    latest: str | None


class Encoded(NamedTuple):
    """The record's value, and how many of the lowest releases did not fit."""

    value: bytes
    omitted: int


class _Value(msgspec.Struct):
    """`schemas.releases.SlimReleases`, written from the types that were read."""

    name: str
    display_name: str
    serial: int
    latest: str | None
    releases: Releases


def read(releases: dict[str, Raw], anomalies: set[str]) -> Releases:
    """The files of all releases, in the order given.

    What cannot be used is noted in `anomalies`.
    """
    # one call for all: most releases are small, and a call costs as much as decoding a file
    joined = b"[%b]" % b",".join(releases.values())
    try:
        return dict(zip(releases, _decode_today(joined), strict=True))
    except msgspec.ValidationError:
        pass
    try:
        old = _decode_old(joined)
    except msgspec.ValidationError:
        old = [_salvage(files, anomalies) for files in releases.values()]
    for files in old:
        _modernise(files)
    return dict(zip(releases, old, strict=True))


def _modernise(files: Iterable[Old]) -> None:
    for file in files:
        digests = file.digests
        if digests is UNSET:
            if file.md5_digest:
                file.digests = OldDigests(md5=file.md5_digest)
        elif digests.sha256 or digests.blake2b_256:
            digests.md5 = UNSET
        if file.upload_time_iso_8601 is UNSET and file.upload_time:
            file.upload_time_iso_8601 = f"{file.upload_time.removesuffix('Z')}Z"
        file.md5_digest = file.upload_time = UNSET


def encode(releases: Releases, head: Head, bytes_max: int) -> Encoded:
    """Write releases, given in ascending order; the lowest are dropped until the rest fits."""
    value = _encode(_Value(*head, releases))
    if len(value) <= bytes_max:
        return Encoded(value, 0)
    bare = len(_encode(_Value(*head, {}))) - len(b",")  # n releases have n - 1 commas
    lengths = [
        len(_encode({version: files})) - len(b"{}") + len(b",")
        for version, files in releases.items()
    ]
    kept = sum(bare + total <= bytes_max for total in accumulate(reversed(lengths)))
    omitted = len(releases) - kept
    fitting = dict(islice(releases.items(), omitted, None))
    return Encoded(_encode(_Value(*head, fitting)), omitted)


def releases_of(value: bytes) -> memoryview:
    """The part of `value` that holds the releases: the same whatever the serial."""
    # no string before it can contain this: its quotes would be escaped
    return memoryview(value)[value.index(b'"releases":{') :]


def _salvage(files: Raw, anomalies: set[str]) -> list[Old]:
    """One release of unknown shape."""
    try:
        return _decode_release(files)
    except msgspec.ValidationError:
        pass
    try:
        entries = _decode_entries(files)
    except msgspec.ValidationError:
        anomalies.add("release-not-a-list")
        return []
    found = (_salvage_file(entry, anomalies) for entry in entries)
    return [file for file in found if file is not None]


def _salvage_file(entry: Raw, anomalies: set[str]) -> Old | None:
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
    return Old(**values)  # type: ignore[arg-type]  # each was decoded by its own field's type
