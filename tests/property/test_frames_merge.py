"""Merging changes into kept frames gives the bytes that the result from nothing has."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from schemas.compression import compress_frames
from sinks.dump.frames import Change, Line, is_border, latest, merge, neighbours

# Borders are one name in 128: drawn from both kinds, so that small tables have several sections.
MEAN = 128
NAMES = [f"n{i}" for i in range(4_000)]
POOL = [n for n in NAMES if is_border(n, MEAN)][:24] + [n for n in NAMES if not is_border(n, MEAN)][
    :60
]

tables = st.dictionaries(st.sampled_from(POOL), st.binary(max_size=6))
changes = st.dictionaries(st.sampled_from(POOL), st.none() | st.binary(max_size=6))


def sections_of(table: dict[str, bytes]) -> list[list[Line]]:
    made = merge([], lambda _: (), sorted(table.items()), MEAN)
    return [section for section in made if isinstance(section, list)]


def rendered(sections: Iterable[list[Line]]) -> list[bytes]:
    return [compress_frames(b"".join(line for _, line in section), 3) for section in sections]


def merged_into(old: list[list[Line]], changed: list[Change]) -> list[list[Line]]:
    firsts = [section[0][0] for section in old]
    merged = merge(firsts, lambda number: old[number], changed, MEAN)
    return [old[section] if isinstance(section, int) else section for section in merged]


@given(tables, changes)
def test_merging_into_frames_equals_making_frames_of_the_merged(
    table: dict[str, bytes], changed: dict[str, bytes | None]
) -> None:
    """merge(frames(a), changes) == frames(apply(a, changes)): sections split, join, come and go."""
    merged = merged_into(sections_of(table), sorted(changed.items()))
    result = {name: line for name, line in {**table, **changed}.items() if line is not None}

    assert rendered(sections_of(result)) == rendered(merged)


@given(tables)
def test_sections_begin_at_borders_and_nowhere_else(table: dict[str, bytes]) -> None:
    sections = sections_of(table)

    assert sorted(table.items()) == [line for section in sections for line in section]
    for number, section in enumerate(sections):
        assert number == 0 or is_border(section[0][0], MEAN)
        assert not any(is_border(name, MEAN) for name, _ in section[1:])


@given(tables, st.sampled_from(POOL), st.none() | st.binary(max_size=6))
def test_one_change_touches_at_most_its_section_and_the_one_before(
    table: dict[str, bytes], name: str, line: bytes | None
) -> None:
    old = sections_of(table)
    firsts = [section[0][0] for section in old]
    merged = list(merge(firsts, lambda number: old[number], [(name, line)], MEAN))

    assert len(old) - sum(isinstance(section, int) for section in merged) <= 2


@given(tables, changes)
def test_kept_neighbours_are_told_together_and_nothing_else_differs(
    table: dict[str, bytes], changed: dict[str, bytes | None]
) -> None:
    old = sections_of(table)
    firsts = [section[0][0] for section in old]
    merged = list(merge(firsts, lambda number: old[number], sorted(changed.items()), MEAN))
    together = list(neighbours(merged))

    taken_apart: list[int | list[Line]] = []
    for part in together:
        taken_apart += part if isinstance(part, range) else [part]
    assert taken_apart == merged
    for before, after in pairwise(together):
        assert isinstance(before, list) or isinstance(after, list) or before.stop < after.start


@given(st.lists(st.tuples(changes, st.integers(1, 5)), max_size=6))
def test_the_newest_change_of_each_name_wins_however_the_sources_are_cut(
    sources: list[tuple[dict[str, bytes | None], int]],
) -> None:
    """As in a table that takes the sources in, the oldest first; in name order."""
    cut = []
    table: dict[str, bytes | None] = {}
    for changed, size in sources:
        rows = sorted(changed.items())
        cut.append([rows[start : start + size] for start in range(0, len(rows), size)])
    for changed, _ in reversed(sources):
        table |= changed

    assert sorted(table.items()) == list(latest(cut))
