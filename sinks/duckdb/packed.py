"""Passes rows from the process that made them to the one that has the DuckDB file open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from schemas.records import Config
from schemas.topics import Topic
from sinks.duckdb.lines import Pen
from sinks.duckdb.rows import staged
from sinks.duckdb.schema import CHANGELOG, ROW_GROUP_ROWS, TABLES
from sinks.duckdb.staged import Staged, packed
from streams.log import Record

# A row group that a batch does not fill stays so: that made a quarter more of them, which took
# DuckDB a sixth more CPU. So batches are whole row groups, within these rows and bytes.
BATCH_ROWS_MAX = 16_384  # short ones: 2 or 3 MB
BATCH_BYTES_ENOUGH = 16 * 1024 * 1024  # then the batch ends with the next whole row group
BATCH_BYTES_MAX = 64 * 1024 * 1024  # then the batch ends at once
PIECE_RECORDS_MAX = 1_024  # made at once: 10 MB of records, 7 of rows


class Packer:
    """Collects the rows of one topic's records until they are a batch.

    The rows go into files in `aside`, an existing directory for this alone: `sinks.duckdb.lines`.
    """

    def __init__(self, config: Config, aside: Path) -> None:
        self._config = config
        self._pens = {table: Pen(table, aside / table.name) for table in TABLES}
        self._start()

    def _start(self) -> None:
        self.count = 0  # of records in the batch
        self._names: set[str] = set()
        self._rows = Staged()  # but for those that are in files

    @property
    def wanted(self) -> int:
        """How many records may come next; 0 = the batch is complete."""
        due = ROW_GROUP_ROWS - self.count % ROW_GROUP_ROWS
        written = max(pen.bytes for pen in self._pens.values())
        enough = written >= BATCH_BYTES_ENOUGH or self.count >= BATCH_ROWS_MAX
        if written >= BATCH_BYTES_MAX or (enough and due == ROW_GROUP_ROWS):
            return 0
        return min(due, PIECE_RECORDS_MAX)

    def add(self, records: Sequence[Record]) -> bool:
        """Make their rows; False = refused, since this batch has changed the same names already.

        Raises DiskFull or StorageFailed.
        """
        names = {each.key for each in records if each.key and each.topic is not Topic.CHANGELOG}
        if not names.isdisjoint(self._names):
            return False
        self._names |= names
        self.count += len(records)
        rows = staged(records, self._config)
        for table, texts in rows.keyed.items():
            self._pens[table].write(texts.items())
            going = (key for key, text in texts.items() if text is None)
            self._rows.keyed[table].update(dict.fromkeys(going))
        self._pens[CHANGELOG].write(rows.added)
        for table, texts in rows.lost.items():
            self._rows.lost[table].update(texts)
        return True

    def packed(self) -> bytes:
        """The batch as bytes, for `sinks.duckdb.staged.unpacked`; begins the next one."""
        files = {table: pen.file() for table, pen in self._pens.items()}
        self._rows.lines.update({table: each for table, each in files.items() if each is not None})
        made = packed(self._rows)
        self._start()
        return made
