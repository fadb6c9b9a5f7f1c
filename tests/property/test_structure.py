"""Commas counted by their depth in the bytes of a JSON text are those of its values."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import hostile, structure
from schemas.errors import MalformedMetadata

TEXTS = st.text(alphabet='a\\",[]{}é\n', max_size=6)
VALUES = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=30,
)


def by_hand(value: Any, depth: int = 1) -> Counter[int]:
    """By the values themselves."""
    inner = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(inner, list):
        return Counter()
    found = Counter({depth: max(0, len(inner) - 1)})
    for each in inner:
        found += by_hand(each, depth + 1)
    return found


@given(VALUES, st.sampled_from([1, 2, 3, 7, 1_000]), st.booleans())
def test_the_bytes_tell_what_the_values_are(value: Any, chunk: int, escaped: bool) -> None:
    """However it is written and wherever it is cut."""
    text = json.dumps(value, ensure_ascii=escaped).encode()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(structure, "CHUNK_BYTES", chunk)
        found = [+each for each in structure.commas_by_depth(text)]

    assert found[-1] == +by_hand(value)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 9])
def test_too_much_near_the_top_is_refused(depth: int) -> None:
    """As many commas as are read pass, one more does not."""
    few, many = (
        b"[" * depth + b",".join([b"1234567"] * (commas + 1)) + b"]" * depth
        for commas in (hostile.SHALLOW_MAX, hostile.SHALLOW_MAX + 1)
    )

    hostile.refuse_bulk(few)
    with pytest.raises(MalformedMetadata) as caught:
        hostile.refuse_bulk(many)
    assert caught.value.reason == "too-many-values"


def test_what_lies_deep_may_be_more_where_there_is_more_above_it() -> None:
    """Twenty thousand files of twenty keys each: a real document of 20 MB."""
    file = b"{%b}" % b",".join([b'"a key of a file":1'] * 20)
    files = b",".join([file] * 20_000)

    hostile.refuse_bulk(b'{"info":{},"releases":{"1.0":[%b]}}' % files)
    hostile.refuse_bulk(b'{"info":{},"releases":{"1.0":[%b],"2.0":[%b]}}' % (files, files))


def test_escapes_without_end_cost_nothing() -> None:
    """Ten million backslashes, some of them between two chunks."""
    text = b'{"a":"%b"}' % (b"\\\\" * 5_000_000 + b'\\",[')

    assert +list(structure.commas_by_depth(text))[-1] == Counter()
