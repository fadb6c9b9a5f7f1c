"""Indexes of any age, one after the other: every change once, and none is passed over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from producers.index_changes import changes_of, shown_by_index
from schemas.records import EventSource, Head
from upstream.source import ProjectSerial, SerialMap

BASE = 5
NAMES = ("a", "B.c", "b-d", "e")
looks = st.lists(
    st.tuples(
        st.lists(st.sampled_from(NAMES), max_size=6),  # what changes, one serial each
        st.integers(0, 4),  # how far the index's own serial lags behind the serials in it
        st.integers(1, 3),  # rows of one transaction
        st.integers(0, 5),  # transactions until it is ended; then the same index comes again
    ),
    max_size=8,
)


@given(looks)
def test_every_change_is_an_event_once(moves: list[tuple[list[str], int, int, int]]) -> None:
    """Whatever an index shows above the head is told, in rising order, and never again."""
    serials: dict[str, int] = {}
    newest = BASE
    head = Head(BASE, BASE, 1, (0,))
    told: list[tuple[str, int]] = []
    for changed, lag, size, ends_after in moves:
        for name in changed:
            newest += 1
            serials[name] = newest
        lines = [ProjectSerial(name, serial) for name, serial in serials.items()]
        index = SerialMap(max(BASE, newest - lag), "", lines)
        for left in (ends_after, len(NAMES) + 1):  # ended in between, then begun again
            before = head.serial
            changes = changes_of(index, head)
            chunks = [changes[at : at + size] for at in range(0, len(changes), size)] or [[]]
            for number, chunk in enumerate(chunks[:left]):
                reached = max(index.last_serial, before)
                head = shown_by_index(head, chunk, reached, last=number == len(chunks) - 1)
                told += [(each.name, each.serial) for each in chunk]
                assert head.serial >= before
                assert all(serial > head.serial for serial in head.ahead.values())
        assert head.serial >= index.last_serial
        assert head.source is EventSource.INDEX
        assert set(serials.items()) <= set(told)

    assert len(told) == len(set(told))
