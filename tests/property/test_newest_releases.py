"""`newest_releases` looks into few projects: its answer is that of all of them."""

from __future__ import annotations

import duckdb
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.codec import encode
from sinks.duckdb.macros import NEWEST_RELEASES
from sinks.duckdb.public import RELEASES as VIEW
from sinks.duckdb.schema import RELEASES, SCHEMA, delete_staged, insert_statements
from sinks.release_rows import release_row

days = st.one_of(st.none(), st.integers(1, 9))
projects = st.lists(st.lists(st.lists(days, max_size=3), max_size=3), max_size=5)

connection = duckdb.connect()
for statement in (f"CREATE SCHEMA {SCHEMA}", RELEASES.ddl(), *VIEW.statements()):
    connection.execute(statement)
for statement in NEWEST_RELEASES.statements():
    connection.execute(statement)
connection.execute(f"CREATE TEMP TABLE {RELEASES.stage}(key VARCHAR, doc VARCHAR)")


def fill(given: list[list[list[int | None]]]) -> None:
    """Projects, their versions, and the days at which the files of each came."""
    connection.execute(f"DELETE FROM {RELEASES.path}")
    rows = []
    for number, versions in enumerate(given):
        listed = {
            f"{place}.0": [
                {"filename": f"{each}.zip", "upload_time": day and f"2026-01-0{day}T00:00:00Z"}
                for each, day in enumerate(files)
            ]
            for place, files in enumerate(versions)
        }
        value = encode({"latest": None, "serial": 1, "releases": listed})
        rows.append((f"p{number}", encode(release_row(value, 0)).decode()))
    if rows:
        connection.executemany(f"INSERT INTO {RELEASES.stage} VALUES (?, ?)", rows)
    for statement in (delete_staged(RELEASES), *insert_statements(RELEASES)):
        connection.execute(statement)


@given(projects, st.integers(0, 6))
@example([[[1, 9], [2]], [[8]], [[7], [3]]], 2)  # its newest file is of its oldest version
def test_the_answer_is_that_of_all_releases(given: list[list[list[int | None]]], most: int) -> None:
    """Compared with the view of all of them, in the same order."""
    fill(given)
    found = connection.execute("FROM newest_releases($1)", [most]).fetchall()
    literal = connection.execute(f"FROM newest_releases({most})").fetchall()
    expected = connection.execute(
        "SELECT name, version, uploaded FROM releases WHERE uploaded IS NOT NULL"
        " ORDER BY uploaded DESC, name, ordinal DESC LIMIT $1",
        [most],
    ).fetchall()

    assert expected == found == literal
    uploads = {day for versions in given for files in versions for day in files if day}
    assert bool(found) == bool(uploads and most)
