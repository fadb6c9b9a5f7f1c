"""Reads values of unreliable type: one of the wrong type becomes None, and is noted. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TypeVar

from schemas.records import SERIAL_MAX

T = TypeVar("T")

SECONDS_MAX = 253_402_300_799  # 9999-12-31T23:59:59Z, the last time that can be written
NOTES_MAX = 50  # of one record: more tell nothing new
NOTE_CHARACTERS_MAX = 100  # a key may be of any length
NOTHING = ("", "UNKNOWN")  # upstream's older spellings of null

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?")


class Fields:
    """The fields of a JSON object. `notes` collects `type:<field>` for values of the wrong type."""

    def __init__(self, value: object, where: str, notes: list[str]) -> None:
        self._notes = notes
        self._where = where
        self._fields: Mapping[str, object] = {}
        if isinstance(value, dict):
            self._fields = value
        elif value is not None:
            notes.append(f"type:{where.rstrip('.') or 'document'}")

    def _odd(self, key: str) -> None:
        note = f"type:{self._where}{key}"[:NOTE_CHARACTERS_MAX]
        if len(self._notes) < NOTES_MAX and note not in self._notes:
            self._notes.append(note)

    def raw(self, key: str) -> object:
        """The value unchanged."""
        return self._fields.get(key)

    def text(self, key: str) -> str | None:
        """A text that is not empty."""
        value = self._fields.get(key)
        if isinstance(value, str):
            return None if value in NOTHING else value
        if value is not None:
            self._odd(key)
        return None

    def flag(self, key: str) -> bool | None:
        """True, false or not known."""
        value = self._fields.get(key)
        if value is None or isinstance(value, bool):
            return value
        self._odd(key)
        return None

    def number(self, key: str) -> int | None:
        """A count or a serial."""
        value = self._fields.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= SERIAL_MAX:
            return value
        if value is not None:
            self._odd(key)
        return None

    def time(self, key: str) -> str | None:
        """A time in UTC, without a zone."""
        value = self.text(key)
        moment = moment_of(value)
        if value is not None and moment is None:
            self._odd(key)
        return moment

    def texts(self, key: str) -> list[str] | None:
        """A list of texts; other elements are left out."""
        return None if self._fields.get(key) is None else self._elements(key, str)

    def children(self, key: str, called: str | None = None) -> list[Fields]:
        """A list of objects; other elements are left out. `called`: how notes name its elements."""
        where = f"{self._where}{key if called is None else called}."
        return [Fields(each, where, self._notes) for each in self._elements(key, dict)]

    def child(self, key: str) -> Fields:
        """An object."""
        return Fields(self._fields.get(key), f"{self._where}{key}.", self._notes)

    def items(self) -> Iterable[tuple[str, object]]:
        """All keys with their values."""
        return self._fields.items()

    def _elements(self, key: str, kind: type[T]) -> list[T]:
        value = self._fields.get(key)
        listed = value if isinstance(value, list) else []
        kept = [each for each in listed if isinstance(each, kind)]
        if len(kept) < len(listed) or not (value is None or isinstance(value, list)):
            self._odd(key)
        return kept


def moment_of(text: str | None) -> str | None:
    """The time as ISO 8601 text in UTC that DuckDB reads, None if it is no time."""
    if text is None:
        return None
    bare = text.removesuffix("Z")
    if _TIME.fullmatch(bare) is None:
        return None
    try:
        datetime.fromisoformat(bare)
    except ValueError:  # the 30th of February
        return None
    return bare


def moment(unix_seconds: float) -> str | None:
    """The same for a datetime."""
    if not 0 <= unix_seconds <= SECONDS_MAX:
        return None
    return datetime.fromtimestamp(unix_seconds, UTC).replace(tzinfo=None).isoformat()
