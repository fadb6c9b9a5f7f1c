"""What the DuckDB file must show of a project, said a second time with the stdlib and packaging.

Takes the document as upstream has it, gives the rows of the public views as sorted lists of tuples.
Imports nothing of the project but the other oracle.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tests.support.oracle import oracle_slim

PROJECT_TEXTS = (
    "summary", "author", "author_email", "maintainer", "maintainer_email", "license",
    "license_expression", "home_page", "download_url", "docs_url", "requires_python", "keywords",
    "platform", "description_content_type", "yanked_reason",
)  # fmt: skip
PROJECT_COLUMNS = (
    "name", "display_name", "version", "serial", "yanked", "organization", "license_files",
    "provides_extra", "dynamic", "uploaded", "release_count", "file_count", "bytes",
    "first_uploaded", "last_uploaded", "dependency_count", *PROJECT_TEXTS,
)  # fmt: skip
QUERIES = {
    "projects": f"SELECT {', '.join(PROJECT_COLUMNS)} FROM projects",
    "releases": "SELECT name, ordinal, version, files, bytes, uploaded, yanked, yanked_reason,"
    " is_latest, serial FROM releases",
    "files": "SELECT name, version, filename, packagetype, size, sha256, blake2b, requires_python,"
    " yanked, yanked_reason, uploaded, url, core_metadata_sha256, is_latest FROM files",
    "dependencies": "SELECT name, requirement, dependency, specifier, marker, url"
    " FROM dependencies",
    "classifiers": "SELECT name, version, classifier FROM classifiers",
    "project_urls": "SELECT name, label, url FROM project_urls",
    "vulnerabilities": "SELECT name, id, link, aliases, summary, fixed_in, withdrawn"
    " FROM vulnerabilities",
    "roles": "SELECT name, role, user FROM roles",
}

Row = tuple[Any, ...]


def rows_of(document: dict[str, Any], name: str, serial: int) -> dict[str, list[Row]]:
    """Rows by view."""
    info = document["info"]
    version = info["version"]
    slim = oracle_slim(document, name, serial)["releases"]
    releases, files = [], []
    for ordinal, (release, its) in enumerate(slim.items(), 1):
        times = [moment(file.get("upload_time_iso_8601")) for file in its]
        yanked = bool(its) and all(file.get("yanked") for file in its)
        reasons = [file.get("yanked_reason") for file in its if file.get("yanked_reason")]
        releases.append(
            (name, ordinal, release, len(its), sum(file.get("size") or 0 for file in its),
             _least(times), yanked, reasons[0] if yanked and reasons else None,
             release == version, serial)
        )  # fmt: skip
        files += [_file(name, release, file, latest=release == version) for file in its]
    ownership = document.get("ownership") or {}
    return {
        "projects": [_project(document, name, serial, files)],
        "releases": releases,
        "files": files,
        "dependencies": [_dependency(name, text) for text in info.get("requires_dist") or []],
        "classifiers": [(name, version, each) for each in info.get("classifiers") or []],
        "project_urls": [
            (name, label, url)
            for label, url in (info.get("project_urls") or {}).items()
            if text_of(url) is not None
        ],
        "vulnerabilities": [
            (name, each["id"], each["link"], each["aliases"], text_of(each["summary"]),
             each["fixed_in"], moment(each["withdrawn"]))
            for each in document.get("vulnerabilities") or []
        ],
        "roles": [(name, each["role"], each["user"]) for each in ownership.get("roles") or []],
    }  # fmt: skip


def text_of(value: object) -> object:
    """A text that says something: upstream's older spellings of nothing are none."""
    return None if value in ("", "UNKNOWN") else value


def moment(text: str | None) -> datetime | None:
    """A moment, in UTC."""
    if text is None:
        return None
    return datetime.fromisoformat(text).astimezone(UTC)


def _least(times: list[datetime | None]) -> datetime | None:
    return min((each for each in times if each), default=None)


def _project(document: dict[str, Any], name: str, serial: int, files: list[Row]) -> Row:
    info = document["info"]
    times = [file[10] for file in files]
    latest = [moment(file.get("upload_time_iso_8601")) for file in document.get("urls") or []]
    values = {
        "name": name,
        "display_name": info["name"],
        "version": info["version"],
        "serial": serial,
        "yanked": info.get("yanked"),
        "organization": text_of((document.get("ownership") or {}).get("organization")),
        "license_files": info.get("license_files"),
        "provides_extra": info.get("provides_extra"),
        "dynamic": info.get("dynamic"),
        "uploaded": _least(latest),
        "release_count": len(document.get("releases") or {}),
        "file_count": len(files),
        "bytes": sum(file[4] or 0 for file in files),
        "first_uploaded": _least(times),
        "last_uploaded": max((each for each in times if each), default=None),
        "dependency_count": len(info.get("requires_dist") or []),
        **{key: text_of(info.get(key)) for key in PROJECT_TEXTS},
    }
    return tuple(values[column] for column in PROJECT_COLUMNS)


def _file(name: str, version: str, file: dict[str, Any], *, latest: bool) -> Row:
    digests = file.get("digests") or {}
    core = file.get("core-metadata")
    return (
        name, version, file["filename"], file.get("packagetype"), file.get("size"),
        digests.get("sha256"), digests.get("blake2b_256"), file.get("requires_python") or None,
        bool(file.get("yanked")), file.get("yanked_reason") or None,
        moment(file.get("upload_time_iso_8601")), file.get("url"),
        core.get("sha256") if isinstance(core, dict) else None, latest,
    )  # fmt: skip


def _dependency(name: str, text: str) -> Row:
    try:
        parsed = Requirement(text)
    except InvalidRequirement:
        return (name, text, None, None, None, None)
    marker = None if parsed.marker is None else str(parsed.marker)
    return (
        name, text, canonicalize_name(parsed.name), str(parsed.specifier), marker, parsed.url
    )  # fmt: skip


def normalized(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()
