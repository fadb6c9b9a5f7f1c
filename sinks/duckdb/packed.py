"""Rows on their way from the process that made them to the one that has the DuckDB file open."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from schemas.records import Config
from sinks.duckdb.rows import Staged, staged
from sinks.duckdb.schema import TABLES, Table
from streams.log import Record

Texts = dict[str, bytes | None]


class _Packed(msgspec.Struct, array_like=True):
    """`Staged` with the tables' names, those without any text left out."""

    keyed: dict[str, Texts]
    lost: dict[str, Texts]
    added: list[tuple[str, bytes]]


_TABLE_OF = {table.name: table for table in TABLES}
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Packed)


def packed(records: Sequence[Record], config: Config) -> bytes:
    """What `sinks.duckdb.rows.staged` makes of these records, for `unpacked`."""
    rows = staged(records, config)
    return _encoder.encode(_Packed(_by_name(rows.keyed), _by_name(rows.lost), rows.added))


def unpacked(data: bytes) -> Staged:
    """The rows again. Both ends are this program: raises msgspec.MsgspecError for anything else."""
    found, rows = _decoder.decode(data), Staged()
    rows.keyed.update(_by_table(found.keyed))
    rows.lost.update(_by_table(found.lost))
    rows.added = found.added
    return rows


def _by_name(texts: dict[Table, Texts]) -> dict[str, Texts]:
    return {table.name: each for table, each in texts.items() if each}


def _by_table(texts: dict[str, Texts]) -> dict[Table, Texts]:
    return {_TABLE_OF[name]: each for name, each in texts.items()}
