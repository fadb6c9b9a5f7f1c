"""The journal: rows of the made-up history (made on demand) and those written since the start.

A row is `(display name, version or None, Unix seconds, action, serial)`, as XML-RPC has it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from upstream.standin.corpus import ROWS_EACH, Seedling, time_of
from upstream.standin.files import file_name
from upstream.standin.vocabulary import normalized

PAGE_ROWS_MAX = 50_000  # a call of changelog_since_serial answers no more


class Row(NamedTuple):
    """One journal row."""

    name: str
    version: str | None
    time: int
    action: str
    serial: int


class Journal:
    """All rows, by serial. Serials have gaps and never fall."""

    def __init__(self, seedlings: Sequence[Seedling]) -> None:
        self._seedlings = seedlings
        places = sorted(
            (serial, number * ROWS_EACH + step)
            for number, seedling in enumerate(seedlings)
            for step, serial in enumerate(seedling.serials)
        )
        self._old_serials = array("q", [serial for serial, _ in places])
        self._old_places = array("q", [place for _, place in places])
        self._rows: list[Row] = []
        self._times: list[float] = []  # when each of `_rows` was written, to the fraction

    @property
    def last_serial(self) -> int:
        """The newest serial given out."""
        if self._rows:
            return self._rows[-1].serial
        return self._old_serials[-1] if self._old_serials else 0

    def append(self, row: Row, written: float) -> None:
        """Write a row; its serial must be above all others."""
        if row.serial <= self.last_serial:
            message = f"serial {row.serial} is not above {self.last_serial}"
            raise ValueError(message)
        self._rows.append(row)
        self._times.append(written)

    def last_serial_at(self, moment: float) -> int:
        """The newest serial that was given out at `moment` (Unix seconds)."""
        place = bisect_right(self._times, moment)
        if place:
            return self._rows[place - 1].serial
        return self._old_serials[-1] if self._old_serials else 0

    def since(
        self, serial: int, limit: int | None = PAGE_ROWS_MAX, until: int | None = None
    ) -> list[Row]:
        """Rows with a serial > `serial` (and <= `until`), oldest first, at most `limit`."""
        start = bisect_right(self._old_serials, serial)
        end = len(self._old_serials)
        if limit is not None:
            end = min(end, start + limit)
        rows = [self._old_row(place) for place in range(start, end)]
        begin = bisect_right(self._rows, serial, key=lambda row: row.serial)
        stop = len(self._rows) if limit is None else begin + limit - len(rows)
        rows.extend(self._rows[begin:stop])
        if until is not None:
            del rows[bisect_right(rows, until, key=lambda row: row.serial) :]
        return rows

    def has(self, serial: int) -> bool:
        """Whether a row has this serial."""
        place = bisect_left(self._rows, serial, key=lambda row: row.serial)
        return place < len(self._rows) and self._rows[place].serial == serial

    def _old_row(self, place: int) -> Row:
        serial = self._old_serials[place]
        number, step = divmod(self._old_places[place], ROWS_EACH)
        seedling = self._seedlings[number]
        version, action = _old_action(seedling, step, number)
        # Serial order is not quite time order: some rows are a second older than the one before.
        return Row(
            seedling.display_name, version, time_of(serial) - (serial % 7 == 0), action, serial
        )


def _old_action(seedling: Seedling, step: int, number: int) -> tuple[str | None, str]:
    if step == 0:
        return None, "create"
    if seedling.status == "quarantined":
        return (
            (None, "project quarantined")
            if step == ROWS_EACH - 1
            else (seedling.version, "new release")
        )
    if not seedling.version:
        user = seedling.roles[0][1]
        return (None, f"add Owner {user}") if step == 1 else ("0.1", "remove release")
    if step == 1:
        return seedling.version, "new release"
    what = file_name(normalized(seedling.display_name), seedling.version, number % 2)
    return seedling.version, f"add {what.python_version} file {what.filename}"
