"""Files of an index page in the shape of the JSON API, each under its version. Pure.

A page lists versions and files and does not say which file belongs to which version; only a file's
name tells. It is held against the versions that the page lists, the longest that fits first, so
that texts which are no PEP 440 versions find their files, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)

from processors.index_page import IndexFile, IndexPage
from processors.versions import VERSION_CHARACTERS_MAX, version_key
from schemas.names import NormalizedName

FILENAME_CHARACTERS_MAX = 400  # the longest known has 180; a longer one is under no version
CUTS_MAX = 16  # places in a name where a version may end; platforms have up to eight
CUTS_PARSED_MAX = 8  # the same where each has to be parsed, which takes twenty times as long

WHEEL = "bdist_wheel"
_TYPES = {
    ".whl": WHEEL,
    ".egg": "bdist_egg",
    ".exe": "bdist_wininst",
    ".msi": "bdist_msi",
    ".rpm": "bdist_rpm",
    ".dmg": "bdist_dmg",
}
_ARCHIVES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tar.Z", ".tgz", ".tbz", ".tar", ".zip", ".deb")
_PYTHON = re.compile(r"-py(\d+(?:\.\d+)?)(?=$|[-.])")
_BLAKE2B = re.compile(r"/packages/([0-9a-f]{2})/([0-9a-f]{2})/([0-9a-f]{60})/[^/]+")
_JOINTS = re.compile(r"[-_.+\s]+")
_CUTS = re.compile(r"[-.]")


class Placed(NamedTuple):
    """Files of the JSON API's shape by version, and how many were under none."""

    releases: dict[str, list[dict[str, object]]]
    unplaced: int


class _Told(NamedTuple):
    """What a file's name tells."""

    version: str
    packagetype: str
    python_version: str


def placed(page: IndexPage, name: NormalizedName) -> Placed:
    """Every version of the page with its files, in the page's order."""
    known = _Versions(page.versions)
    releases: dict[str, list[dict[str, object]]] = {version: [] for version in page.versions}
    unplaced = 0
    for file in page.files:
        told = _told(file.filename, name, known)
        if told is None:
            unplaced += 1
        else:
            releases.setdefault(told.version, []).append(_json_file(file, told))
    return Placed(releases, unplaced)


class _Versions:
    """The page's versions, to be found by how a file name may spell them."""

    def __init__(self, versions: Iterable[str]) -> None:
        self._exact: dict[str, str] = {}
        self._by_key: dict[object, str] = {}
        self._joined: dict[str, str] = {}
        for version in versions:
            self._exact.setdefault(version.lower(), version)
            self._by_key.setdefault(version_key(version), version)
            self._joined.setdefault(_joined(version), version)

    def find(self, text: str) -> str | None:
        """The listed version that `text` spells: to the letter, nearly, or as PEP 440 has it.

        Nearly: what a file name may not hold (blanks, `+`, `-`) was replaced in it.
        """
        found = self.spelled(text)
        return self.meant(text) if found is None else found

    def spelled(self, text: str) -> str | None:
        """The same, without what only PEP 440 knows to be equal."""
        found = self._exact.get(text.lower())
        return self._joined.get(_joined(text)) if found is None else found

    def meant(self, text: str) -> str | None:
        """The listed version that is equal under PEP 440."""
        return None if len(text) > VERSION_CHARACTERS_MAX else self._by_key.get(version_key(text))


def _joined(version: str) -> str:
    return _JOINTS.sub("-", version.lower())


def _told(filename: str, name: NormalizedName, known: _Versions) -> _Told | None:
    if len(filename) > FILENAME_CHARACTERS_MAX:
        return None
    dot = filename.rfind(".")
    packagetype = _TYPES.get(filename[dot:].lower() if dot > 0 else "")
    if packagetype == WHEEL:
        return _of_wheel(filename, known)
    if packagetype is not None:
        stem = filename[:dot]
    else:
        ending = next((ending for ending in _ARCHIVES if filename.endswith(ending)), None)
        if ending is None:
            return None
        stem = filename[: -len(ending)]
    rest = _behind_name(stem, name)
    if rest is None:
        return None
    found = _longest(rest, known)
    if found is None:
        return _of_sdist(filename) if packagetype is None else None
    version, behind = found
    if packagetype is None:
        # Something behind the version is a platform: not a source, a "dumb" binary.
        packagetype = "bdist_dumb" if behind else "sdist"
    if packagetype == "sdist":
        return _Told(version, packagetype, "source")
    python = _PYTHON.search(behind)
    return _Told(version, packagetype, python.group(1) if python else "any")


