"""Releases and files as one row of lists."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.release_rows import SEPARATOR, document_releases, packed, release_row
from sinks.softly import Fields
from tests.support.view_records import document, file, slim


def raw(value: object) -> bytes:
    return json.dumps(value).encode()


def texts(text: str | None) -> list[str]:
    assert text is not None
    return text.split(SEPARATOR)


@given(st.lists(st.none() | st.text(), min_size=1))
def test_packed_texts_come_apart_again(several: list[str | None]) -> None:
    """As many as went in, each as it was, but for what is hostile."""
    assert [(text or "").replace(SEPARATOR, " ") for text in several] == texts(packed(several))


def test_no_texts_are_none() -> None:
    assert packed([]) is None


def test_files_and_releases_stand_side_by_side() -> None:
    """One element per file, one per release in upstream's order, totals beside."""
    wheel = file("a-2.0-py3-none-any.whl", size=7, **{"core-metadata": {"sha256": "c" * 64}})
    later = file("a-2.0.tar.gz", upload_time_iso_8601="2024-03-01T00:00:00Z", size=5)
    row = release_row(
        raw(slim("a", {"1.0": [], "2.0": [later, wheel]}, "2.0")),
        omitted=3,
    )

    assert ["1.0", "2.0"] == row.release_version
    assert [0, 2] == row.release_files
    assert [0, 12] == row.release_bytes
    assert [None, "2024-02-29T12:00:00.123456"] == row.release_uploaded
    assert ["2.0", "2.0"] == texts(row.version)
    assert ["", "c" * 64] == texts(row.core_metadata)
    assert (2, 2, 12, 3) == (row.release_count, row.file_count, row.bytes, row.omitted)
    assert ("2024-02-29T12:00:00.123456", "2024-03-01T00:00:00") == (
        row.first_uploaded,
        row.last_uploaded,
    )
    assert [] == row.anomalies


def test_a_release_is_yanked_if_it_has_files_and_all_are() -> None:
    yanked = {"yanked": True, "yanked_reason": "broken"}
    row = release_row(
        raw(
            slim(
                "a",
                {
                    "1": [file("a-1.tar.gz", **yanked)],
                    "2": [file("a-2.tar.gz", **yanked), file("a-2.whl")],
                    "3": [],
                },
                "2",
            )
        ),
        omitted=0,
    )

    assert [True, False, False] == row.release_yanked
    assert ["broken", None, None] == row.release_yanked_reason
    assert ["broken", "broken", ""] == texts(row.yanked_reason)


def test_usual_addresses_are_left_out_and_others_kept() -> None:
    usual, other = file("a-1.tar.gz"), file("a-1.whl", url="https://elsewhere.example.org/a-1.whl")
    none = file("a-1.egg", url=None)
    row = release_row(raw(slim("a", {"1": [usual, other, none]}, "1")), omitted=0)

    assert "https://files.example.org/packages" == row.url_base
    assert [None, "https://elsewhere.example.org/a-1.whl", ""] == row.url


def test_without_any_usual_address_all_are_kept() -> None:
    row = release_row(raw(slim("a", {"1": [file("a-1.whl", url="x", digests={})]}, "1")), omitted=0)

    assert (None, ["x"]) == (row.url_base, row.url)


def test_a_value_of_other_types_gives_what_is_usable_and_says_so() -> None:
    """One wrong field does not cost the project its files."""
    value = slim("a", {"1": [file("a-1.tar.gz", size="big"), 5]}, "1")  # type: ignore[list-item]  # hostile
    row = release_row(raw(value), omitted=0)

    assert row.filename == "a-1.tar.gz"
    assert [None] == row.size
    assert ["type:releases.1", "type:releases.*.size"] == row.anomalies


def test_both_ways_of_reading_agree() -> None:
    """The same row comes from the typed reader and from the one for anything."""
    value = slim("a", {"1": [file("a-1.tar.gz"), file("a-1.whl", yanked=True)], "2": []}, "1")
    typed = release_row(raw(value), omitted=0)
    loose = release_row(raw({**value, "display_name": None}), omitted=0)

    assert typed == loose


@pytest.mark.parametrize("value", [b"", b"{", b"\xff", b"[" * 3000, b"NaN"])
def test_what_is_not_json_raises(value: bytes) -> None:
    with pytest.raises((msgspec.MsgspecError, RecursionError, UnicodeError)):
        release_row(value, omitted=0)


def test_files_of_a_document_come_from_the_latest_release() -> None:
    """Where no `releases` topic is written; an old document may have them in `urls` only."""
    whole = Fields(document("a", "1.0"), "", [])
    row = document_releases(whole, "1.0", [])
    old = {**document("a", "1.0"), "releases": None}
    old_file = {"filename": "a-1.0.zip", "md5_digest": "m", "upload_time": "2015-01-01T00:00:00"}
    old_row = document_releases(Fields({**old, "urls": [old_file]}, "", []), "1.0", [])

    assert (["1.0"], "a-1.0.tar.gz") == (row.release_version, row.filename)
    assert ("a-1.0.zip", "m", ["2015-01-01T00:00:00"]) == (
        old_row.filename,
        old_row.md5,
        old_row.uploaded,
    )
