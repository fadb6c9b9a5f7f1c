"""What the view `releases` calls a pre-release is one."""

from __future__ import annotations

import duckdb
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import InvalidVersion, Version

from sinks.duckdb_public import RELEASES

PARTS = (
    "1 0.10 v1 2!1 . - _ a rc1 beta preview-2 c post1 -1 r2 rev dev .dev3 dev0 +local +1.a-b"
    " alpha A1 x"
)
parts = st.sampled_from([*PARTS.split(), " 1.0 ", "\n"])
expression = RELEASES.columns["is_prerelease"][0]
connection = duckdb.connect()


def is_prerelease(text: str) -> bool:
    """As packaging sees it; a text that is no version is none."""
    try:
        return Version(text).is_prerelease
    except InvalidVersion:
        return False


@given(st.lists(st.lists(parts, min_size=1, max_size=5).map("".join), min_size=1, max_size=50))
def test_it_agrees_with_packaging(texts: list[str]) -> None:
    """For every text that may be a version."""
    query = f"SELECT version, {expression} FROM (SELECT unnest(?) AS version)"
    found = connection.execute(query, [texts]).fetchall()

    assert [(text, is_prerelease(text)) for text in texts] == found
