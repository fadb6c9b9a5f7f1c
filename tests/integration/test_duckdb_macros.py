"""The macros of the DuckDB file: what they answer, and that what is not held is said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from msgspec.structs import replace

from schemas.codec import encode
from schemas.records import ChangelogEntry, Kind
from schemas.topics import Topic
from sinks.duckdb.macros import XMLRPC
from sinks.duckdb.view import DuckDBView
from streams.log import Outgoing
from tests.support.macro_calls import CALLS_THAT_ANSWER, CALLS_THAT_FAIL
from tests.support.view_records import (
    CONFIG,
    TIME,
    document,
    entry,
    envelope,
    file,
    metadata,
    reach,
    read,
    releases,
    slim,
    state,
    take,
)

WHEEL = "foo_bar-2.0-py2.py3-none-any.whl"
Rows = Sequence[tuple[Any, ...]]


def role(name: str, serial: int, action: str) -> Outgoing:
    """A change of roles in the journal."""
    raw = encode(ChangelogEntry(serial, name, None, TIME, action, Kind.ROLE))
    return Outgoing(Topic.CHANGELOG, name, raw, envelope(Topic.CHANGELOG))


def written(folder: Path, mode: str = "all", more: Sequence[Outgoing] = ()) -> Path:
    """A published file with one project."""
    whole = document("Foo.Bar", "2.0")
    whole["info"] |= {"classifiers": ["Topic :: X"], "requires_dist": ["x[y]>=1", "z"]}
    urls = {"Source Code": "https://example.org", "What's New": "n", "Chat": "c"}
    whole["info"]["project_urls"] = urls
    whole["ownership"] = {"organization": "o", "roles": [{"role": "Owner", "user": "u"}]}
    whole["releases"] = {"2.0": [file(WHEEL)]}
    both = {"1.0rc1": [file("foo_bar-1.0rc1.zip")], "2.0": [file(WHEEL)]}
    rows = [entry("foo-bar", 5), metadata("foo-bar", whole), state("foo-bar"), *more]
    if mode == "all":
        rows.append(releases("foo-bar", slim("foo-bar", both, "2.0")))
    config = replace(CONFIG, releases=mode)
    view = DuckDBView.in_directory(folder)
    take(view, read(rows), config)
    reach(view, config=config)
    view.publish(TIME * 1000)
    view.close()
    return folder / "pypi.duckdb"


@pytest.fixture(scope="module")
def file_of_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With every version's files."""
    more = [role("foo-bar", 6, "add Owner v"), role("foo-bar", 7, "nuke user"), state("quiet")]
    return written(tmp_path_factory.mktemp("all"), more=more)


@pytest.fixture
def ask(file_of_all: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(file_of_all), read_only=True) as connection:
        yield connection


def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> Rows:
    """Of a query."""
    return connection.execute(sql).fetchall()


def test_every_method_is_called_here() -> None:
    called = {call.partition("(")[0] for call in (*CALLS_THAT_ANSWER, *CALLS_THAT_FAIL)}

    assert called == {macro.name for macro in XMLRPC}


@pytest.mark.parametrize("call", CALLS_THAT_ANSWER)
def test_a_method_answers(ask: duckdb.DuckDBPyConnection, call: str) -> None:
    assert rows(ask, f"FROM {call}")


@pytest.mark.parametrize(("call", "words"), CALLS_THAT_FAIL.items())
def test_a_method_says_what_is_not_held(
    ask: duckdb.DuckDBPyConnection, call: str, words: str
) -> None:
    """It is no empty result."""
    with pytest.raises(duckdb.InvalidInputException, match=words):
        rows(ask, f"FROM {call}")


