"""SQL on the published snapshot: formats, limits, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from schemas.errors import NotPublished, QueryFailed, StorageFailed, UsageError, ViewCorrupt
from sinks.duckdb import query_session as duckdb_query
from sinks.duckdb.query import FORMATS, run_query
from sinks.duckdb.view import DuckDBView
from tests.support.view_records import document, metadata, reach, read, take


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    view = DuckDBView.in_directory(root)
    rows = [metadata(f"p{i:04}", document(f"p{i:04}", f"{i}.0")) for i in range(2_500)]
    take(view, read(rows))
    reach(view)
    view.publish(1_700_000_000_000)
    view.close()
    return root / "pypi.duckdb"


def asked(path: Path, sql: str, format_name: str = "jsonl") -> bytes:
    out = io.BytesIO()
    run_query(path, sql, format_name, out)
    return out.getvalue()


def lines(path: Path, sql: str) -> list[Any]:
    return [json.loads(line) for line in asked(path, sql).splitlines()]


ODD = (
    "SELECT 1 AS a, 2 AS a, NULL AS n, [1, NULL] AS l, {'k': 'v'} AS s, 1.50::DECIMAL(4,2) AS d,"
    " 170141183460469231731687303715884105727::HUGEINT AS h, 'nan'::DOUBLE AS f, true AS b,"
    " TIMESTAMP '2024-02-29 12:00:00' AS t, DATE '2024-02-29' AS day, 'ab'::BLOB AS raw,"
    " MAP {'x': 1} AS m, 'ü' AS u"
)


def test_json_lines_hold_every_type(snapshot: Path) -> None:
    """Columns of one name get different ones; what JSON has no word for is text or null."""
    expected = {
        "a": 1,
        "a_1": 2,
        "n": None,
        "l": [1, None],
        "s": {"k": "v"},
        "d": "1.50",
        "h": 2**127 - 1,
        "f": None,
        "b": True,
        "t": "2024-02-29T12:00:00",
        "day": "2024-02-29",
        "raw": "6162",
        "m": {"x": 1},
        "u": "ü",
    }

    assert [expected] == lines(snapshot, ODD)


def test_all_rows_come_in_every_format(snapshot: Path, tmp_path: Path) -> None:
    sql = "SELECT name, version FROM projects ORDER BY name -- with a comment\n;"
    expected = [{"name": f"p{i:04}", "version": f"{i}.0"} for i in range(2_500)]
    parquet = tmp_path / "answer.parquet"
    parquet.write_bytes(asked(snapshot, sql, "parquet"))
    table = asked(snapshot, sql, "table").decode().splitlines()

    assert expected == lines(snapshot, sql)
    assert expected == json.loads(asked(snapshot, sql, "json"))
    assert expected == list(csv.DictReader(io.StringIO(asked(snapshot, sql, "csv").decode())))
    with duckdb.connect() as connection:
        found = connection.execute(f"FROM '{parquet}'").fetchall()
    assert [tuple(row.values()) for row in expected] == found
    assert ["name   version", "-----  -------", "p0000  0.0"] == table[:3]
    assert "(2500 rows)" == table[-1]


@pytest.mark.parametrize("format_name", FORMATS)
def test_no_rows_are_an_answer_too(snapshot: Path, format_name: str) -> None:
    found = asked(snapshot, "SELECT name FROM projects WHERE false", format_name)

    assert {
        "table": b"name\n----\n(0 rows)\n",
        "json": b"[]\n",
        "jsonl": b"",
        "csv": b"name\n",
    }.get(format_name, found) == found
    assert format_name != "parquet" or found.startswith(b"PAR1")


def test_a_table_shows_nothing_that_steers_a_terminal(snapshot: Path) -> None:
    """Escapes, bidi controls and new lines are spelled out, long texts are cut."""
    sql = "SELECT chr(27) || '[31m' || chr(10) || chr(8238) AS x, repeat('y', 500) AS y"
    table = asked(snapshot, sql, "table").decode()

    assert r"\x1b[31m\n\u202e" in table
    assert all(c.isprintable() for c in table.replace("\n", ""))
    assert max(map(len, table.splitlines())) < 100


def test_a_spreadsheet_runs_nothing(snapshot: Path) -> None:
    found = asked(snapshot, "SELECT '=1+1' AS a, '@x' AS b, -5 AS c, 'd' AS d", "csv")

    assert b"a,b,c,d\n'=1+1,'@x,-5,d\n" == found


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("selec 1", 'syntax error at or near "selec"'),
        ("FROM nowhere", "Table with name nowhere does not exist"),
        ("", "one statement is expected, not 0"),
        ("SELECT 1; SELECT 2", "one statement is expected, not 2"),
        ("COPY projects TO '/tmp/x.csv'", "COPY is not allowed"),
        ("CREATE TEMP TABLE x AS SELECT 1", "CREATE is not allowed"),
        ("SET memory_limit = '9GB'", "SET is not allowed"),
        ("PRAGMA version", "PRAGMA is not allowed"),
        ("ATTACH '/tmp/x.db'", "ATTACH is not allowed"),
        ("INSTALL fts", "is not allowed"),
        ("DELETE FROM base.project", "DELETE is not allowed"),
        ("SELECT * FROM read_csv('/etc/passwd')", "disabled by configuration"),
        ("SELECT * FROM read_text('/etc/passwd')", "disabled by configuration"),
        ("FROM '/etc/passwd'", "passwd"),
        ("FROM glob('/*')", "disabled by configuration"),
        ("SELECT * FROM 'https://example.org/x.parquet'", "example.org"),
        ("FROM snapshot", "snapshot does not exist"),
        ("SELECT error('a' || chr(10) || chr(27) || 'b')", "Invalid Input Error: a"),
        ("x" * 2_000_000, "more than 1048576 characters"),
        ("SELECT '\0", "Error"),
    ],
)
@pytest.mark.parametrize("format_name", ["jsonl", "parquet"])
def test_what_may_not_or_cannot_be_run_is_told_in_one_line(
    snapshot: Path, format_name: str, sql: str, said: str
) -> None:
    with pytest.raises(QueryFailed) as failed:
        asked(snapshot, sql, format_name)

    assert said in str(failed.value)
    assert str(failed.value).isprintable()
    assert failed.value.hint


@pytest.mark.parametrize(
    ("sql", "hint"),
    [
        ("selec 1", "docs/cookbook.md"),
        ("FROM project", "`show tables`"),
        ("SELECT nme FROM projects", "`describe TABLE`"),
        ("", "one SELECT"),
        ("SELECT name::INTEGER FROM projects", "TRY_CAST"),
        ("FROM read_text('/etc/passwd')", "no file is read here"),
        ("FROM release_data('nosuch', '1')", "docs/duckdb-reference.md"),
    ],
)
def test_who_asks_for_what_is_not_there_is_told_where_to_look(
    snapshot: Path, sql: str, hint: str
) -> None:
    """Never at the tables behind the views, which are nobody's but ours."""
    with pytest.raises(QueryFailed) as failed:
        asked(snapshot, sql, "jsonl")

    assert hint in failed.value.hint
    assert "base." not in str(failed.value)


