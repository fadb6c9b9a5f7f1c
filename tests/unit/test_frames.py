"""Borders, sections and the array's text."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import pytest

from schemas.errors import DumpCorrupt
from sinks.dump import frames
from sinks.dump.frames import (
    Change,
    Line,
    array_text,
    ended_lines_of,
    is_border,
    latest,
    lines_of,
    merge,
    reopened,
)

MEAN = 128
BORDERS = [name for name in (f"b{i}" for i in range(5_000)) if is_border(name, MEAN)]
INNER = [name for name in (f"a{i}" for i in range(500)) if not is_border(name, MEAN)]


def in_batches(changes: list[Change], size: int) -> list[list[Change]]:
    return [changes[start : start + size] for start in range(0, len(changes), size)]


def sections(lines: Iterable[Change]) -> list[list[Line]]:
    made = list(merge([], lambda _: (), sorted(lines), MEAN))
    return [section for section in made if isinstance(section, list)]


def test_a_border_depends_on_the_name_alone_and_is_one_in_128() -> None:
    share = sum(is_border(f"name-{i}", MEAN) for i in range(100_000)) / 100_000

    assert 0.9 / MEAN < share < 1.1 / MEAN
    assert is_border(BORDERS[0], MEAN)


def test_known_borders_stay_where_they_are() -> None:
    """Moving them rewrites every frame of every dump, which a release note would have to say."""
    assert ["b206", "b320", "b485"] == BORDERS[:3]


def test_the_newest_source_wins_and_each_name_comes_once() -> None:
    newest: list[Change] = [("a", None), ("c", b"new")]
    oldest: list[Change] = [("a", b"old"), ("b", b"old"), ("c", b"old")]

    for size in (1, 2, 3):
        sources = [in_batches(each, size) for each in (newest, oldest)]
        assert [("a", None), ("b", b"old"), ("c", b"new")] == list(latest(sources))


def test_a_source_alone_is_as_it_is_and_none_is_nothing() -> None:
    only: list[Change] = [("a", None), ("b", b"b")]

    assert only == list(latest([[only]]))
    assert [] == list(latest([]))
    assert [] == list(latest([[], []]))


def test_untouched_sections_are_kept_by_number() -> None:
    """One change makes its own section anew, and loads no other."""
    names = sorted(BORDERS[:5])
    loaded = []

    def load(number: int) -> list[Line]:
        loaded.append(number)
        return [(names[number], b"old")]

    merged = list(merge(names, load, [(names[2], b"new")], MEAN))

    assert [0, 1, [(names[2], b"new")], 3, 4] == merged
    assert [2] == loaded


def test_removing_a_border_joins_its_section_to_the_one_before() -> None:
    first, second = sorted(BORDERS[:2])
    inner = f"{second}-inner"
    assert not is_border(inner, MEAN)
    old = [[(first, b"1")], [(second, b"2"), (inner, b"3")]]

    merged = list(merge([first, second], lambda n: old[n], [(second, None)], MEAN))

    assert [[(first, b"1"), (inner, b"3")]] == merged


def test_removing_all_of_the_first_section_leaves_the_second_as_it_is() -> None:
    first, second = sorted(BORDERS[:2])

    assert [1] == list(merge([first, second], lambda _: [(first, b"1")], [(first, None)], MEAN))


def test_a_name_before_the_first_joins_the_first_section_unless_that_begins_at_a_border() -> None:
    inner = [(INNER[1], b"1")]
    before = INNER[0]
    assert before < INNER[1]

    assert [[(before, b"0"), *inner]] == list(
        merge([INNER[1]], lambda _: inner, [(before, b"0")], MEAN)
    )

    border = BORDERS[0]
    merged = list(merge([border], lambda _: [(border, b"1")], [(before, b"0")], MEAN))
    assert [[(before, b"0")], [(border, b"1")]] == merged


def test_a_tombstone_for_an_unknown_name_changes_no_line() -> None:
    assert [] == list(merge([], lambda _: (), [("a", None)], MEAN))


def test_array_sections_differ_in_their_first_byte_only() -> None:
    opening, later = array_text([b"1", b"2"], opens=True), array_text([b"1", b"2"], opens=False)

    assert b"[\n1,\n2" == opening
    assert b",\n1,\n2" == later
    assert opening == reopened(later, opens=True)
    assert later == reopened(opening, opens=False)
    assert b"" == array_text([], opens=True)


def test_lines_are_whole_however_the_text_was_cut() -> None:
    text = b"one\n\nthree\n"
    for size in range(1, len(text) + 1):
        pieces = [text[i : i + size] for i in range(0, len(text), size)]

        assert [b"one", b"", b"three"] == list(lines_of(pieces))
        assert [b"one\n", b"\n", b"three\n"] == [*chain.from_iterable(ended_lines_of(pieces))]


def test_a_text_that_ends_within_a_line_is_refused() -> None:
    with pytest.raises(DumpCorrupt, match="within a line"):
        list(lines_of([b"one\ntw", b"o"]))


def test_a_line_without_end_is_refused_before_memory_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "LINE_BYTES_MAX", 10)

    with pytest.raises(DumpCorrupt, match="a line of over"):
        list(lines_of(b"xxx" for _ in range(10**9)))