def test_what_the_methods_answer(ask: duckdb.DuckDBPyConnection) -> None:
    assert [("Foo.Bar", 7)] == rows(ask, "FROM list_packages_with_serial()")
    assert [("2.0",)] == rows(ask, "FROM package_releases('foo_bar')")
    hidden = "FROM package_releases('foo_bar', show_hidden := true)"
    assert [("2.0",), ("1.0rc1",)] == rows(ask, hidden)
    urls = "SELECT filename, python_version FROM release_urls('foo-bar', '2.0')"
    assert [(WHEEL, "py2.py3")] == rows(ask, urls)
    data = "SELECT name, classifiers, requires_dist FROM release_data('FOO-bar', '2.0')"
    assert [("Foo.Bar", ["Topic :: X"], ["x[y]>=1", "z"])] == rows(ask, data)
    assert [("Owner", "u")] == rows(ask, "FROM package_roles('foo-bar')")
    assert [("Owner", "foo-bar")] == rows(ask, "FROM user_packages('u')")
    assert [] == rows(ask, "FROM user_packages('nobody')")
    assert [] == rows(ask, "FROM browse(['Topic :: X', 'Topic :: Y'])")
    assert [] == rows(ask, "FROM search('bar nothing')")
    since = "SELECT serial FROM changelog_since_serial(5)"
    assert [(6,), (7,)] == rows(ask, since)
    assert [("foo-bar", 7)] == rows(ask, "FROM changed_packages('2020-01-01')")
    assert [("foo-bar", "1.0")] == rows(ask, "FROM updated_releases('2020-01-01')")
    asked = "SELECT name, specifier, extras FROM reverse_dependencies('X')"
    assert [("foo-bar", ">=1", ["y"])] == rows(ask, asked)
    assert [] == rows(ask, "FROM reverse_dependencies('nobody-asks')")


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Adak"])
def test_months_and_moments_are_the_same_in_every_zone(
    ask: duckdb.DuckDBPyConnection, zone: str
) -> None:
    """The session's zone is for what is shown, not for what is meant."""
    ask.execute(f"SET TimeZone = '{zone}'")
    assert [(date(2024, 2, 1), 2)] == rows(ask, "SELECT month, releases FROM releases_per_month")
    journal = {
        "'2023-11-14 22:13:19'": 3,
        "'2023-11-14 22:13:20'": 0,
        "'2023-11-14 23:13:19+01'": 3,
        "TIMESTAMPTZ '2023-11-14 23:13:20+01'": 0,
        "TIMESTAMP '2023-11-14 22:13:19'": 3,
    }
    for moment, changes in journal.items():
        asked = f"SELECT count(*) FROM changelog({moment})"
        assert [(changes,)] == rows(ask, asked), moment
    seen = rows(ask, "SELECT DISTINCT time FROM changelog")
    assert [(datetime.fromtimestamp(TIME, UTC),)] == seen


@pytest.mark.parametrize(
    ("question", "unread"),
    [
        ("SELECT count(*) FROM files", "filename sha256 blake2b version"),
        ("SELECT sum(size) FROM files GROUP BY packagetype", "filename sha256 blake2b version"),
        ("SELECT max(version) FROM releases", "release_bytes release_uploaded"),
        ("FROM dependencies SELECT name WHERE dependency = 'x'", "specifier marker parse_error"),
    ],
)
def test_what_is_not_asked_for_is_not_read(
    ask: duckdb.DuckDBPyConnection, question: str, unread: str
) -> None:
    """Of all of PyPI the columns of files have two gigabytes."""
    plan = str(ask.execute(f"EXPLAIN {question}").fetchall())

    assert "Unnest" in plan
    assert [] == [column for column in unread.split() if column in plan]


def test_views_made_of_others(ask: duckdb.DuckDBPyConnection) -> None:
    assert [("foo-bar", "2.0")] == rows(ask, "SELECT name, version FROM latest")
    assert [("py2-none-any",), ("py3-none-any",)] == rows(ask, "SELECT tag FROM wheel_tags")
    kinds = "SELECT label_key, kind FROM project_urls ORDER BY label"
    expected = [("chat", None), ("sourcecode", "source"), ("whatsnew", "changelog")]
    assert expected == rows(ask, kinds)
    months = "SELECT month::VARCHAR, releases, projects, files FROM releases_per_month"
    assert [("2024-02-01", 2, 1, 2)] == rows(ask, months)


def test_the_history_of_owners_says_where_it_lacks(ask: duckdb.DuckDBPyConnection) -> None:
    """Each project is there, one whose changes are not held without a serial."""
    history = 'SELECT name, serial, step, role, "user" FROM owners_history ORDER BY name, serial'
    found = rows(ask, history)

    assert [
        ("foo-bar", 6, "add", "Owner", "v"),
        ("foo-bar", 7, None, None, None),
        ("quiet", None, None, None, None),
    ] == found


def test_files_of_the_latest_version_only(tmp_path: Path) -> None:
    """Older ones are not held, which is not the same as none."""
    with duckdb.connect(str(written(tmp_path, "latest")), read_only=True) as connection:
        assert rows(connection, "FROM release_urls('foo-bar', '2.0')")
        assert [("2.0",)] == rows(connection, "FROM package_releases('foo-bar')")
        for call in (
            "release_urls('foo-bar', '1.0rc1')",
            "package_releases('foo-bar', show_hidden := true)",
        ):
            with pytest.raises(duckdb.InvalidInputException, match="not held here"):
                rows(connection, f"FROM {call}")


def test_a_journal_that_begins_later_is_said(file_of_all: Path, tmp_path: Path) -> None:
    """Rows after where it begins are given, before it there is an error; owners are not whole."""
    path = tmp_path / "later.duckdb"
    path.write_bytes(file_of_all.read_bytes())
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE base.progress SET history_since = 5, watermark = NULL")
        assert [(6,), (7,)] == rows(connection, "SELECT serial FROM changelog_since_serial(5)")
        assert [] == rows(connection, "FROM changelog('2024-01-01')")
        assert {(False,)} == set(rows(connection, "SELECT whole FROM owners_history"))
        for call in (
            "changelog_since_serial(4)",
            "changelog('2020-01-01')",
            "updated_releases('2020-01-01')",
            "changed_packages('2020-01-01')",
            "list_packages()",
        ):
            with pytest.raises(duckdb.InvalidInputException, match=r"held here|held yet"):
                rows(connection, f"FROM {call}")
