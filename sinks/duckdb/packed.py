"""Rows on their way from the process that made them to the one that has the DuckDB file open."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from schemas.records import Config
from sinks.duckdb.lines import Lines, lines_of
from sinks.duckdb.rows import Staged, staged
from sinks.duckdb.schema import CHANGELOG, TABLES
from streams.log import Record


class _Packed(msgspec.Struct, array_like=True):
    """`Staged` with the tables' names: whose rows go, what is lost, and all rows that come."""

    keys: dict[str, list[str]]
    lost: dict[str, dict[str, bytes | None]]
    lines: dict[str, Lines]


_TABLE_OF = {table.name: table for table in TABLES}
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Packed)


def packed(records: Sequence[Record], config: Config) -> bytes:
    """What `sinks.duckdb.rows.staged` makes of these records, for `unpacked`."""
    rows = staged(records, config)
    keys = {table.name: list(texts) for table, texts in rows.keyed.items() if texts}
    lost = {table.name: texts for table, texts in rows.lost.items() if texts}
    coming = [(table, lines_of(table, texts.items())) for table, texts in rows.keyed.items()]
    coming.append((CHANGELOG, lines_of(CHANGELOG, rows.added)))
    del rows  # 20 MB of texts: they are in the lines now
    lines = {table.name: each for table, each in coming if each is not None}
    return _encoder.encode(_Packed(keys, lost, lines))


def unpacked(data: bytes) -> Staged:
    """The rows again, as lines, which are views of `data`.

    Both ends are this program: raises msgspec.MsgspecError for anything else.
    """
    found, rows = _decoder.decode(data), Staged()
    rows.keyed.update({_TABLE_OF[name]: dict.fromkeys(keys) for name, keys in found.keys.items()})
    rows.lost.update({_TABLE_OF[name]: texts for name, texts in found.lost.items()})
    rows.lines = {_TABLE_OF[name]: lines for name, lines in found.lines.items()}
    return rows
