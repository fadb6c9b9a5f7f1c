"""Trims a project document: body in, latest metadata and the slim form of all releases out.

`metadata` is PyPI's document without `info.description` and without the releases ordered below
the latest, otherwise equal as JSON values. The rule, in full:

- The latest is `info.version`. A release stays if `version_key` of its text is not below that of
  the latest: equal ones stay (`1.0` beside `1.0.0`), and so do pre-releases and yanked releases
  above it. Nothing depends on the latest being among the keys.
- A text that is no PEP 440 version sorts below all that are, two such texts by code point; so if
  the latest is none itself, every real version stays.
- Without a text `info.version` nothing is known to be below the latest: all releases stay.
- Keys we do not know stay, `urls`, `vulnerabilities` and `ownership` too. A document may lack
  `releases` (announced as going away); then the slim form has none, and `lacks_releases` says so:
  nobody may take that for a project without releases (`processors.second_source`).

Which bodies are refused is decided in `processors.hostile`. Two paths lead to the same values: the
strict types of `processors.shapes` take every document that PyPI is known to serve; the general
path takes all others and keeps what it does not know as raw JSON, at half the speed of the standard
library. So a key that PyPI adds should be added to the types.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET, Raw

from processors import hostile, slim
from processors.shapes import Document, File, Published
from processors.versions import ascending, is_version, not_below
from schemas.errors import ForeignMetadata, InvalidName, OversizedBody
from schemas.names import NormalizedName, normalize
from schemas.redaction import ANOMALY, redacted
from schemas.topics import VALUE_BYTES_MAX

HASH_CHARACTERS = 32  # 128 bits of SHA-256: no two bodies of one project collide by accident
RELEASES_MAX = 50_000  # these four are flags, not limits: upstream's largest is 1 649
FILES_MAX = 200_000  # sixty times the largest known project
REQUIRES_DIST_MAX = 1_000  # seven times the most known
CLASSIFIERS_MAX = 500  # no project needs so many

_decode = msgspec.json.Decoder(Document).decode
_decode_files = msgspec.json.Decoder(list[File]).decode
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_raw = msgspec.json.Decoder(Raw).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="deterministic").encode
_NULL = b"null"
_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class Trimmed(NamedTuple):
    """What one body becomes.

    `metadata`, `releases`  compact JSON, each at most VALUE_BYTES_MAX; `releases` is empty if it
        was not asked for
    `releases_omitted`      how many of the lowest releases did not fit `releases`
    `hash`                  of the canonical form of both, hex; neither key order, white space, the
        way of escaping nor `last_serial` changes it
    `serial`                the body's, else the header's, else 0
    `own_serial`            whether it is the body's
    `display_name`, `version`  `info.name`, `info.version` (None if it is no text)
    `anomalies`             sorted slugs of what is odd and was kept all the same
    `lacks_releases`        the document says nothing of its releases, or that there are none and
        has files in `urls`
    """

    metadata: bytes
    releases: bytes
    releases_omitted: int
    hash: str
    serial: int
    display_name: str
    version: str | None
    anomalies: tuple[str, ...]
    own_serial: bool = True
    lacks_releases: bool = False


class _Parts(NamedTuple):
    """The parts of a document. `canonical` is the metadata without `last_serial`, keys sorted."""

    metadata: bytes
    canonical: bytes
    releases: dict[str, Raw]  # ascending
    last_serial: object
    display_name: str
    version: str | None
    anomalies: set[str]
    lacks_releases: bool


def trim(
    body: bytes,
    asked: NormalizedName,
    *,
    header_serial: int | None = None,
    all_releases: bool = True,
    left_out: frozenset[str] = frozenset(),
) -> Trimmed:
    """Pure. `body` is the decoded answer of the project route, `header_serial` X-PyPI-Last-Serial.

    `left_out`: fields that become null in the result; the hash is that of a document without them.

    Raises MalformedMetadata (`reason` says why), OversizedBody (the trimmed document does not fit a
    record), ForeignMetadata (`info.name` is not `asked`).
    """
    hostile.refuse_bulk(body)
    try:
        parts = _known(body, asked)
        if parts is None:
            parts = _general(body, asked)
        if left_out:
            parts = _without(parts, left_out)
        if len(parts.metadata) > VALUE_BYTES_MAX:
            raise OversizedBody(
                f"{asked}: trimmed {len(parts.metadata)} bytes; at most {VALUE_BYTES_MAX} fit",
                bytes_seen=len(body),
            )
        return _finish(parts, asked, header_serial, all_releases=all_releases)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise hostile.malformed(body, error) from error


def _without(parts: _Parts, fields: frozenset[str]) -> _Parts:
    metadata = redacted(parts.metadata, fields)
    if metadata is parts.metadata:
        return parts
    return parts._replace(
        metadata=metadata,
        canonical=redacted(parts.canonical, fields),
        anomalies=parts.anomalies | {ANOMALY},
    )


def _finish(
    parts: _Parts, asked: NormalizedName, header_serial: int | None, *, all_releases: bool
) -> Trimmed:
    anomalies = parts.anomalies
    serial = _serial(parts.last_serial, header_serial, anomalies)
    digest = hashlib.sha256(parts.canonical, usedforsecurity=False)
    value, omitted = b"", 0
    if all_releases:
        releases = slim.read(parts.releases, anomalies)
        if sum(map(len, releases.values())) > FILES_MAX:
            anomalies.add("files-over-limit")
        head = slim.Head(asked, parts.display_name, serial, parts.version)
        value, omitted = slim.encode(releases, head, VALUE_BYTES_MAX)
        digest.update(b"\n")
        digest.update(slim.releases_of(value))
        anomalies |= hostile.control_anomalies(value)
    if omitted:
        anomalies.add("releases-omitted")
    anomalies |= hostile.control_anomalies(parts.metadata)
    if hostile.long_strings(parts.metadata):
        anomalies.add("strings-over-limit")
    return Trimmed(
        metadata=parts.metadata,
        releases=value,
        releases_omitted=omitted,
        hash=digest.hexdigest()[:HASH_CHARACTERS],
        serial=serial,
        display_name=parts.display_name,
        version=parts.version,
        anomalies=tuple(sorted(anomalies)),
        own_serial=type(parts.last_serial) is int and parts.last_serial == serial,
        lacks_releases=parts.lacks_releases,
    )


def _known(body: bytes, asked: NormalizedName) -> _Parts | None:
    """Take apart a document of a known shape; None if it has another."""
    try:
        document = _decode(body)
    except msgspec.ValidationError:
        return None
    info = document.info
    if info.description is not UNSET:
        if memoryview(info.description)[0] not in b'"n':  # no text or null: maybe nested
            return None
        info.description = UNSET
    if not body.isascii():
        hostile.check_utf8(body)
    _check_name(info.name, asked)
    anomalies: set[str] = set()
    releases = {} if document.releases is UNSET else document.releases
    hostile.refuse_many_releases(releases)
    versions = ascending(releases)
    try:
        kept = {
            version: _decode_files(releases[version]) for version in _kept(versions, info.version)
        }
    except msgspec.ValidationError:
        return None
    _note_versions(info.version, versions, anomalies)
    _note_counts(versions, len(info.requires_dist or ()), len(info.classifiers or ()), anomalies)
    front = b'{"info":%b' % _encode(info)
    rest = _encode(
        Published(
            ownership=document.ownership,
            releases=UNSET if document.releases is UNSET else kept,
            urls=document.urls,
            vulnerabilities=document.vulnerabilities,
        )
    )
    if rest == b"{}":  # only `info`: too rare for a rule on this path
        return None
    serial = document.last_serial
    given = b"" if serial is UNSET else b',"last_serial":%b' % _encode(serial)
    return _Parts(
        metadata=b"%b%b,%b" % (front, given, rest[1:]),
        canonical=b"%b,%b" % (front, rest[1:]),
        releases={version: releases[version] for version in versions},
        last_serial=serial,
        display_name=info.name,
        version=info.version,
        anomalies=anomalies,
        lacks_releases=document.releases is UNSET or not (releases or not document.urls),
    )


def _general(body: bytes, asked: NormalizedName) -> _Parts:
    """Take apart any other document; values of unknown shape stay raw JSON."""
    hostile.check_utf8(body)
    _decode_raw(body)  # first: is it JSON at all?
    anomalies = set(hostile.refuse_deep(body))
    top = _raw_object(body, "the body is no object")
    if "info" not in top:
        raise hostile.not_a_project("no key info")
    info = _raw_object(top["info"], "info is no object")
    name = _text(info.get("name"))
    if name is None:
        raise hostile.not_a_project("info.name is no text")
    _check_name(name, asked)
    info.pop("description", None)
    version = _text(info.get("version"))
    releases: dict[str, Raw] = {}
    versions: list[str] = []
    if "releases" in top:
        try:
            releases = _decode_object(top["releases"])
        except msgspec.ValidationError:
            anomalies.add("releases-not-an-object")
        else:
            hostile.refuse_many_releases(releases)
            versions = ascending(releases)
            kept = {key: releases[key] for key in _kept(versions, version)}
            top["releases"] = Raw(_encode_sorted(kept))
    # Neither an object nor null: that is an anomaly, not a sign that the key was taken away.
    given = bytes(top.get("releases", _NULL)).strip()
    has_urls = _length(_decode_any(top.get("urls", _NULL))) > 0
    lacks = given == _NULL or (given.startswith(b"{") and not releases and has_urls)
    top["info"] = Raw(_encode_sorted(info))
    metadata = msgspec.json.format(_encode_sorted(top), indent=-1)
    values = _decode_any(metadata)
    serial = values.pop("last_serial", UNSET)
    fields = values["info"]
    _note_versions(version, versions, anomalies)
    _note_counts(
        versions,
        _length(fields.get("requires_dist")),
        _length(fields.get("classifiers")),
        anomalies,
    )
    return _Parts(
        metadata=metadata,
        canonical=_encode_sorted(values),
        releases={version: releases[version] for version in versions},
        last_serial=serial,
        display_name=name,
        version=version,
        anomalies=anomalies,
        lacks_releases=lacks,
    )


def _check_name(display_name: str, asked: NormalizedName) -> None:
    """Raise ForeignMetadata unless the names agree.

    A name that PEP 508 does not allow never does.
    """
    try:
        got = normalize(display_name)
    except InvalidName:
        got = None
    if got != asked:
        shown = display_name[: hostile.EXCERPT_CHARACTERS]
        raise ForeignMetadata(f"asked for {asked}, got {shown!r}", asked=asked, got=shown)


def _serial(given: object, header_serial: int | None, anomalies: set[str]) -> int:
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= hostile.INT_MAX:
        return given
    if given is not UNSET:
        anomalies.add("serial-not-usable")
    return header_serial or 0


def _kept(ordered: Sequence[str], latest: str | None) -> Sequence[str]:
    """The rule at the top of this module."""
    return ordered if latest is None else not_below(ordered, latest)


def _note_versions(latest: str | None, versions: Sequence[str], anomalies: set[str]) -> None:
    if versions and not is_version(versions[0]):  # ascending: texts that are no versions come first
        anomalies.add("version-not-pep440")
    if latest is None:
        anomalies.add("no-version")
        return
    if not is_version(latest):
        anomalies.add("version-not-pep440")
    if latest not in versions:
        anomalies.add("latest-not-among-releases")


def _note_counts(
    versions: Sequence[str], requires_dist: int, classifiers: int, anomalies: set[str]
) -> None:
    for count, most, slug in (
        (len(versions), RELEASES_MAX, "releases-over-limit"),
        (requires_dist, REQUIRES_DIST_MAX, "requires-dist-over-limit"),
        (classifiers, CLASSIFIERS_MAX, "classifiers-over-limit"),
    ):
        if count > most:
            anomalies.add(slug)


def _raw_object(raw: bytes | Raw, otherwise: str) -> dict[str, Raw]:
    try:
        return _decode_object(raw)
    except msgspec.ValidationError as error:
        raise hostile.not_a_project(otherwise) from error


def _text(raw: Raw | None) -> str | None:
    if raw is None:
        return None
    try:
        return _decode_text(raw)
    except msgspec.ValidationError:
        return None


def _length(value: object) -> int:
    return len(value) if isinstance(value, list) else 0
