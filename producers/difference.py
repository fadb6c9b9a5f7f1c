"""What upstream's serial map has and the log does not: pure.

Made for all of PyPI at once: the map's lines are kept as they came, asks are made as they are
written, and of the log's states only what they say of a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import msgspec

from schemas import codec
from schemas.errors import InvalidName
from schemas.filters import kept
from schemas.names import NormalizedName, normalize
from schemas.records import Ask, Filter, Reason, State
from schemas.topics import partition_of
from upstream.source import ProjectSerial, SerialMap


class Order(StrEnum):
    """Which asks of a partition come first."""

    NEWEST = "newest"
    NAME = "name"


@dataclass(frozen=True)
class Scope:
    """What a run is about. `rule` None = the log's own filter, else it narrows that.

    `changed_since`: only names whose serial in the map is above; what is not in the map is not
    looked at then. A run with either proves nothing to the watermark (see BackfillMarker).
    """

    reason: Reason
    rule: Filter | None = None
    changed_since: int | None = None
    order: Order = Order.NEWEST


class Gone(ProjectSerial, frozen=True, gc=False):
    """A project that is published here and not in the map, with the serial of its event."""


class Plan(NamedTuple):
    """One partition's difference, in the order in which it is to be asked for.

    `names` is how many names of the scope the map has here; `known` of them need no ask.
    """

    wanted: Sequence[ProjectSerial]
    names: int
    known: int


def ask_for(wanted: ProjectSerial, reason: Reason, map_serial: int) -> tuple[NormalizedName, Ask]:
    """The ask for one entry of a plan, and the name it goes under."""
    gone = isinstance(wanted, Gone)
    return normalize(wanted.name), Ask(wanted.name, reason, wanted.serial, map_serial, gone=gone)


class Line(msgspec.Struct, gc=False):
    """A line of the map. `known_at`: the partition whose state needs no ask for it, -1 = none."""

    project: ProjectSerial
    known_at: int = -1
    settled: bool = False  # known, and the map settles what is still owed


def index_of(
    projects: Iterable[ProjectSerial], rules: Sequence[Filter] = ()
) -> dict[NormalizedName, Line]:
    """The map by normalised name. Of two spellings of one name the higher serial counts."""
    rules = [rule for rule in rules if rule != Filter()]
    index: dict[NormalizedName, Line] = {}
    for project in projects:
        try:
            name = normalize(project.name)
        except InvalidName:
            continue  # the index itself refuses such names today; nothing could be asked for it
        if name == project.name:
            name = NormalizedName(project.name)  # one text for both: 60 bytes, 600 000 times
        if rules and not all(kept(name, rule) for rule in rules):
            continue
        line = index.get(name)
        if line is None:
            index[name] = Line(project)
        elif line.project.serial < project.serial:
            line.project = project
    return index


class _Row(msgspec.Struct):
    """As much of a state as says whether it is known: for 99 of 100 names that is enough."""

    event: int
    body: int = 0


class Difference:
    """A map against states, which are put in as the topic holds them: the last of a name counts."""

    def __init__(self, serial_map: SerialMap, own: Filter, partitions: int, scope: Scope) -> None:
        self._scope = scope
        self._rules = [own] if scope.rule is None else [own, scope.rule]
        self._index = index_of(serial_map.projects, self._rules)
        self._map_serial = serial_map.last_serial
        self._gone: list[dict[str, Gone]] = [{} for _ in range(partitions)]

    def put(self, partition: int, key: str, value: bytes | None) -> None:
        """A record of `state`; `value` None = nothing is known of the name. Raises LogCorrupt."""
        line = self._index.get(NormalizedName(key))
        if line is None:
            self._gone[partition].pop(key, None)
            state = None if value is None else codec.decode(value, State)
            if state is not None and self._is_gone(key, state):
                self._gone[partition][key] = Gone(state.name or key, state.event)
            return
        line.known_at, line.settled = -1, False
        if value is None:
            return
        row, serial = codec.decode(value, _Row), line.project.serial
        if serial <= max(row.event, row.body):
            line.known_at = partition
        if row.body < row.event:  # else it owes nothing that a map could settle
            line.settled = codec.decode(value, State).settled_by_map(serial, self._map_serial)

    def heard(self, partition: int, key: str, name: str, serial: int) -> None:
        """An event that no worker has seen yet; put in after the states."""
        there = NormalizedName(key) in self._index
        if not there and serial <= self._map_serial and all(kept(key, r) for r in self._rules):
            self._gone[partition][key] = Gone(name, serial)

    def gone(self) -> list[Gone]:
        """What the map, as new as its newest event, lacks."""
        return [each for gone in self._gone for each in gone.values()]

    def _is_gone(self, key: str, state: State) -> bool:
        """Whether the name is published here and the map, as new as its event, lacks it."""
        if self._scope.changed_since is not None:
            return False  # its serial in a map that lacks it is above nothing
        there = state.published and self._map_serial >= state.event
        return there and all(kept(key, rule) for rule in self._rules)

    def _partition(self, name: str) -> int:
        return partition_of(name, len(self._gone)) if len(self._gone) > 1 else 0

    def plans(self) -> list[Plan]:
        """Per partition: an ask for each name that is unknown or newer in the map.

        And a check for each that disappeared, and the map's word for each that it settles.
        """
        since = self._scope.changed_since
        count = len(self._gone)
        wanted: list[list[ProjectSerial]] = [list(gone.values()) for gone in self._gone]
        names, known = [0] * count, [0] * count
        for name, line in self._index.items():
            if since is not None and line.project.serial <= since:
                continue
            at = self._partition(name) if line.known_at < 0 else line.known_at
            names[at] += 1
            known[at] += line.known_at >= 0
            if line.known_at < 0 or line.settled:
                wanted[at].append(line.project)
        for each in wanted:
            _sort(each, self._scope.order)
        return [Plan(wanted[at], names[at], known[at]) for at in range(count)]


def _sort(wanted: list[ProjectSerial], order: Order) -> None:
    if order is Order.NAME:
        wanted.sort(key=lambda project: normalize(project.name))
    else:
        wanted.sort(key=lambda project: project.serial, reverse=True)
