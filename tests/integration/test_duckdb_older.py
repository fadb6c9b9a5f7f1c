"""Snapshots are read by DuckDB 1.x, as it is still installed in many places.

Its wheels lie in folders of their own (`pip install --target DIR duckdb==1.2.0`), named by
PYPISTREAM_TEST_DUCKDB_1X, separated by colons.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.records import Status
from schemas.topics import Topic
from sinks.duckdb.cookbook import RECIPES
from sinks.duckdb.status import VIEWS
from sinks.duckdb.view import DuckDBView
from tests.support.macro_calls import CALLS_THAT_ANSWER, CALLS_THAT_FAIL
from tests.support.view_records import (
    document,
    entry,
    file,
    gone,
    metadata,
    reach,
    read,
    releases,
    slim,
    state,
    take,
)

CALLS = (
    "SELECT norm('A._b'), version_key('1.0rc1+a.1')",
    "FROM reverse_dependencies('X')",
    *(recipe.sql for recipe in RECIPES),
    *(f"FROM {call}" for call in CALLS_THAT_ANSWER),
    *(f"FROM {call}" for call in CALLS_THAT_FAIL),
)
VARIABLE = "PYPISTREAM_TEST_DUCKDB_1X"
READER = """
import json, sys
import duckdb
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    found = {
        view: sorted(repr(row) for row in connection.execute(f"FROM {view}").fetchall())
        for view in sys.argv[2:]
    }
    found["macros"] = []
    for macro in json.loads(sys.stdin.read()):
        try:
            found["macros"].append(repr(connection.execute(macro).fetchall()))
        except duckdb.Error as error:
            found["macros"].append(str(error))
    found["comments"] = repr(connection.execute('''
        SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal
        UNION ALL SELECT view_name, NULL, comment FROM duckdb_views() WHERE NOT internal
        UNION ALL SELECT table_name, NULL, comment FROM duckdb_tables() WHERE NOT internal
        UNION ALL SELECT function_name, NULL, comment FROM duckdb_functions() WHERE NOT internal
        ORDER BY ALL''').fetchall())
print(json.dumps([duckdb.__version__, found]))
"""


def folders() -> list[str]:
    """Where older versions lie. With CI=true there must be some."""
    given = [each for each in os.environ.get(VARIABLE, "").split(os.pathsep) if each]
    if not given and os.environ.get("CI") == "true":
        pytest.fail(f"{VARIABLE} names no folder; under CI=true nothing may be missing")
    if not given:
        pytest.skip(f"{VARIABLE} names no folder with an older DuckDB")
    return given


def test_older_versions_read_the_same_rows(tmp_path: Path) -> None:
    """Every view, row by row, every macro, every question of the cookbook, and every comment."""
    older = folders()
    view = DuckDBView.in_directory(tmp_path)
    whole = document("Foo.Bar", "2.0")
    whole["info"] |= {"classifiers": ["Topic :: X"], "requires_dist": ["x[y]>=1; extra == 'd'"]}
    whole["info"]["project_urls"] = {"Home": "https://example.org"}
    whole["ownership"] = {"organization": "o", "roles": [{"role": "Owner", "user": "u"}]}
    whole["vulnerabilities"] = [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fixed_in": []}]
    both = {"1.0rc1": [file("foo_bar-1.0rc1.zip")], "2.0": [file("foo_bar-2.0-py3-none-any.whl")]}
    rows = [
        entry("foo-bar", 5),
        metadata("foo-bar", whole, anomalies="odd"),
        releases("foo-bar", slim("foo-bar", both, "2.0")),
        state("foo-bar"),
        metadata("dead", document("dead")),
        releases("dead", slim("dead", {"1.0": [file("dead-1.0.zip")]}, "1.0")),
        gone("dead"),
        gone("dead", topic=Topic.RELEASES),
        state("dead", Status.ABSENT, attempts=2, gone=11),
        state("late", Status.PARKED, reason="stale", next_ms=1_700_000_000_000),
    ]
    take(view, read(rows))
    reach(view)
    view.publish(1_700_000_000_000)
    view.close()
    path = tmp_path / "pypi.duckdb"
    expected = ask(path, None)

    assert all(expected.values())
    assert "None)" not in expected["comments"]
    assert "'a-b'" in expected["macros"][0]
    assert expected["macros"][-1].startswith("Invalid Input Error: download counts")
    for folder in older:
        assert expected == ask(path, folder), folder


def ask(path: Path, folder: str | None) -> dict[str, list[str]]:
    """What the DuckDB in a folder finds in the file; without a folder, the one installed here."""
    names = [each.name for each in VIEWS]
    ended = subprocess.run(
        [sys.executable, "-c", READER, str(path), *names],
        input=json.dumps(CALLS),
        env={**os.environ, **({} if folder is None else {"PYTHONPATH": folder})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == ended.returncode, ended.stderr
    version, found = json.loads(ended.stdout)
    assert folder is None or version.startswith("1.")
    return dict(found)
