"""The order and the kinds of versions in SQL are those of packaging."""

from __future__ import annotations

import re

import duckdb
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.version import InvalidVersion, Version

from sinks.duckdb.macros import MACROS
from sinks.duckdb.public import RELEASES

PARTS = (
    "1 0 .0 .10 .2 v1 2!1 . - _ a a0 rc1 beta b2 preview-2 c post post0 -1 r2 rev dev .dev3 dev0"
    " +local +1 +1.a-b .x +10 +9.b alpha A1 x 20240229123456 00"
)
parts = st.sampled_from([*PARTS.split(), " 1.0 ", "\n"])
_long = re.compile(r"[0-9]{21}")  # has no place, as the last test shows
texts = (
    st.lists(parts, min_size=1, max_size=5).map("".join).filter(lambda each: not _long.search(each))
)
connection = duckdb.connect()
for statement in next(each for each in MACROS if each.name == "version_key").statements():
    connection.execute(statement)


def version(text: str) -> Version | None:
    """A text that is no version is None."""
    try:
        return Version(text)
    except InvalidVersion:
        return None


@given(st.lists(texts, min_size=1, max_size=50))
def test_keys_sort_as_packaging_does(given: list[str]) -> None:
    """Equal versions have equal keys, a lower one a lower; what is no version has none."""
    query = "SELECT version_key(unnest(?))"
    keys = [row[0] for row in connection.execute(query, [given]).fetchall()]
    pairs = [(version(text), key) for text, key in zip(given, keys, strict=True)]

    assert all((found is None) == (key is None) for found, key in pairs), pairs
    valid = [(found, key) for found, key in pairs if found is not None]
    for one, key in valid:
        for other, other_key in valid:
            assert (one < other, one == other) == (key < other_key, key == other_key)


@given(st.lists(texts, min_size=1, max_size=50))
@example(["1a-2", "1preview-2", "1rc.-2", "1c1-2", "1b--2", "1-2", "1.0-2.dev3", "1a-r2"])
def test_flags_agree_with_packaging(given: list[str]) -> None:
    """For every text that may be a version; one that is none has no flag."""
    names = ("is_pep440", "is_prerelease", "is_postrelease", "is_devrelease")
    flags = ", ".join(RELEASES.columns[name][0] for name in names)
    query = f"SELECT {flags} FROM (SELECT unnest(?) AS version)"
    expected = [
        (True, found.is_prerelease, found.is_postrelease, found.is_devrelease)
        if (found := version(text))
        else (False,) * 4
        for text in given
    ]

    assert expected == connection.execute(query, [given]).fetchall()


def test_a_number_too_long_has_no_place() -> None:
    """Rather than a wrong one."""
    query = "SELECT version_key('1.' || repeat('9', 20)), version_key('1.' || repeat('9', 21))"
    [(long, longer)] = connection.execute(query).fetchall()

    assert long.endswith("p-~")
    assert longer is None
