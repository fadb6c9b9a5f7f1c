"""The difference between upstream's serial map and the log. Pure.

It is computed for all of PyPI at once. To save memory, names are numbered by their lines in the
map, what is known of a line is stored under its number, and asks are made only when they are
written.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, overload

import msgspec

from schemas import codec
from schemas.errors import InvalidName
from schemas.filters import kept
from schemas.names import NormalizedName, normalize
from schemas.records import Ask, Filter, Reason, State
from schemas.topics import partition_of
from upstream.listing import Listing
from upstream.source import ProjectSerial, SerialMap


class Order(StrEnum):
    """Which asks of a partition come first."""

    NEWEST = "newest"
    NAME = "name"


@dataclass(frozen=True)
class Scope:
    """The names that a run compares. `rule` narrows the log's own filter; None = that filter.

    `changed_since`: only names whose serial in the map is above it; names that the map lacks are
    not compared then. A run with either proves nothing for the watermark (see BackfillMarker).
    """

    reason: Reason
    rule: Filter | None = None
    changed_since: int | None = None
    order: Order = Order.NEWEST


class Gone(ProjectSerial, frozen=True, gc=False):
    """A project that is published here and not in the map, with the serial of its event."""


class Plan(NamedTuple):
    """One partition's difference, in the order of asking.

    `names` is how many names of the scope the map has here; `known` of them need no ask.
    """

    wanted: Sequence[ProjectSerial]
    names: int
    known: int


def ask_for(wanted: ProjectSerial, reason: Reason, map_serial: int) -> tuple[NormalizedName, Ask]:
    """The ask for one entry of a plan, and the name it goes under."""
    gone = isinstance(wanted, Gone)
    return normalize(wanted.name), Ask(wanted.name, reason, wanted.serial, map_serial, gone=gone)


class Wanted(Sequence[ProjectSerial]):
    """The wanted lines of a map, and names it lacks, as numbers: a backfill wants all."""

    def __init__(self, lines: Listing, gone: Sequence[Gone], places: array[int]) -> None:
        self._lines = lines
        self._gone = gone
        self._places = places  # beyond the lines: among `gone`

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, at: int) -> ProjectSerial: ...

    @overload
    def __getitem__(self, at: slice) -> list[ProjectSerial]: ...

    def __getitem__(self, at: int | slice) -> ProjectSerial | list[ProjectSerial]:
        if isinstance(at, slice):
            return [self._line(place) for place in self._places[at]]
        return self._line(self._places[at])

    def sort(self, order: Order) -> None:
        """Sort by the order of asking."""
        newest = order is Order.NEWEST
        key = self._serial if newest else self._name
        self._places = array("I", sorted(self._places, key=key, reverse=newest))

    def _line(self, place: int) -> ProjectSerial:
        behind = place - len(self._lines)
        return self._lines[place] if behind < 0 else self._gone[behind]

    def _serial(self, place: int) -> int:
        behind = place - len(self._lines)
        return self._lines.serial(place) if behind < 0 else self._gone[behind].serial

    def _name(self, place: int) -> str:
        return normalize(self._line(place).name)


def index_of(lines: Listing, rules: Sequence[Filter] = ()) -> dict[str, int]:
    """Places in the map by normalised name. Of two spellings of one the higher serial counts."""
    rules = [rule for rule in rules if rule != Filter()]
    index: dict[str, int] = {}
    for place, line in enumerate(lines):
        try:
            name = normalize(line.name)
        except InvalidName:
            continue  # the index itself refuses such names today; they cannot be asked for
        if rules and not all(kept(name, rule) for rule in rules):
            continue
        known = index.setdefault(name, place)
        if known != place and lines.serial(known) < line.serial:
            index[name] = place
    return index


class _Row(msgspec.Struct):
    """The fields of a state that tell if the name is up to date: enough for 99 of 100."""

    event: int
    body: int = 0


class Difference:
    """Compares a map with states, given in the topic's order: the last state of a name counts."""

    def __init__(self, serial_map: SerialMap, own: Filter, partitions: int, scope: Scope) -> None:
        self._scope = scope
        self._rules = [own] if scope.rule is None else [own, scope.rule]
        self._lines = listing(serial_map.projects)
        self._index = index_of(self._lines, self._rules)
        # By place in the map: the partition whose state needs no ask for it, -1 = none; and
        # whether the map settles what such a name still owes.
        self._known_at = array("i", [-1]) * len(self._lines)
        self._settled = bytearray(len(self._lines))
        self._map_serial = serial_map.last_serial
        self._gone: list[dict[str, Gone]] = [{} for _ in range(partitions)]

    def put(self, partition: int, key: str, value: bytes | None) -> None:
        """A record of `state`; `value` None = nothing is known of the name. Raises LogCorrupt."""
        place = self._index.get(key)
        if place is None:
            self._gone[partition].pop(key, None)
            state = None if value is None else codec.decode(value, State)
            if state is not None and self._is_gone(key, state):
                self._gone[partition][key] = Gone(state.name or key, state.event)
            return
        self._known_at[place], self._settled[place] = -1, False
        if value is None:
            return
        row, serial = codec.decode(value, _Row), self._lines.serial(place)
        if serial <= max(row.event, row.body):
            self._known_at[place] = partition
        if row.body < row.event:  # else it is owed nothing that a map could settle
            state = codec.decode(value, State)
            self._settled[place] = state.settled_by_map(serial, self._map_serial)

    def heard(self, partition: int, key: str, name: str, serial: int) -> None:
        """Add an event that no worker has seen yet; call it after the states."""
        there = key in self._index
        if not there and serial <= self._map_serial and all(kept(key, r) for r in self._rules):
            self._gone[partition][key] = Gone(name, serial)

    def gone(self) -> list[Gone]:
        """The names that the map lacks although it is as new as their newest event."""
        return [each for gone in self._gone for each in gone.values()]

    def _is_gone(self, key: str, state: State) -> bool:
        """Whether the name is published here and the map, as new as its event, lacks it."""
        if self._scope.changed_since is not None:
            return False  # a name that the map lacks has no serial there to compare
        there = state.published and self._map_serial >= state.event
        return there and all(kept(key, rule) for rule in self._rules)

    def _partition(self, name: str) -> int:
        return partition_of(name, len(self._gone)) if len(self._gone) > 1 else 0

    def plans(self) -> list[Plan]:
        """Per partition: an ask for each name that is unknown or newer in the map.

        Also a check for each name that disappeared, and the map's serial for each that it settles.
        """
        since = self._scope.changed_since
        lines, count = self._lines, len(self._gone)
        beyond = range(len(lines), len(lines) + max(map(len, self._gone)))
        places = [array("I", beyond[: len(gone)]) for gone in self._gone]
        names, known = [0] * count, [0] * count
        for name, place in self._index.items():
            if since is not None and lines.serial(place) <= since:
                continue
            known_at = self._known_at[place]
            at = self._partition(name) if known_at < 0 else known_at
            names[at] += 1
            known[at] += known_at >= 0
            if known_at < 0 or self._settled[place]:
                places[at].append(place)
        plans = []
        for at, gone in enumerate(self._gone):
            wanted = Wanted(lines, list(gone.values()), places[at])
            wanted.sort(self._scope.order)
            plans.append(Plan(wanted, names[at], known[at]))
        return plans


def listing(lines: Sequence[ProjectSerial]) -> Listing:
    """The lines of a map in few bytes."""
    return lines if isinstance(lines, Listing) else Listing(lines)
