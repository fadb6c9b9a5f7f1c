"""Takes batches into an open file, where small ones wait until the tables get several at once.

Of a batch that changes a hundred projects of all of PyPI the tables took four fifths of the time:
each an index, a row group and a piece of the WAL. So a small batch is stored as it is, as one value
beside its position. In memory what waits is folded into one batch. The tables get it before they
are read (`bring_in`), or with the batch that makes it many rows.
"""

# ruff: noqa: S608  # what is put into SQL are names from this package, never values

from __future__ import annotations

import duckdb
import msgspec
import structlog

from schemas.errors import LogCorrupt
from sinks.duckdb import batches, memo
from sinks.duckdb.errors import first_line
from sinks.duckdb.schema import WAITING
from sinks.duckdb.staged import Staged, folded, packed, unpacked

# Of one table, come or gone. A publication brings so many in first: 0.1 s of the second that the
# stream may stop for it, most of which the checkpoint takes.
WAITING_ROWS_MAX = 256
WAITING_BYTES_MAX = 8 * 1024 * 1024  # 100 projects have 0.7 MB; they are in memory twice

log_ = structlog.get_logger("sinks.duckdb")


class Intake:
    """The tables of an open file and what waits for them; `keep`: one of KEEP_REMOVED."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, keep: str) -> None:
        """Raise LogCorrupt if what waits cannot be read."""
        self._connection = connection
        self._keep = keep
        self.standing = memo.recall(connection, memo.STANDING)  # a note: after all that was taken
        self._rows = Staged()  # what waits, folded
        self._count = self._bytes = 0
        self.measure()
        kept = f"SELECT rows, standing FROM {WAITING.path} ORDER BY place"
        stored = connection.execute(kept).fetchall()
        try:
            for data, standing in stored:
                self._wait(folded(self._rows, unpacked(data)), len(data), standing)
        except (msgspec.MsgspecError, KeyError) as error:
            raise LogCorrupt(f"what waits for the tables cannot be read: {error}") from error

    def measure(self) -> None:
        """Learn the tables' lengths; to be called after somebody else has written to them."""
        self._lengths = batches.lengths_of(self._connection)

    def take(self, rows: Staged, standing: str) -> None:
        """One transaction: the rows, and a note of where the view stands after them.

        Raises duckdb.Error; then neither is there.
        """
        every = folded(self._rows, rows)
        data = b"" if rows.lines or every.most_keys() > WAITING_ROWS_MAX else packed(rows)
        if not data or self._bytes + len(data) > WAITING_BYTES_MAX:
            self._write(every, standing)
            return
        given = [self._count, data, standing]
        self._connection.execute(f"INSERT INTO {WAITING.path} VALUES (?, ?, ?)", given)
        self._wait(every, len(data), standing)

    def bring_in(self) -> None:
        """Everything that waits into the tables. Raises duckdb.Error; then it still waits."""
        if self._count:
            self._write(self._rows, self.standing)

    def _write(self, rows: Staged, standing: str | None) -> None:
        def also() -> None:
            if self._count:
                self._connection.execute(f"DELETE FROM {WAITING.path}")
            memo.remember(self._connection, {memo.STANDING: standing})

        given = (self._keep, self._lengths, also)
        try:
            batches.write(self._connection, rows, *given)
        except batches.ROW_REFUSED as error:
            self._connection.rollback()
            log_.warning("a batch was refused, its rows are tried singly", error=first_line(error))
            batches.write(self._connection, batches.sifted(self._connection, rows), *given)
        self._rows, self._count, self._bytes = Staged(), 0, 0
        self.standing = standing

    def _wait(self, rows: Staged, size: int, standing: str) -> None:
        self._rows, self.standing = rows, standing
        self._count += 1
        self._bytes += size
