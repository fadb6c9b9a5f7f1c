"""The notes about where a sink stands, which it keeps in its own file as JSON texts. Pure."""

from __future__ import annotations

import msgspec

from schemas.codec import decode, encode
from schemas.records import Cut
from schemas.topics import Offset, Topic
from sinks.sink import Standing, Vector
from streams.log import TopicPartition


class _Place(msgspec.Struct, frozen=True):
    topic: Topic
    partition: int
    next: int


class _Standing(msgspec.Struct, frozen=True):
    log_id: str
    positions: tuple[_Place, ...]
    as_of_ms: int = 0
    rules: int = 0


class _Vector(msgspec.Struct, frozen=True):
    log_id: str
    cuts: tuple[Cut | None, ...]


def standing_text(standing: Standing) -> str:
    """As a note."""
    places = tuple(_Place(*at, place) for at, place in standing.positions.items())
    rules = standing.rules or 0
    return encode(_Standing(standing.log_id, places, standing.as_of_ms, rules)).decode()


def standing_of(text: str | None) -> Standing:
    """The reverse. Raises LogCorrupt for what is none."""
    if text is None:
        return Standing("", {})
    note = decode(text.encode(), _Standing)
    places = {TopicPartition(at.topic, at.partition): Offset(at.next) for at in note.positions}
    return Standing(note.log_id, places, note.as_of_ms, note.rules)


def vector_text(vector: Vector) -> str:
    """As a note."""
    return encode(_Vector(*vector)).decode()


def vector_of(text: str) -> Vector:
    """The reverse. Raises LogCorrupt for what is none."""
    note = decode(text.encode(), _Vector)
    return Vector(note.log_id, note.cuts)