def _of_wheel(filename: str, known: _Versions) -> _Told | None:
    parts = filename.removesuffix(".whl").split("-")
    if len(parts) not in (5, 6):
        return None
    version = known.find(parts[1])
    if version is None:
        try:
            version = str(parse_wheel_filename(filename)[1])
        except (InvalidWheelFilename, ValueError):
            return None
    return _Told(version, WHEEL, parts[-3])


def _of_sdist(filename: str) -> _Told | None:
    try:
        return _Told(str(parse_sdist_filename(filename)[1]), "sdist", "source")
    except (InvalidSdistFilename, ValueError):
        return None


def _behind_name(stem: str, name: NormalizedName) -> str | None:
    """What follows the project's name, however that is spelled; None if it is another name."""
    pattern = r"[-_.]+".join(map(re.escape, name.split("-")))
    match = re.match(rf"{pattern}-", stem, re.IGNORECASE)
    return stem[match.end() :] if match else None


def _longest(rest: str, known: _Versions) -> tuple[str, str] | None:
    """The longest beginning of `rest` that is a listed version, and what is behind it."""
    ends = [len(rest), *(match.start() for match in reversed([*_CUTS.finditer(rest)]))]
    for find, most in ((known.spelled, CUTS_MAX), (known.meant, CUTS_PARSED_MAX)):
        for end in ends[:most]:
            version = find(rest[:end])
            if version is not None:
                return version, rest[end:]
    return None


def _json_file(file: IndexFile, told: _Told) -> dict[str, object]:
    """The JSON API's file object, as far as a page tells it; keys that it cannot tell are absent.

    `downloads` has been -1 in every document since 2018.
    """
    yanked, reason = bool(file.yanked), file.yanked
    if file.yanked == "":  # PEP 592: an empty reason is a reason
        yanked = True
    digests = {
        key: value for key, value in file.hashes.items() if key in ("md5", "sha256", "blake2b_256")
    }
    if "blake2b_256" not in digests and (blake2b := _blake2b(file.url)):
        digests["blake2b_256"] = blake2b
    found: dict[str, object] = {
        "digests": dict(sorted(digests.items())),
        "downloads": -1,
        "filename": file.filename,
        "packagetype": told.packagetype,
        "python_version": told.python_version,
        "requires_python": file.requires_python,
        "size": file.size,
        "url": file.url,
        "yanked": yanked,
        "yanked_reason": reason if isinstance(reason, str) and reason else None,
    }
    metadata = file.metadata
    if metadata is not None:
        found["core-metadata"] = _hashes(metadata) if isinstance(metadata, dict) else metadata
    if file.gpg_sig is not None:
        found["has_sig"] = file.gpg_sig
    if "md5" in digests:
        found["md5_digest"] = digests["md5"]
    if file.upload_time is not None:
        found["upload_time"] = file.upload_time.partition(".")[0].removesuffix("Z")
        found["upload_time_iso_8601"] = file.upload_time
    return found


def _hashes(given: Mapping[str, str]) -> dict[str, str]:
    return {"sha256": given["sha256"]} if "sha256" in given else {}


def _blake2b(url: str) -> str | None:
    """PyPI's files lie under their BLAKE2b digest, which stands in no other place of the page."""
    try:
        match = _BLAKE2B.fullmatch(urlsplit(url).path)
    except ValueError:
        return None
    return "".join(match.groups()) if match else None


def is_yanked(files: Sequence[Mapping[str, object]]) -> bool:
    """A release counts as yanked when it has files and all of them are."""
    return bool(files) and all(file["yanked"] for file in files)
