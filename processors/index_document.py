"""The JSON API's document, built without it: from an index page and core metadata. Pure.

`build` makes a whole document where the JSON API has none, `complete` adds `releases` to one that
came without. Both give JSON bytes that `trim` takes like any other body. What neither source tells
is absent, never made up (docs/second-source.md lists it). What a file's metadata leaves out is
null, as in the JSON API's own documents.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from processors import hostile, index_files
from processors.core_metadata import Fields, parse_core_metadata
from processors.index_page import IndexFile, IndexPage
from processors.versions import version_key
from schemas.errors import MalformedMetadata
from schemas.names import NormalizedName

_encode = msgspec.json.Encoder(order="sorted").encode
_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode

TEXTS = (
    "author", "author_email", "description_content_type", "download_url", "home_page", "license",
    "license_expression", "maintainer", "maintainer_email", "requires_python", "summary",
)  # fmt: skip
"""Keys of `info` that are one text, under the same name in core metadata."""
LISTS = ("dynamic", "license_files", "provides_extra", "requires_dist")
"""The same for lists, null if there is none."""

Release = dict[str, object]

_FOLDED = re.compile(r"\r?\n(?: {8}| {7}\|)")
"""How the lines of a text are joined in a header: eight blanks, or seven and a bar."""


class Built(NamedTuple):
    """A document as JSON, and slugs of what is odd about it."""

    body: bytes
    anomalies: tuple[str, ...]


class Latest(NamedTuple):
    """The release that `info` describes, the file whose metadata tells about it, and all releases.

    `unplaced`: how many files of the page are under no version.
    """

    version: str
    described_by: IndexFile | None
    releases: Mapping[str, list[dict[str, object]]]
    unplaced: int


def latest_of(page: IndexPage, name: NormalizedName) -> Latest:
    """The newest release by PyPI's own rule.

    Not yanked comes first, then what is no pre-release, then the order of versions.
    Raises MalformedMetadata for a page of which no file has a version.
    """
    releases, unplaced = index_files.placed(page, name)
    if not releases:
        raise MalformedMetadata(f"no version on the page of {name}", reason="index-without-version")
    version = max(releases, key=lambda each: _rank(each, releases[each]))
    described = {file["filename"] for file in releases[version]}
    with_metadata = [
        file
        for file in page.files
        if file.filename in described and file.metadata not in (None, False)
    ]
    wheels = [file for file in with_metadata if file.filename.endswith(".whl")]
    return Latest(version, next(iter(wheels or with_metadata), None), releases, unplaced)


def build(
    page: IndexPage, latest: Latest, name: NormalizedName, display_name: str, site: str,
    metadata: bytes | None,
) -> Built:  # fmt: skip
    """Make the document of `page`. `latest` is `latest_of` it, `metadata` that of its file.

    `display_name` is the name as the journal spells it ("" = unknown: the metadata's spelling
    counts, else the page's). `site` is the index's address without a path.
    """
    releases = latest.releases
    anomalies = ["file-without-version"] if latest.unplaced else []
    fields: Fields = {}
    if metadata is not None:
        fields, oddity = _fields(metadata, name, latest)
        anomalies += [oddity] if oddity else []
    files = releases[latest.version]
    spelled = display_name or str(fields.get("name", "")) or page.name
    info = {**_described(fields), **_placed_info(spelled, name, latest.version, site)}
    if "requires_python" not in info:
        info["requires_python"] = next(
            (file["requires_python"] for file in files if file["requires_python"]), None
        )
    info["yanked"] = index_files.is_yanked(files)
    reasons = [file["yanked_reason"] for file in files if file["yanked_reason"]]
    info["yanked_reason"] = reasons[0] if info["yanked"] and reasons else None
    document: dict[str, object] = {"info": info, "releases": releases, "urls": files}
    if page.meta.serial is not None:
        document["last_serial"] = page.serial
    return Built(_encode(document), tuple(anomalies))


def complete(body: bytes, page: IndexPage, name: NormalizedName) -> Built:
    """Add the releases of `page` to `body`, which lacks them; those that it has are kept.

    `urls` are the files of `info.version`, with all the keys that a page lacks.
    Raises MalformedMetadata or what a JSON decoder raises for a body that is no document.
    """
    try:
        top = _decode_raw(body)
        info = _decode_raw(top["info"])
        version = _decode_text(info["version"]) if "version" in info else None
    except KeyError as error:
        raise hostile.not_a_project("no key info") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise hostile.malformed(body, error) from error
    releases, unplaced = index_files.placed(page, name)
    merged: dict[str, object] = dict(releases)
    if version is not None and "urls" in top:
        merged[_same(version, releases) or version] = top["urls"]
    top["releases"] = msgspec.Raw(_encode(merged))
    anomalies = ("file-without-version",) if unplaced else ()
    return Built(msgspec.json.encode(top), anomalies)


def _same(version: str, releases: Mapping[str, object]) -> str | None:
    """The key of `releases` that means `version`; it may be spelled differently there."""
    if version in releases:
        return version
    key = version_key(version)
    return next((each for each in releases if version_key(each) == key), None)


def _rank(version: str, files: Sequence[Mapping[str, object]]) -> tuple[bool, bool, Any]:
    try:
        final = not Version(version).is_prerelease
    except (InvalidVersion, ValueError, RecursionError):
        final = False
    return (not index_files.is_yanked(files), final, version_key(version))


def _fields(metadata: bytes, name: NormalizedName, latest: Latest) -> tuple[Fields, str]:
    """The fields of the metadata; or none and an anomaly, if it describes something else."""
    promised = latest.described_by.metadata if latest.described_by is not None else False
    sha256 = promised.get("sha256") if isinstance(promised, dict) else None
    if sha256 is not None and hashlib.sha256(metadata).hexdigest() != sha256.lower():
        return {}, "core-metadata-of-another"
    try:
        fields = parse_core_metadata(metadata)
    except MalformedMetadata:
        return {}, "core-metadata-unreadable"
    own = canonicalize_name(str(fields["name"]))
    if str(own) != str(name) or version_key(str(fields["version"]).strip()) != version_key(
        latest.version
    ):
        return {}, "core-metadata-of-another"
    return fields, ""


def _described(fields: Fields) -> dict[str, object]:
    """What core metadata says, in the keys of the JSON API; nothing if there is none."""
    if not fields:
        return {}
    info: dict[str, object] = {key: fields.get(key) for key in TEXTS}
    licence = info["license"]
    if isinstance(licence, str):
        info["license"] = _FOLDED.sub("\n", licence)
    info |= {key: fields.get(key) or None for key in LISTS}
    keywords, platforms = fields.get("keywords"), fields.get("platforms")
    info["keywords"] = ",".join(keywords) if isinstance(keywords, list) else None
    info["platform"] = ",".join(platforms) if isinstance(platforms, list) else None
    info["classifiers"] = fields.get("classifiers") or []
    info["project_urls"] = fields.get("project_urls") or None
    return info


def _placed_info(spelled: str, name: NormalizedName, version: str, site: str) -> dict[str, object]:
    """Name, version, and the addresses that follow from them."""
    address = f"{site}/project/{name}/"
    return {
        "name": spelled,
        "package_url": address,
        "project_url": address,
        "release_url": f"{address}{version}/",
        "version": version,
    }
