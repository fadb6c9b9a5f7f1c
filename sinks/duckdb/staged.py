"""The effect of records on the DuckDB view's tables, and how it is folded, stored and passed on."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from schemas.codec import encode
from sinks.duckdb.lines import Lines
from sinks.duckdb.schema import KEYED, REMOVED_OF, TABLES, UNREADABLE, Table

Texts = dict[str, bytes | None]
"""Rows as JSON by their keys."""


@dataclass
class Staged:
    """The effect of a batch: per table the last text per key (None = only delete), and additions.

    `lost`: last rows of removed projects, from this batch; None = the file has the last one.
    `lines`: rows that were made elsewhere, whose keys are not in `keyed`.
    """

    keyed: dict[Table, Texts] = field(
        default_factory=lambda: {table: {} for table in (*KEYED, *REMOVED_OF.values())}
    )
    lost: dict[Table, Texts] = field(default_factory=lambda: {table: {} for table in REMOVED_OF})
    added: list[tuple[str, bytes]] = field(default_factory=list)  # of `changelog`
    lines: dict[Table, Lines] = field(default_factory=dict)

    def put(self, table: Table, key: str, row: msgspec.Struct) -> None:
        """Set the key's row."""
        self.keyed[table][key] = encode(row)

    def drop(self, table: Table, key: str) -> None:
        """Delete the key's row."""
        self.keyed[table][key] = None

    def hold(self, table: Table, key: str, row: msgspec.Struct) -> None:
        """Set the row in one of REMOVED_OF: its project exists."""
        self.put(table, key, row)
        self.drop(REMOVED_OF[table], key)
        self.lost[table].pop(key, None)

    def lose(self, table: Table, key: str, held: msgspec.Struct | None = None) -> None:
        """The project is removed: delete the key's row, which may be kept aside.

        `held` is what another instance knew of it.
        """
        text = encode(held) if held is not None else self.keyed[table].get(key)
        if text is not None or key not in self.keyed[table]:
            self.lost[table][key] = text
        self.drop(table, key)

    def most_keys(self) -> int:
        """How many rows of one table come or go at most, but for `lines` and notes."""
        keys = (len(texts) for table, texts in self.keyed.items() if table is not UNREADABLE)
        return max(len(self.added), *keys)


def folded(first: Staged, then: Staged) -> Staged:
    """The effect of both, one after the other; `first` has no `lines`. Pure."""
    assert not first.lines
    lost = {table: dict(texts) for table, texts in first.lost.items()}
    for table, texts in lost.items():
        for name in then.keyed[REMOVED_OF[table]]:  # the project is back
            texts.pop(name, None)
        held = first.keyed[table]
        for name, text in then.lost[table].items():
            if text is not None or name not in held:
                texts[name] = text
            elif held[name] is not None:
                texts[name] = held[name]
    keyed = {table: {**texts, **then.keyed[table]} for table, texts in first.keyed.items()}
    return Staged(keyed, lost, [*first.added, *then.added], dict(then.lines))


class _Packed(msgspec.Struct, array_like=True):
    """`Staged` by the tables' names, without those that have nothing."""

    keyed: dict[str, Texts]
    lost: dict[str, Texts]
    added: list[tuple[str, bytes]]
    lines: dict[str, Lines]


_TABLE_OF = {table.name: table for table in TABLES}
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Packed)


def packed(rows: Staged) -> bytes:
    """The rows as bytes, for `unpacked`."""
    keyed = {table.name: texts for table, texts in rows.keyed.items() if texts}
    lost = {table.name: texts for table, texts in rows.lost.items() if texts}
    lines = {table.name: each for table, each in rows.lines.items()}
    return _encoder.encode(_Packed(keyed, lost, rows.added, lines))


def unpacked(data: bytes) -> Staged:
    """The rows again.

    Both ends are this version of the program; raises msgspec.MsgspecError or KeyError for anything
    else.
    """
    found, rows = _decoder.decode(data), Staged()
    rows.keyed.update({_TABLE_OF[name]: texts for name, texts in found.keyed.items()})
    rows.lost.update({_TABLE_OF[name]: texts for name, texts in found.lost.items()})
    rows.added.extend(found.added)
    rows.lines.update({_TABLE_OF[name]: lines for name, lines in found.lines.items()})
    return rows
