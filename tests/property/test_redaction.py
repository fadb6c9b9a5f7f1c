"""Left out while it is fetched, or from what was published: the same document, the same hash."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.content import renewed
from processors.trim import trim
from schemas.errors import Permanent
from schemas.names import NormalizedName
from schemas.redaction import FIELDS, OWNERSHIP, redacted
from tests.support.documents import Recorded, recorded

TEXTS = st.one_of(st.none(), st.text(max_size=20))
VALUES = st.recursive(TEXTS, lambda inner: st.lists(inner, max_size=2), max_leaves=3)
SOME_FIELDS = st.frozensets(st.sampled_from(sorted(FIELDS)), min_size=1)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Of today's shape or of another, with any of the fields as anything."""
    known = draw(st.frozensets(st.sampled_from(sorted(FIELDS - {OWNERSHIP}))))
    values = TEXTS if draw(st.booleans()) else VALUES  # texts alone take the quick path
    info = {field: draw(values) for field in sorted(known)}
    whole: dict[str, Any] = {
        "info": {"name": "foo", "version": "1.0", **info},
        "last_serial": draw(st.integers(0, 2**40)),
        "releases": {"1.0": [], "0.9": []},
        "urls": [],
    }
    if draw(st.booleans()):
        roles = [{"role": "Owner", "user": draw(st.text(max_size=5))}]
        whole["ownership"] = draw(st.sampled_from([None, {"roles": roles, "organization": None}]))
    return whole


@given(documents(), SOME_FIELDS)
def test_both_ways_lead_to_the_same(document: dict[str, Any], fields: frozenset[str]) -> None:
    """Bytes, hash, and that nothing changes where there is nothing to leave out."""
    assert_same(json.dumps(document).encode(), NormalizedName("foo"), fields)


@pytest.mark.parametrize("each", list(recorded()), ids=lambda each: each.file)
def test_also_for_documents_as_they_were_served(each: Recorded) -> None:
    """Of all years, and those that PyPI should never have served."""
    for fields in (FIELDS, frozenset({"author_email"})):
        assert_same(each.body, NormalizedName(each.asked), fields)


def assert_same(body: bytes, name: NormalizedName, fields: frozenset[str]) -> None:
    try:
        before = trim(body, name)
    except Permanent:
        return
    after = trim(body, name, left_out=fields)

    assert redacted(before.metadata, fields) == after.metadata
    assert renewed(before.metadata, after.metadata, before.releases, before.hash) == after.hash
    assert redacted(after.metadata, fields) is after.metadata
    left = json.loads(after.metadata)
    assert {left["info"].get(field) for field in fields} <= {None}
    assert OWNERSHIP not in fields or left.get(OWNERSHIP) is None
    same = before.metadata == after.metadata
    assert same == (before.hash == after.hash) == ("redacted" not in after.anomalies)
    assert after.releases == before.releases
