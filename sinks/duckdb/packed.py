"""Passes rows from the process that made them to the one that has the DuckDB file open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from schemas.records import Config
from schemas.topics import Topic
from sinks.duckdb.lines import Lines, Pen
from sinks.duckdb.rows import Staged, staged
from sinks.duckdb.schema import CHANGELOG, ROW_GROUP_ROWS, TABLES, Table
from streams.log import Record

# A row group that a batch does not fill stays so: that made a quarter more of them, which took
# DuckDB a sixth more CPU. So batches are whole row groups, within these rows and bytes.
BATCH_ROWS_MAX = 16_384  # short ones: 2 or 3 MB
BATCH_BYTES_ENOUGH = 16 * 1024 * 1024  # then the batch ends with the next whole row group
BATCH_BYTES_MAX = 64 * 1024 * 1024  # then the batch ends at once
PIECE_RECORDS_MAX = 1_024  # made at once: 10 MB of records, 7 of rows


class _Packed(msgspec.Struct, array_like=True):
    """`Staged` by table names: keys whose rows go, lost rows, and files with those that come.

    `keys` does not include rows that come.
    """

    keys: dict[str, list[str]]
    lost: dict[str, dict[str, bytes | None]]
    lines: dict[str, Lines]


_TABLE_OF = {table.name: table for table in TABLES}
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Packed)


class Packer:
    """Collects the rows of one topic's records until they are a batch.

    The rows go into files in `aside`, an existing directory for this alone: see `unpacked`.
    """

    def __init__(self, config: Config, aside: Path) -> None:
        self._config = config
        self._pens = {table: Pen(table, aside / table.name) for table in TABLES}
        self._start()

    def _start(self) -> None:
        self.count = 0  # of records in the batch
        self._names: set[str] = set()
        self._keys: dict[str, list[str]] = {}
        self._lost: dict[str, dict[str, bytes | None]] = {}

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
            going = [key for key, text in texts.items() if text is None]
            if going:
                self._keys.setdefault(table.name, []).extend(going)
        self._pens[CHANGELOG].write(rows.added)
        for table, texts in rows.lost.items():
            if texts:
                self._lost.setdefault(table.name, {}).update(texts)
        return True

    def packed(self) -> bytes:
        """The batch as bytes, for `unpacked`; begins the next one."""
        files = {table.name: pen.file() for table, pen in self._pens.items()}
        lines = {name: each for name, each in files.items() if each is not None}
        made = _encoder.encode(_Packed(self._keys, self._lost, lines))
        self._start()
        return made


def unpacked(data: bytes) -> Staged:
    """The batch again, with new rows as files.

    Both ends are this program; raises msgspec.MsgspecError for anything else.
    """
    found, rows = _decoder.decode(data), Staged()
    rows.keyed.update({_TABLE_OF[name]: dict.fromkeys(keys) for name, keys in found.keys.items()})
    rows.lost.update({_TABLE_OF[name]: texts for name, texts in found.lost.items()})
    lines: dict[Table, Lines] = {_TABLE_OF[name]: each for name, each in found.lines.items()}
    rows.lines = lines
    return rows
