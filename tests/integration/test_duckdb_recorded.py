"""Real documents, from the body upstream sent to the rows of the snapshot; with its own oracle."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from processors.trim import trim
from schemas.errors import MalformedMetadata
from schemas.names import NormalizedName
from sinks.duckdb.view import DuckDBView
from tests.support.documents import recorded
from tests.support.view_records import metadata, query, reach, read, releases, take

TEXTS = [
    "version",
    "summary",
    "author",
    "author_email",
    "maintainer",
    "license",
    "license_expression",
    "home_page",
    "requires_python",
    "platform",
    "yanked",
    "yanked_reason",
]


def bodies() -> dict[str, bytes]:
    """The last recorded project document per project."""
    return {each.asked: each.body for each in recorded() if each.kind == "project"}


def said(value: Any) -> Any:
    """Upstream's spellings of nothing are one."""
    return None if value in ("", "UNKNOWN") else value


def expected_files(document: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """What a file row must say, straight from upstream's own document."""
    for version, files in document["releases"].items():
        for each in (file for file in files if "filename" in file):
            digests = each.get("digests") or {}
            core = each.get("core-metadata")
            yield (
                version,
                each["filename"],
                each.get("size"),
                digests.get("sha256"),
                digests.get("blake2b_256"),
                each.get("url") or None,
                said(each.get("requires_python")),
                bool(each.get("yanked")),
                said(each.get("yanked_reason")),
                core["sha256"] if core else None,
            )


def test_every_recorded_project_is_in_the_tables_as_upstream_has_it(tmp_path: Path) -> None:
    """Texts, classifiers, requirements, and each file of each release."""
    view = DuckDBView.in_directory(tmp_path)
    truth: dict[str, dict[str, Any]] = {}
    rows = []
    for name, body in bodies().items():
        document = json.loads(body)
        try:
            trimmed = trim(body, NormalizedName(name), header_serial=1)
        except MalformedMetadata:
            continue
        truth[name] = document
        rows += [metadata(name, trimmed.metadata), releases(name, trimmed.releases)]
    take(view, read(rows))
    reach(view)
    view.publish(1_700_000_000_000)
    view.close()
    path = tmp_path / "pypi.duckdb"
    projects = {row["name"]: row for row in query(path, "FROM projects")}

    assert len(truth) > 5
    assert set(truth) == set(projects)
    assert [] == query(path, "FROM anomalies WHERE anomaly LIKE 'unreadable%'")
    for name, document in truth.items():
        found, info = projects[name], document["info"]
        assert name == canonicalize_name(found["display_name"])
        assert {key: said(info.get(key)) for key in TEXTS if key != "version"} == {
            key: found[key] for key in TEXTS if key != "version"
        }, name
        assert info["version"] == found["version"]
        assert (info.get("classifiers") or []) == (found["classifiers"] or [])
        assert len(document["releases"]) == found["release_count"]
    columns = (
        "version, filename, size, sha256, blake2b, url, requires_python, yanked, yanked_reason,"
        " core_metadata_sha256"
    )
    files, wanted = defaultdict(list), defaultdict(list)
    for row in query(path, f"SELECT name, {columns} FROM files"):
        files[row.pop("name")].append(repr(tuple(row.values())))
    for row in query(path, "SELECT name, requirement FROM dependencies"):
        wanted[row["name"]].append(row["requirement"])
    for name, document in truth.items():
        assert sorted(map(repr, expected_files(document))) == sorted(files[name]), name
        assert (document["info"].get("requires_dist") or []) == wanted[name], name
