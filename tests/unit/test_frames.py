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

MEAN = 16
LEAST, MOST = 12, 20
NAMES = [f"n{i:04}" for i in range(160)]


def in_batches(changes: list[Change], size: int) -> list[list[Change]]:
    return [changes[start : start + size] for start in range(0, len(changes), size)]


def sections(lines: Iterable[Change]) -> list[list[Line]]:
    made = list(merge([], lambda _: (), sorted(lines), MEAN))
    return [section for section in made if isinstance(section, list)]


def test_a_border_is_where_the_hash_says_so_neither_too_soon_nor_too_late() -> None:
    border = next(name for name in NAMES if is_border(name, LEAST, MEAN))
    silent = next(name for name in NAMES if not is_border(name, LEAST, MEAN))

    assert [False, True, True] == [is_border(border, n, MEAN) for n in (LEAST - 1, LEAST, MOST)]
    assert [False, False, True] == [is_border(silent, n, MEAN) for n in (LEAST, MOST - 1, MOST)]


def test_sections_have_about_as_many_lines_as_was_asked_for() -> None:
    lengths = [len(each) for each in sections((f"name-{i}", b"") for i in range(100_000))]

    assert min(lengths[:-1]) == LEAST
    assert max(lengths) == MOST
    assert 0.9 * MEAN < sum(lengths) / len(lengths) < 1.1 * MEAN


def test_known_borders_stay_where_they_are() -> None:
    """Moving them makes every frame of every dump anew: that is another value of BORDERS."""
    made = merge([], lambda _: (), [(f"n{i:04}", b"") for i in range(600)], 128)

    assert frames.BORDERS == 2
    assert ["n0000", "n0142", "n0238", "n0357", "n0479"] == [
        section[0][0] for section in made if isinstance(section, list)
    ]


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


class Merged:
    """What becomes of a table of five sections, and which of these were read for it."""

    def __init__(self, *changes: Change) -> None:
        self.loaded: list[int] = []
        firsts = [section[0][0] for section in OLD]
        self.made = list(merge(firsts, self._load, sorted(changes), MEAN))

    def _load(self, number: int) -> list[Line]:
        self.loaded.append(number)
        return OLD[number]

    @property
    def sections(self) -> list[list[Line]]:
        return [OLD[each] if isinstance(each, int) else each for each in self.made]


OLD = sections((name, b"old") for name in NAMES[::2])[:5]
LINES = dict(chain.from_iterable(OLD))


def test_untouched_sections_are_kept_by_number() -> None:
    """One change makes its own section anew, and loads no other."""
    name = OLD[2][3][0]
    merged = Merged((name, b"new"))

    assert [0, 1, sorted({**dict(OLD[2]), name: b"new"}.items()), 3, 4] == merged.made
    assert [2] == merged.loaded


def test_a_section_without_its_first_line_goes_on_with_the_one_before() -> None:
    first = OLD[2][0][0]
    merged = Merged((first, None))

    assert {name: line for name, line in LINES.items() if name != first} == dict(
        chain.from_iterable(merged.sections)
    )
    assert sections(chain.from_iterable(merged.sections)) == merged.sections
    assert merged.made[0] == 0
    assert [2, 1] == merged.loaded[:2]


def test_a_new_name_moves_borders_until_one_is_met_again() -> None:
    """With sections cut at most at a length, the next one's beginning may not be a border now."""
    new = [Merged((f"{name}-a", b"new")) for name in LINES]

    for merged in new:
        assert sections(chain.from_iterable(merged.sections)) == merged.sections
    assert max(len(merged.loaded) for merged in new) > 1
    assert sum(len(merged.loaded) for merged in new) < 2 * len(new)


def test_removing_all_of_the_first_section_leaves_the_second_as_it_is() -> None:
    assert [1, 2, 3, 4] == Merged(*((name, None) for name, _ in OLD[0])).made


def test_a_name_before_the_first_joins_the_first_section() -> None:
    merged = Merged(("m", b"new"))

    assert ("m", b"new") == merged.sections[0][0]
    assert sections(chain.from_iterable(merged.sections)) == merged.sections


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
