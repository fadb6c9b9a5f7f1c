"""What is written is what is read, for any value a record can have."""

from __future__ import annotations

import string
from datetime import datetime
from typing import get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import records
from schemas.codec import Envelope, decode, encode, headers, rfc3339
from schemas.names import normalize
from schemas.topics import partition_of

RECORDS = sorted(
    (t for t in vars(records).values() if isinstance(t, type) and issubclass(t, msgspec.Struct)),
    key=lambda t: t.__name__,
)
SERIALS = st.integers(0, 2**63 - 1)
SECONDS = st.floats(0, 2**31, allow_nan=False)  # periods; settings refuse what has no end
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)  # no lone surrogates
NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,30}[A-Za-z0-9])?", fullmatch=True)


def values_of(record_type: type[msgspec.Struct]) -> st.SearchStrategy[msgspec.Struct]:
    """Any value of the type, serials up to 63 bits, texts with anything UTF-8 can hold."""
    st.register_type_strategy(int, SERIALS)
    st.register_type_strategy(str, TEXTS)
    st.register_type_strategy(float, SECONDS)
    hints = get_type_hints(record_type)
    return st.builds(record_type, **{name: st.from_type(hint) for name, hint in hints.items()})


@pytest.mark.parametrize("record_type", RECORDS, ids=lambda t: t.__name__)
@given(data=st.data())
def test_decode_is_the_reverse_of_encode(
    record_type: type[msgspec.Struct], data: st.DataObject
) -> None:
    """Each record type survives the wire unchanged, and encodes to the same bytes again."""
    value = data.draw(values_of(record_type))
    raw = encode(value)

    assert value == decode(raw, record_type)
    assert raw == encode(decode(raw, record_type))
    assert b"\n" not in raw


@given(serial=SERIALS, stale=st.booleans(), reason=TEXTS.filter(bool))
def test_headers_are_utf8_and_appear_once(serial: int, stale: bool, reason: str) -> None:
    """Whatever an envelope holds, each header is there once and reads back as text."""
    envelope = Envelope(
        id="1", type="t", subject="s", time=0, dataschema="x",
        serial=serial, stale=stale, reason=reason,
    )  # fmt: skip
    pairs = headers(envelope)
    texts = {name: value.decode() for name, value in pairs}

    assert len(texts) == len(pairs)
    assert serial == int(texts["serial"])
    assert stale == (texts["stale"] == "true")
    assert reason == texts["reason"]


@given(milliseconds=st.integers(0, 4_102_444_800_000))  # until 2100
def test_times_keep_their_milliseconds(milliseconds: int) -> None:
    """RFC 3339 text reads back as the same millisecond."""
    moment = datetime.fromisoformat(rfc3339(milliseconds / 1_000))

    assert milliseconds == round(moment.timestamp() * 1_000)


@given(name=NAMES)
def test_a_normal_form_is_stable(name: str) -> None:
    """Normalising twice is normalising once, so a key can be asked for under its own name."""
    once = normalize(name)

    assert once == normalize(once)
    assert set(once) <= set(string.ascii_lowercase + string.digits + "-")


@given(name=NAMES, partitions=st.integers(1, 64))
def test_a_spelling_does_not_move_a_project(name: str, partitions: int) -> None:
    """All spellings of a project share a partition: the partition is that of the normal form."""
    spelled = name.swapcase().replace("-", "_")
    partition = partition_of(normalize(name), partitions)

    assert partition == partition_of(normalize(spelled), partitions)
    assert 0 <= partition < partitions
