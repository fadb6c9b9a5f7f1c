"""The sink's own notes inside its file: where it stands, which cut that is, what is published."""

# ruff: noqa: S608  # what is put into SQL are names from this package, never values

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import msgspec

from schemas.codec import decode, encode
from schemas.records import Cut
from schemas.topics import Offset, Topic
from sinks.duckdb_schema import SCHEMA
from sinks.sink import Standing, Vector
from streams.log import TopicPartition

FORMAT, STANDING, CUT = "format", "standing", "cut"
PUBLISHED, PUBLISHED_MS = "published", "published_ms"
COMPACT_BYTES = "compact_bytes"


class _Place(msgspec.Struct, frozen=True):
    topic: Topic
    partition: int
    next: int


class _Standing(msgspec.Struct, frozen=True):
    log_id: str
    positions: tuple[_Place, ...]
    as_of_ms: int = 0


class _Vector(msgspec.Struct, frozen=True):
    log_id: str
    cuts: tuple[Cut | None, ...]


def recall(connection: duckdb.DuckDBPyConnection, key: str) -> str | None:
    """A note's text, None if there is none."""
    rows = connection.execute(f"SELECT value FROM {SCHEMA}.memo WHERE key = ?", [key]).fetchall()
    return rows[0][0] if rows else None


def remember(connection: duckdb.DuckDBPyConnection, notes: Mapping[str, str | None]) -> None:
    """Write notes; None forgets one."""
    for key, value in notes.items():
        if value is None:
            connection.execute(f"DELETE FROM {SCHEMA}.memo WHERE key = ?", [key])
        else:
            connection.execute(f"INSERT OR REPLACE INTO {SCHEMA}.memo VALUES (?, ?)", [key, value])


def standing_text(standing: Standing) -> str:
    """As a note."""
    places = tuple(_Place(*at, place) for at, place in standing.positions.items())
    return encode(_Standing(standing.log_id, places, standing.as_of_ms)).decode()


def standing_of(text: str | None) -> Standing:
    """The reverse. Raises LogCorrupt for what is none."""
    if text is None:
        return Standing("", {})
    note = decode(text.encode(), _Standing)
    places = {TopicPartition(at.topic, at.partition): Offset(at.next) for at in note.positions}
    return Standing(note.log_id, places, note.as_of_ms)


def vector_text(vector: Vector) -> str:
    """As a note."""
    return encode(_Vector(*vector)).decode()


def vector_of(text: str) -> Vector:
    """The reverse. Raises LogCorrupt for what is none."""
    note = decode(text.encode(), _Vector)
    return Vector(note.log_id, note.cuts)
