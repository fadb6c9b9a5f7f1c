"""What of a JSON document can be had from the index, written down independently of the program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from packaging.version import InvalidVersion, Version

NOTHING: tuple[object, ...] = (None, "", "UNKNOWN", [], {}, ["UNKNOWN"])
FILE_KEYS = (
    "filename", "packagetype", "requires_python", "size", "upload_time_iso_8601", "url", "yanked",
    "yanked_reason", "core-metadata",
)  # fmt: skip
INFO_KEYS = (
    "author", "author_email", "classifiers", "description_content_type", "download_url", "dynamic",
    "home_page", "license_expression", "license_files", "maintainer", "maintainer_email", "name",
    "platform", "project_urls", "provides_extra", "requires_dist", "requires_python", "summary",
    "version", "yanked", "yanked_reason",
)  # fmt: skip
LOST_OF_FILES = frozenset({"comment_text", "has_sig", "md5_digest", "path", "digests.md5"})
"""Keys of a JSON file object that no index page has."""


def files_of(document: Mapping[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """By file name: the version it is under, and the keys that can be had; nothing is null."""
    return {
        file["filename"]: (version, _plain({key: file.get(key) for key in FILE_KEYS}))
        for version, files in document["releases"].items()
        for file in files
    }


def info_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of `info` that can be had where the latest release has core metadata."""
    return _plain({key: document["info"].get(key) for key in INFO_KEYS})


def latest_with_files(document: Mapping[str, Any]) -> str:
    """The latest release that has a file, by PyPI's rule."""

    def key(version: str) -> tuple[bool, bool, bool, Any]:
        yanked = all(file.get("yanked", False) for file in document["releases"][version])
        try:
            parsed = Version(version)
        except InvalidVersion:
            return (not yanked, False, False, version)
        return (not yanked, not parsed.is_prerelease, True, parsed)

    releases: dict[str, list[Any]] = document["releases"]
    return max((version for version, files in releases.items() if files), key=key)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: None if value in NOTHING else value for key, value in values.items()}
