"""Merging changes into kept frames gives the bytes that the result from nothing has."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from schemas.compression import compress_frames
from sinks.dump.frames import Change, Line, is_border, latest, merge, neighbours

MEAN = 8
LEAST, MOST = 6, 10
POOL = [f"n{i}" for i in range(80)]  # the hash of every second one says that a section may begin

lines = st.binary(max_size=6)
changes = st.dictionaries(st.sampled_from(POOL), st.none() | lines)
"""A few names."""


@st.composite
def whole_tables(draw: st.DrawFn) -> dict[str, bytes]:
    """All names but a few: several sections."""
    line, changed = draw(lines), draw(changes)
    table = {name: changed.get(name, line) for name in POOL}
    return {name: line for name, line in table.items() if line is not None}


tables = st.dictionaries(st.sampled_from(POOL), lines) | whole_tables()


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
    for before, section in pairwise(sections):
        assert LEAST <= len(before) <= MOST
        assert is_border(section[0][0], len(before), MEAN)
    for section in sections:
        assert not any(is_border(name, n, MEAN) for n, (name, _) in enumerate(section))


@given(whole_tables(), st.sampled_from(POOL), lines)
def test_a_changed_line_touches_its_section_alone(
    table: dict[str, bytes], name: str, line: bytes
) -> None:
    old = sections_of({**table, name: b"old"})
    firsts = [section[0][0] for section in old]
    merged = list(merge(firsts, lambda number: old[number], [(name, line)], MEAN))

    assert len(old) - sum(isinstance(section, int) for section in merged) == 1


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
