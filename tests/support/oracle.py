"""What `trim` promises, said a second time with the stdlib's json and packaging alone.

Imports nothing of the project, and is written for being read, not for speed.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

from packaging.version import InvalidVersion, Version

CHARACTERS_MAX = 200
SIZE_MAX = 2**63 - 1
SLIM_KEYS = (
    "filename",
    "packagetype",
    "requires_python",
    "size",
    "upload_time_iso_8601",
    "url",
    "yanked",
    "yanked_reason",
)


def parsed(text: str) -> Version | None:
    """The PEP 440 version that `text` is, or None."""
    if len(text) > CHARACTERS_MAX:
        return None
    try:
        return Version(text)
    except (InvalidVersion, ValueError, RecursionError):
        return None


def compare(left: str, right: str) -> int:
    """-1, 0, 1: PEP 440; what is none is below all that are, and by code point among its like."""
    a, b = parsed(left), parsed(right)
    if a is not None and b is not None:
        return (a > b) - (a < b)
    if a is None and b is None:
        return (left > right) - (left < right)
    return -1 if a is None else 1


def ascending(versions: list[str]) -> list[str]:
    """Lowest first, equal ones by code point."""
    return sorted(sorted(versions), key=functools.cmp_to_key(compare))


def oracle_trim(document: dict[str, Any]) -> dict[str, Any]:
    """The document that must be in `metadata`, for one that `json.loads` gave."""
    trimmed = copy.deepcopy(document)
    trimmed["info"].pop("description", None)
    latest = trimmed["info"].get("version")
    releases = trimmed.get("releases")
    if isinstance(releases, dict) and isinstance(latest, str):
        trimmed["releases"] = {
            version: files for version, files in releases.items() if compare(version, latest) >= 0
        }
    return trimmed


def oracle_slim(document: dict[str, Any], name: str, serial: int) -> dict[str, Any]:
    """The value that must be in `releases`, for a document whose files are objects.

    A file that does not say its name is nobody's and left out.
    """
    releases = document.get("releases")
    releases = releases if isinstance(releases, dict) else {}
    latest = document["info"].get("version")
    return {
        "name": name,
        "display_name": document["info"]["name"],
        "serial": serial,
        "latest": latest if isinstance(latest, str) else None,
        "releases": {
            version: [slim_file(file) for file in releases[version] if "filename" in file]
            for version in ascending(list(releases))
        },
    }


def slim_file(file: dict[str, Any]) -> dict[str, Any]:
    """A file object of right types, of any year, in the slim form."""
    slim = {key: file[key] for key in SLIM_KEYS if key in file}
    if isinstance(slim.get("size"), int) and not 0 <= slim["size"] <= SIZE_MAX:
        slim["size"] = None
    given = file.get("digests")
    if given is not None:
        better = {key: given[key] for key in ("blake2b_256", "sha256") if key in given}
        slim["digests"] = better or {key: given[key] for key in ("md5",) if key in given}
    elif file.get("md5_digest"):
        slim["digests"] = {"md5": file["md5_digest"]}
    if "upload_time_iso_8601" not in file and file.get("upload_time"):
        slim["upload_time_iso_8601"] = file["upload_time"].removesuffix("Z") + "Z"
    pointer = file.get("core-metadata")
    if isinstance(pointer, bool):
        slim["core-metadata"] = pointer
    elif isinstance(pointer, dict):
        slim["core-metadata"] = {key: pointer[key] for key in ("sha256",) if key in pointer}
    return slim
