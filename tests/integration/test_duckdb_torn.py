"""A checkpoint that is killed between two pages of a block (ADR 031).

For each block that a checkpoint writes over: the file as it was before, but for the first page that
changes in that block, with the write-ahead log that was there.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

from sinks.duckdb.copying import HEADER_BYTES
from sinks.duckdb.snapshot import wal_of
from sinks.duckdb.view import DuckDBView
from tests.support.view_killed import PUBLISH_EVERY, batches
from tests.support.view_left import opened
from tests.support.view_records import live, query, reach, take

BLOCK_BYTES = 256 * 1024  # DuckDB's default, which the file has
PAGE_BYTES = 4096  # of the system: a kill ends a write between two of them
CHECKPOINTS = 6


def test_a_torn_checkpoint_is_harmless_or_refused(tmp_path: Path) -> None:
    """All rows are there, or a sum does not match and the sink builds the file anew by itself.

    If nothing is refused any more, DuckDB has stopped writing in place: then `view_left.opened` and
    the kill loops have an exception too many.
    """
    outcomes = set()
    for number, (torn, place) in enumerate(torn_files(tmp_path / "whole")):
        root = tmp_path / f"torn-{number}"
        live(root).parent.mkdir(parents=True)
        live(root).write_bytes(torn)
        shutil.copy(wal_of(live(tmp_path / "before")), wal_of(live(root)))

        left = opened(root, place)
        outcomes.add(left.anew)
        assert place == left.place
        serials = query(live(root), "SELECT serial FROM base.changelog ORDER BY serial")
        assert list(range(1, place + 1)) == [row["serial"] for row in serials]

    assert {False, True} == outcomes


def torn_files(root: Path) -> Iterator[tuple[bytes, int]]:
    """Torn files, each with the number of records that it and its log held.

    Beside `root` lies in `before` what the directory held before the checkpoint.
    """
    view = DuckDBView.in_directory(root)
    before = root.parent / "before"
    for end, records in itertools.islice(batches(0), CHECKPOINTS * 5):
        take(view, records)
        reach(view, end)
        if end % PUBLISH_EVERY == 0:
            shutil.rmtree(before, ignore_errors=True)
            shutil.copytree(root / "state", before / "state")
            old = live(before).read_bytes()
            view.publish(end)
            for torn in torn_blocks(old, live(root).read_bytes()):
                yield torn, end
    view.close()


def torn_blocks(old: bytes, new: bytes) -> Iterator[bytes]:
    """`old` with the first changed page of one block of `new`, for each that several change in."""
    for start in range(HEADER_BYTES, min(len(old), len(new)), BLOCK_BYTES):
        pages = [slice(at, at + PAGE_BYTES) for at in range(start, start + BLOCK_BYTES, PAGE_BYTES)]
        changed = [page for page in pages if old[page] != new[page]]
        if len(changed) > 1:
            page = changed[0]
            yield old[: page.start] + new[page] + old[page.stop :]
