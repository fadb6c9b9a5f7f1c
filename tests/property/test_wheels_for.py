"""`wheels_for` looks through fewer names than all: its answer is that of all of them."""

from __future__ import annotations

import duckdb
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.codec import encode
from sinks.duckdb.derived import WHEEL_TAGS
from sinks.duckdb.macros import WHEELS_FOR
from sinks.duckdb.public import FILES
from sinks.duckdb.schema import RELEASES, SCHEMA, delete_staged, insert_statements
from sinks.release_rows import release_row

PYTHONS = ("cp313", "cp31", "py3", "cp312.cp313", "py2.py3", "any", "")
PLATFORMS = (
    "any musllinux_1_2_x86_64 manylinux_2_17_x86_64.musllinux_1_1_x86_64 win32.any any.win32"
    " anyone linux_any musllinux"
)
ASKED = ("musllinux", "musl", "a", "any", "anyone", "win32", "manylinux_2", "_", "%", "")
parts = st.sampled_from(("pkg", "1.0", "1", "none", "any", "a/b", "", "é", *PYTHONS))
wheels = st.builds(
    "{}-{}-{}-{}.whl".format,
    st.sampled_from(("pkg-1.0", "pkg-1.0-1", "pkg", "a/b-1.0", "cp313-any", "%-_")),
    st.sampled_from(PYTHONS),
    st.sampled_from(("none", "cp313.abi3")),
    st.sampled_from(PLATFORMS.split()),
)
others = st.builds(
    "{}{}".format, st.lists(parts).map("-".join), st.sampled_from((".whl", ".zip", ""))
)
kinds = st.sampled_from(("bdist_wheel", "bdist_wheel", "sdist", None))
versions = st.sampled_from(("1.0", "1/0", "", "1.0-any.whl"))
files = st.tuples(st.one_of(wheels, wheels, others), kinds)
projects = st.dictionaries(versions, st.lists(files, max_size=8), max_size=3)

connection = duckdb.connect()
for statement in (f"CREATE SCHEMA {SCHEMA}", RELEASES.ddl(), *FILES.statements()):
    connection.execute(statement)
for statement in (*WHEEL_TAGS.statements(), *WHEELS_FOR.statements()):
    connection.execute(statement)
connection.execute(f"CREATE TEMP TABLE {RELEASES.stage}(key VARCHAR, doc VARCHAR)")


def fill(given: dict[str, list[tuple[str, str | None]]]) -> None:
    """The one project there is has these files from now on."""
    listed = {
        version: [{"filename": name, "packagetype": kind} for name, kind in files]
        for version, files in given.items()
    }
    value = encode({"latest": None, "serial": 1, "releases": listed})
    text = encode(release_row(value, 0)).decode()
    connection.execute(f"INSERT INTO {RELEASES.stage} VALUES ('pkg', ?)", [text])
    for statement in (delete_staged(RELEASES), *insert_statements(RELEASES)):
        connection.execute(statement)


def fits(name: str, kind: str | None, python: str, platform: str) -> bool:
    """Whether the wheel has such tags (PEP 425)."""
    stem, dot, end = name.rpartition(".")
    if kind != "bdist_wheel" or (dot, end) != (".", "whl") or stem.count("-") < 4 or "/" in name:
        return False
    pythons, _, platforms = stem.split("-")[-3:]
    here = (each.startswith(platform) for each in platforms.split("."))
    return python in pythons.split(".") and any(here)


@given(projects, st.sampled_from(("cp313", "py3", "any", "_", "")), st.sampled_from(ASKED))
@example({"1.0": [("pkg-1.0-cp313-none-any.whl", "bdist_wheel")]}, "cp313", "a")
@example({"1/0": [("pkg-1.0-cp313-none-musllinux.whl", "bdist_wheel")]}, "cp313", "musllinux")
def test_the_answer_is_that_of_all_names(
    given: dict[str, list[tuple[str, str | None]]], python: str, platform: str
) -> None:
    """Compared with each name taken apart, and with the view of all tags."""
    fill(given)
    found = connection.execute("FROM wheels_for($1, $2)", [python, platform]).fetchall()
    literal = connection.execute(f"FROM wheels_for('{python}', '{platform}')").fetchall()
    seen = connection.execute(
        "SELECT DISTINCT name, version, filename FROM wheel_tags"
        " WHERE python = $1 AND starts_with(platform, $2)",
        [python, platform],
    ).fetchall()
    expected = [
        ("pkg", version, name)
        for version, files in given.items()
        for name, kind in files
        if fits(name, kind, python, platform)
    ]

    assert sorted(expected) == sorted(found)
    assert found == literal
    assert set(expected) == set(seen)
