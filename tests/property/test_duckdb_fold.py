"""The view is the fold of the log, however its records are batched, repeated and interrupted."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.records import Status
from sinks.duckdb import batches
from streams.log import Outgoing
from tests.support.new_view import new_view
from tests.support.view_records import (
    document,
    entry,
    file,
    gone,
    metadata,
    read,
    releases,
    slim,
    state,
    tables,
    take,
)

EXAMPLES = 12  # each opens several databases
names = st.sampled_from(["a", "b", "c"])
versions = st.sampled_from(["1", "2", "3\0"])
outgoing: st.SearchStrategy[Outgoing] = st.one_of(
    st.builds(lambda name, version: metadata(name, document(name, version)), names, versions),
    st.builds(lambda name: metadata(name, b"no json"), names),
    st.builds(gone, names, st.sampled_from(["removed", "quarantined"])),
    st.builds(
        lambda name, version: releases(name, slim(name, {version: [file(name)]}, version)),
        names,
        versions,
    ),
    st.builds(state, names, st.sampled_from(list(Status))),
    st.builds(entry, names, st.integers(1, 9)),
)


@settings(max_examples=EXAMPLES)
@given(
    st.lists(outgoing, max_size=25),
    st.lists(st.tuples(st.integers(0, 25), st.integers(0, 3), st.booleans()), max_size=6),
)
def test_batches_repetitions_and_restarts_change_nothing(
    sent: list[Outgoing], cuts: list[tuple[int, int, bool]]
) -> None:
    """Same tables from one large batch as from small ones that overlap, with restarts between."""
    records = read(sent)
    with tempfile.TemporaryDirectory() as folder:
        whole, pieces = Path(folder) / "whole", Path(folder) / "pieces"
        view = new_view(whole)
        with mock.patch.object(batches, "FEW_ROWS", 0):  # by the way of large batches
            take(view, records)
        view.close()

        view = new_view(pieces)
        for end, repeat, restart in sorted(cuts):
            # `take` says positions of what it is given: everything up to the batch's end.
            for _ in range(repeat):
                take(view, records[:end])
            if restart:
                view.close()
        take(view, records)
        view.close()

        assert tables(whole / "state" / "live.duckdb") == tables(pieces / "state" / "live.duckdb")


@settings(max_examples=EXAMPLES)
@given(st.lists(outgoing, max_size=25))
def test_a_compacted_log_gives_the_same_tables(sent: list[Outgoing]) -> None:
    """Only the last record per key and topic matters (and every journal row)."""
    records = read(sent)
    last = {(each.topic, each.key): each.offset for each in records}
    compacted = [
        each
        for each in records
        if each.topic.value == "changelog" or last[each.topic, each.key] == each.offset
    ]
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for number, given_records in enumerate((records, compacted)):
            view = new_view(Path(folder) / str(number))
            take(view, given_records)
            view.close()
            found.append(tables(Path(folder) / str(number) / "state" / "live.duckdb"))

    assert found[0] == found[1]
