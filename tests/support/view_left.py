"""What a kill left of the live DuckDB file, opened as the sink's feed opens it.

A checkpoint of DuckDB writes its metadata blocks in place. A kill between two pages of such a write
leaves a block with a wrong checksum, and the file is refused; the feed has it built anew (ADR 031).
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import NamedTuple

import duckdb

from schemas.errors import ViewCorrupt
from sinks.duckdb.view import DuckDBView
from tests.support.view_killed import JOURNAL, batches
from tests.support.view_records import reach, take

TORN = "computed checksum"  # of a block; a file that is refused for another reason is a violation


class Left(NamedTuple):
    """Up to where the live file has the records, and whether it had to be built anew for that."""

    place: int
    anew: bool


def opened(root: Path, acknowledged: int) -> Left:
    """Open and close what was left in `root`, built anew from the records if a block is torn."""
    view = DuckDBView.in_directory(root)
    try:
        place = view.standing().positions.get(JOURNAL, 0)
        anew = False
    except ViewCorrupt as error:
        if TORN not in str(error):
            raise
        place, anew = _built_anew(view, max(acknowledged, _published(root))), True
    view.close()
    return Left(place, anew)


def _built_anew(view: DuckDBView, end: int) -> int:
    """Reset, and all records up to `end`, where the log ended: what a feed does."""
    view.reset()
    for place, records in itertools.takewhile(lambda batch: batch[0] <= end, batches(0)):
        take(view, records)
        reach(view, place)
    return end


def _published(root: Path) -> int:
    """How many records a reader sees."""
    snapshot = root / "pypi.duckdb"
    if not snapshot.exists():
        return 0
    with duckdb.connect(str(snapshot), read_only=True) as connection:
        [(count,)] = connection.execute("SELECT count(*) FROM base.changelog").fetchall()
    return int(count)