def test_parquet_may_be_written_nowhere_else(snapshot: Path, tmp_path: Path) -> None:
    """Text that tries to end the COPY around it is a value, not SQL."""
    elsewhere = tmp_path / "elsewhere.parquet"
    sql = f"SELECT 1)) TO '{elsewhere}' (FORMAT parquet); --"

    with pytest.raises(QueryFailed):
        asked(snapshot, sql, "parquet")
    assert not elsewhere.exists()


def test_a_query_that_needs_too_much_memory_is_told_so(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is spilled to disk."""
    monkeypatch.setattr(duckdb_query, "MEMORY_LIMIT", "50MB")

    with pytest.raises(QueryFailed, match="needs more than 50MB of memory"):
        asked(snapshot, "SELECT string_agg(repeat('x', 10000), '') FROM range(100000)")


def test_rows_are_written_while_they_come(snapshot: Path) -> None:
    """A reader who has seen enough stops the query."""

    class Enough(Exception):
        pass

    class Impatient:
        pieces = 0

        def write(self, piece: bytes) -> None:
            self.pieces += 1
            if self.pieces == 3:
                raise Enough

    out = Impatient()
    with pytest.raises(Enough):
        run_query(snapshot, "SELECT i FROM range(1000000000) AS t(i)", "jsonl", out)


def test_no_snapshot_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotPublished, match="no snapshot") as failed:
        asked(tmp_path / "pypi.duckdb", "SELECT 1")

    assert "pypistream run" in failed.value.hint


def test_a_file_that_is_none_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "pypi.duckdb"
    path.write_bytes(b"no database" * 10_000)

    with pytest.raises((ViewCorrupt, StorageFailed), match="cannot be"):
        asked(path, "SELECT 1")


def test_an_unknown_format_is_told_with_those_there_are(snapshot: Path) -> None:
    with pytest.raises(UsageError) as failed:
        asked(snapshot, "SELECT 1", "xml")

    assert all(name in failed.value.hint for name in FORMATS)


def test_explain_and_describe_answer(snapshot: Path) -> None:
    plan = asked(snapshot, "EXPLAIN SELECT 1 + range FROM range(5)", "table")

    assert "Projections" in plan.decode()
    assert len(plan.splitlines()) > 3
    assert "name" == lines(snapshot, "DESCRIBE projects")[0]["column_name"]
    assert {"name": "projects"} in lines(snapshot, "SHOW TABLES")
