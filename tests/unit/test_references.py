"""The pages about topics, tables, errors and settings say what is in the code."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from schemas import errors
from schemas.codec import _OURS
from schemas.records import Status
from schemas.topics import Topic
from scripts import duckdb_reference, topic_reference
from sinks.duckdb.macros import MACROS
from sinks.duckdb.status import VIEWS

DOCS = Path(__file__).parents[2] / "docs"
OPERATIONS = (DOCS / "operations.md").read_text(encoding="utf-8")


def leaves() -> list[type[errors.PypistreamError]]:
    """Every error that is raised, not only a family."""
    classes = [value for _, value in inspect.getmembers(errors, inspect.isclass)]
    return [each for each in classes if issubclass(each, errors.PypistreamError)
            and not each.__subclasses__()]  # fmt: skip


def sections() -> dict[type[errors.PypistreamError], str]:
    """The part of the page about each family: wait, set aside, stop."""
    waits, aside, stops = (
        OPERATIONS.index(start)
        for start in ("**It waits", "**One project is set aside", "**It stops")
    )
    return {
        errors.Retriable: OPERATIONS[waits:aside],
        errors.Permanent: OPERATIONS[aside:stops],
        errors.Fatal: OPERATIONS[stops:],
    }


def test_the_page_about_tables_is_up_to_date() -> None:
    """Made anew from an empty file's comments it is the same."""
    assert 0 == duckdb_reference.main(["--check"]), "make schemas"


def test_the_page_about_topics_is_up_to_date() -> None:
    """Made anew from the published schemas it is the same."""
    assert 0 == topic_reference.main(["--check"]), "make schemas"


def test_every_view_and_column_is_explained() -> None:
    """No view without a heading, no column without a comment."""
    page = duckdb_reference.PAGE.read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]

    assert [] == [view.name for view in VIEWS if f"\n### {view.name}\n" not in page]
    assert sum(len(view.columns) for view in VIEWS) == len(rows)
    assert [] == [row for row in rows if row.endswith("|  |")]


def test_every_macro_is_explained() -> None:
    """With what it takes, and whether it gives rows."""
    page = duckdb_reference.PAGE.read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith(("| rows |", "| value |"))]

    assert [macro.comment for macro in MACROS] == [row.split("|")[3].strip() for row in rows]
    assert [] == [macro.call for macro in MACROS if macro.call not in page]


def test_the_tables_behind_have_comments_too() -> None:
    """All of them, and all their columns; nothing in the file is left unexplained."""
    with duckdb_reference.empty() as connection:
        unsaid = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE comment IS NULL AND NOT internal"
            " UNION ALL SELECT table_name || '.' || column_name FROM duckdb_columns()"
            " WHERE comment IS NULL AND NOT internal"
            " UNION ALL SELECT view_name FROM duckdb_views() WHERE comment IS NULL AND NOT internal"
            " UNION ALL SELECT function_name FROM duckdb_functions()"
            " WHERE comment IS NULL AND NOT internal"
        ).fetchall()

    assert [] == unsaid


def test_every_topic_and_header_is_explained() -> None:
    """With an example record each; and every header of ours in the table."""
    page = topic_reference.PAGE.read_text(encoding="utf-8")

    assert [] == [topic.value for topic in Topic if f"\n### {topic.value}\n" not in page]
    assert [] == [name for _, name in _OURS if f"| `{name}` |" not in page]


@pytest.mark.parametrize("leaf", leaves(), ids=lambda leaf: leaf.__name__)
def test_every_error_says_what_to_do_next(leaf: type[errors.PypistreamError]) -> None:
    """In one row, in the table of its family, with a meaning and a next step."""
    [family] = [each for each in sections() if issubclass(leaf, each)]
    rows = [line for line in sections()[family].splitlines() if f"| `{leaf.__name__}` |" in line]

    assert 1 == len(rows)
    assert all(cell.strip() for cell in rows[0].strip("|").split("|"))
    assert 1 == OPERATIONS.count(f"`{leaf.__name__}`")


def test_every_status_of_a_name_is_explained() -> None:
    """Each in a row of its own."""
    assert [] == [each.value for each in Status if f"\n| `{each.value}` |" not in OPERATIONS]
