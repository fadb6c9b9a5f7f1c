"""Core metadata of the latest release (PEP 658), written from what the document says of it.

Only `info` describes a release, and it describes the latest one; the wheels of older releases have
the short metadata of `packages`. So a release that is not the latest any more has another metadata
file than before: here hashes follow, which with the real index never change.
"""

from __future__ import annotations

import hashlib
from typing import Any

from upstream.standin.packages import INSTALLABLE_NAMES, core_metadata, metadata_sha256
from upstream.standin.vocabulary import normalized

_TEXTS = {
    "summary": "Summary", "home_page": "Home-page", "download_url": "Download-URL",
    "author": "Author", "author_email": "Author-email", "maintainer": "Maintainer",
    "maintainer_email": "Maintainer-email", "license": "License",
    "license_expression": "License-Expression", "keywords": "Keywords", "platform": "Platform",
    "requires_python": "Requires-Python", "description_content_type": "Description-Content-Type",
}  # fmt: skip
_LISTS = {
    "classifiers": "Classifier", "requires_dist": "Requires-Dist",
    "provides_extra": "Provides-Extra", "license_files": "License-File", "dynamic": "Dynamic",
}  # fmt: skip
_FOLD = "\n        "


def describe(document: dict[str, Any]) -> dict[str, Any]:
    """Give every file that has metadata the hash of it; changes the document in place."""
    info = document["info"]
    name = normalized(info["name"])
    if name in INSTALLABLE_NAMES:
        return document
    latest = None
    for version, files in document["releases"].items():
        for file in files:
            if not isinstance(file.get("core-metadata"), dict):
                continue
            if version != info["version"]:
                digest = metadata_sha256(name, version, file.get("requires_python"))
            else:
                latest = latest or hashlib.sha256(description(document)).hexdigest()
                digest = latest
            file["core-metadata"] = {"sha256": digest}
    return document


def metadata_of(document: dict[str, Any], version: str, file: dict[str, Any]) -> bytes:
    """The metadata file of one file of the document."""
    name = normalized(document["info"]["name"])
    if version == document["info"]["version"] and name not in INSTALLABLE_NAMES:
        return description(document)
    return core_metadata(name, version, file.get("requires_python"))


def description(document: dict[str, Any]) -> bytes:
    """`info` as core metadata, the long description behind the headers."""
    info = document["info"]
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {info['name']}",
        "Version: " + " ".join(str(info["version"]).split()),
    ]
    for key, header in _TEXTS.items():
        if value := info.get(key):
            lines.append(f"{header}: {_FOLD.join(str(value).splitlines())}")
    for key, header in _LISTS.items():
        lines.extend(f"{header}: {' '.join(str(each).split())}" for each in info.get(key) or ())
    for label, url in (info.get("project_urls") or {}).items():
        lines.append(f"Project-URL: {label}, {url}")
    text = "\n".join(lines) + "\n\n" + str(info.get("description") or "")
    return text.encode("utf-8", "replace")
