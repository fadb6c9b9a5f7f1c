"""The view is the fold of the log, however its records are batched, repeated and interrupted."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.records import Status
from schemas.topics import COMPACTED
from sinks.duckdb import batches, intake
from sinks.duckdb.intake import Intake
from sinks.duckdb.rows import staged
from sinks.duckdb.staged import folded, packed, unpacked
from streams.log import Outgoing
from tests.support.new_view import new_view
from tests.support.view_records import (
    CONFIG,
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
    st.builds(gone, names, st.sampled_from(["removed", "quarantined"]), st.sampled_from(COMPACTED)),
    st.builds(
        lambda name, version: releases(name, slim(name, {version: [file(name)]}, version)),
        names,
        versions,
    ),
    st.builds(state, names, st.sampled_from(list(Status))),
    st.builds(entry, names, st.integers(1, 9)),
)
ends_of_lives = st.sampled_from(["", "closed", "killed"])


@settings(max_examples=500)
@given(
    st.lists(outgoing, min_size=6, max_size=25), st.floats(0, 1), st.sampled_from(["all", "latest"])
)
def test_batches_fold_as_their_records_do(sent: list[Outgoing], share: float, kept: str) -> None:
    """The effect of two batches is that of one, also after it was stored."""
    records = read(sent)
    config = msgspec.structs.replace(CONFIG, releases=kept)
    cut = round(len(records) * share)
    first, then = staged(records[:cut], config), staged(records[cut:], config)

    assert staged(records, config) == folded(first, then)
    assert first == unpacked(packed(first))


@settings(max_examples=EXAMPLES)
@given(
    st.lists(outgoing, max_size=25),
    st.lists(st.tuples(st.integers(0, 25), st.integers(0, 3), ends_of_lives), max_size=6),
)
def test_batches_repetitions_and_restarts_change_nothing(
    sent: list[Outgoing], cuts: list[tuple[int, int, str]]
) -> None:
    """Same tables from one large batch as from small ones that overlap, with restarts between."""
    records = read(sent)
    with tempfile.TemporaryDirectory() as folder:
        whole, pieces = Path(folder) / "whole", Path(folder) / "pieces"
        view = new_view(whole)
        # By the way of large batches.
        with (
            mock.patch.object(batches, "FEW_ROWS", 0),
            mock.patch.object(intake, "WAITING_ROWS_MAX", -1),
        ):
            take(view, records)
        view.close()

        view = new_view(pieces)
        for end, repeat, ended in sorted(cuts):
            # `take` says positions of what it is given: everything up to the batch's end.
            for _ in range(repeat):
                take(view, records[:end])
            if ended == "closed":
                view.close()
            elif ended == "killed":
                with mock.patch.object(Intake, "bring_in"):
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
