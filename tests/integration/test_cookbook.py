"""Each question of the cookbook, asked of a small published file as readers open it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from schemas.codec import encode
from schemas.records import ChangelogEntry, Kind, Status
from schemas.topics import Topic
from scripts import cookbook_page
from sinks.duckdb.cookbook import RECIPES, Recipe
from sinks.duckdb.snapshot import open_snapshot
from sinks.duckdb.view import DuckDBView
from streams.log import Outgoing
from tests.support.view_records import (
    TIME,
    document,
    envelope,
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

SEEN = datetime.fromisoformat("2023-11-14T22:13:20Z")
FETCHED = SEEN.replace(microsecond=500_000)
UPLOADED = datetime.fromisoformat("2024-02-29T12:00:00.123456Z")
EARLY = datetime.fromisoformat("2024-01-31T23:59:59Z")
NATIVE = "app_one-1.0-cp313-cp313-manylinux_2_17_x86_64.musllinux_1_2_x86_64.whl"


def change(name: str, serial: int, action: str, kind: Kind) -> Outgoing:
    """A row of the journal."""
    raw = encode(ChangelogEntry(serial, name, None, TIME, action, kind))
    return Outgoing(Topic.CHANGELOG, name, raw, envelope(Topic.CHANGELOG))


def project(
    name: str,
    serial: int,
    versions: dict[str, list[dict[str, Any]]],
    *,
    info: dict[str, Any] | None = None,
    **more: Any,
) -> list[Outgoing]:
    """All records of a project, whose last version is the latest."""
    latest = list(versions)[-1]
    whole = document(name, latest, releases={latest: versions[latest]}, urls=versions[latest])
    whole |= more
    whole["info"] |= info or {}
    return [
        metadata(name.lower().replace(".", "-"), whole, serial=serial),
        releases(name.lower().replace(".", "-"), slim(name, versions, latest)),
        state(name.lower().replace(".", "-")),
    ]


def people(*users: str) -> dict[str, Any]:
    """Owners."""
    return {"organization": None, "roles": [{"role": "Owner", "user": user} for user in users]}


def world() -> list[Outgoing]:
    """A library that others require, its users, and what is owed, odd, or gone."""
    python = "Programming Language :: Python :: 3."
    early = {"upload_time_iso_8601": "2024-01-31T23:59:59Z"}
    library = {
        "1.9": [file("yorango_mesh-1.9.tar.gz", **early)],
        "1.10": [file("yorango_mesh-1.10.tar.gz", **early)],
        "2.0rc1": [file("yorango_mesh-2.0rc1.tar.gz")],
        "2.0": [
            file("yorango_mesh-2.0-py3-none-any.whl"),
            file("yorango_mesh-2.0.tar.gz", size=300),
        ],
    }
    urls = {"Source Code": "https://example.org/s", "What's New": "https://example.org/n"}
    said = {"license_expression": "MIT", "classifiers": [f"{python}9", f"{python}13"]}
    flaws = [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fixed_in": ["2.1"]}]
    needs = ["TableLib==2.0", "yorango-mesh", "nowhere>=1; extra == 'x'", "pytz (>dev)"]
    return [
        change("yorango-mesh", 3, "create", Kind.CREATE),
        change("yorango-mesh", 4, "add Owner ana", Kind.ROLE),
        *project(
            "Yorango.Mesh",
            150,
            library,
            info={**said, "project_urls": urls},
            vulnerabilities=flaws,
            ownership=people("ana"),
        ),
        *project(
            "app-one",
            90,
            {"1.0": [file(NATIVE)]},
            info={"requires_dist": needs, "classifiers": ["License :: OSI Approved"]},
            ownership=people("ana", "bo"),
        ),
        *project(
            "app-two",
            101,
            {"0.1a1": [file("app-two-0.1a1.tar.gz")]},
            info={"requires_dist": ["tablelib"]},
        ),
        *project("gr1ora-kit", 80, {"1.0": [file("gr1ora-kit-1.0.tar.gz", size=5)]}),
        metadata("broken", b"{"),
        *project("dead", 70, {"0.9": [file("dead-0.9.zip")]}),
        gone("dead"),
        gone("dead", topic=Topic.RELEASES),
        state("dead", Status.ABSENT, attempts=2, gone=11),
        state("late", Status.PARKED, reason="stale", next_ms=1_700_000_000_000),
    ]


EXPECTED: dict[str, Any] = {
    "How complete is this file, and how old?": [(50, 99, 49, 1, 83.3333, SEEN)],
    "Which names is it not sure of, and why?": [("late", "parked", "stale", 0, SEEN)],
    "What is odd in the data?": [("unreadable: Input data was truncated", 1, "broken")],
    "What changed since I last looked?": [("app-two", "0.1a1", 101), ("yorango-mesh", "2.0", 150)],
    "Which source archive has the latest version of each project?": [
        ("app-two", "0.1a1", file("app-two-0.1a1.tar.gz")["url"], "5" * 64, 100),
        ("gr1ora-kit", "1.0", file("gr1ora-kit-1.0.tar.gz")["url"], "5" * 64, 5),
        ("yorango-mesh", "2.0", file("yorango_mesh-2.0.tar.gz")["url"], "5" * 64, 300),
    ],
    "What is the newest version below 2 that is neither a pre-release nor yanked?": [
        ("1.10", EARLY)
    ],
    "Which versions came out last?": [
        ("app-one", "1.0", UPLOADED),
        ("app-two", "0.1a1", UPLOADED),
        ("gr1ora-kit", "1.0", UPLOADED),
        ("yorango-mesh", "2.0", UPLOADED),
        ("yorango-mesh", "2.0rc1", UPLOADED),
        ("yorango-mesh", "1.10", EARLY),
        ("yorango-mesh", "1.9", EARLY),
    ],
    "Whose latest version is a pre-release?": [("app-two", "0.1a1")],
    "Where are changelog, source and issues of a project?": [
        ("changelog", "What's New", "https://example.org/n"),
        ("source", "Source Code", "https://example.org/s"),
    ],
    "Who requires a project, and which versions of it?": [
        ("app-one", "==2.0", None, None),
        ("app-two", "", None, None),
    ],
    "Which projects are required most?": [
        ("tablelib", 2, 2),
        ("nowhere", 0, 1),
        ("yorango-mesh", 1, 1),
    ],
    "Who pins a project to one version?": [("app-one", "==2.0")],
    "Which requirements name a project that is not there?": [
        ("tablelib", 2, "app-one"),
        ("nowhere", 1, "app-one"),
    ],
    "Which requirements can no installer read?": [
        ("app-one", "1.0", "pytz (>dev)", "Invalid specifier: '>dev'")
    ],
    "Which wheels are there for Python 3.13 on musllinux?": [("app-one", "1.0", NATIVE)],
    "Whose latest version has no wheel?": [("app-two", "0.1a1"), ("gr1ora-kit", "1.0")],
    "How large is a mirror of the latest versions?": [("sdist", 3, 405), ("bdist_wheel", 2, 200)],
    "Which latest versions have a known vulnerability?": [
        (
            "yorango-mesh",
            "2.0",
            "PYSEC-1",
            ["CVE-1"],
            ["2.1"],
            FETCHED,
        )
    ],
    "What was removed or quarantined?": [
        ("dead", "removed", 11, SEEN, "0.9", ["dead-0.9.zip"], ["5" * 64])
    ],
    "Which names look like a well-known one?": [("gr1ora-kit", 80, "a summary")],
    "Who alone holds a project that others require?": [("yorango-mesh", "ana", 1)],
    "How did the people of a project change?": [(SEEN, "add", "Owner", "ana", True)],
    "Which licences are used?": [
        ("not said in a machine-readable way", 2),
        ("License :: OSI Approved", 1),
        ("MIT", 1),
    ],
    "How many versions come out in a month?": [(date(2024, 2, 1), 5, 4), (date(2024, 1, 1), 2, 1)],
    "Which Python versions do projects say they support?": [("3.13", 1), ("3.9", 1)],
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file."""
    folder = tmp_path_factory.mktemp("cookbook")
    view = DuckDBView.in_directory(folder)
    take(view, read(world()))
    reach(view)
    view.publish(TIME * 1000)
    view.close()
    return folder / "pypi.duckdb"


@pytest.fixture(scope="module")
def reader(published: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """As `pypistream query` opens it."""
    with open_snapshot(published, memory_limit="200MB") as connection:
        yield connection


def test_there_are_25_and_an_answer_to_each() -> None:
    """Each question once."""
    assert 25 == len(RECIPES)
    assert [recipe.question for recipe in RECIPES] == list(EXPECTED)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.question)
def test_a_question_has_its_answer(recipe: Recipe, reader: duckdb.DuckDBPyConnection) -> None:
    """These rows, in this order."""
    assert EXPECTED[recipe.question] == reader.execute(recipe.sql).fetchall()


def test_the_page_is_up_to_date() -> None:
    assert 0 == cookbook_page.main(["--check"]), "make schemas"
