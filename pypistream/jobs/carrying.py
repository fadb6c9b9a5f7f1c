"""What a bootstrap loads from a dump's tables (journal, removed projects); its messages."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from producers.carried import Journal
from schemas.manifest import Manifest
from sinks.dump.reader import DumpReader
from sinks.exported import CARRIED_FILES
from sinks.removed import Removed


class Carried(NamedTuple):
    """`lacking`: what of it the dump does not have, for a person; "" = it has all."""

    journal: Journal | None
    removed: Iterable[Removed]
    lacking: str


_ANEW = "they begin anew here"
NO_TABLES = f"the dump has no tables of journal and removed projects: {_ANEW}"
NO_JOURNAL = "the dump does not say since when its journal is whole: it begins anew here"


def carried_with(dump: DumpReader, *, journal: bool = True) -> Carried:
    """What can be loaded from these tables, without the journal if that is not wanted.

    Checks the files it is to be read from, to their end. Raises DumpCorrupt.

    Reading them later may also raise DumpCorrupt, for a file that is no table of ours.
    """
    tables, files = dump.manifest.tables, dump.manifest.files
    there = all(name in files and (dump.directory / name).is_file() for name in CARRIED_FILES)
    if tables is None or not there:
        return Carried(None, (), NO_TABLES)
    for name in CARRIED_FILES:
        dump.check(name)
    from sinks.duckdb import carried  # a dump without tables needs no DuckDB

    removed = carried.removed(dump.directory)
    since, reached = tables.history_since, min(tables.reached, dump.manifest.reached)
    if not journal:
        return Carried(None, removed, "")
    if since is None:
        return Carried(None, removed, NO_JOURNAL)
    rows = carried.journal(dump.directory, since, reached)
    return Carried(Journal(rows, since, reached), removed, "")


def told_of(carried: Carried, rows: int) -> str:
    """What was loaded, `rows` of the journal, for a person; "" = nothing to report. Pure."""
    journal = carried.journal
    if carried.lacking or journal is None:
        return carried.lacking
    return f"journal: {rows:,} rows, those after serial {journal.since:,} up to {journal.reached:,}"


def summary(manifest: Manifest, written: int, same: int) -> str:
    """What was loaded, for a person. Pure."""
    text = (
        f"loaded {manifest.names:,} names of log {manifest.log}, {claim_of(manifest.watermark)}:"
        f" {written:,} records written"
    )
    if same:
        text += f", {same:,} were there"
    if owed := sum(manifest.exceptions.counts.values()):
        text += f"; {owed:,} names are still owed something, here as there"
    if manifest.watermark is None:
        text += "\nwithout a watermark it is not complete: `pypistream run --backfill` makes it so"
    return text


def next_steps(root: Path) -> str:
    """What may be done with a log that was loaded, for a person. Pure."""
    place = shlex.join(("--data", str(root)))
    return (
        f"next: `pypistream rebuild duckdb {place}` makes the DuckDB file of it, without asking"
        " upstream; `pypistream run` goes on from here"
    )


def claim_of(watermark: int | None) -> str:
    """A watermark, for a person. Pure."""
    return "no watermark" if watermark is None else f"watermark {watermark:,}"
