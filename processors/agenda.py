"""Who is asked for next, and how far a partition is decided: pure bookkeeping, no I/O, no clock.

Order of service: live events, then due parked work, then asks, then second looks at absent names.
At most one fetch per name is in flight. A topic's position is its lowest entry not yet decided; an
entry is decided once the state it led to is written. Times: Unix milliseconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from msgspec.structs import replace

from processors.decide import OUTAGE, owe, owe_ask, settle_by_map
from schemas.names import NormalizedName
from schemas.records import Ask, ChangelogEntry, State, Status
from schemas.topics import Offset, Topic
from streams.states import States

WAITING_MS_MAX = (
    2_000  # an entry older than this goes to `state`, so that nothing blocks a partition
)
WINDOW_PER_SLOT = 8  # entries taken ahead, per fetch that may be in flight
SETTLE_ROUNDS_MAX = 10  # a name that never falls silent is fetched after so many settle times


class Lane(IntEnum):
    """The order of service, most urgent first."""

    LIVE = 0
    PARKED = 1
    REFETCH = 2
    SECOND_LOOK = 3


URGENT = (Lane.LIVE, Lane.PARKED)


class Work(NamedTuple):
    """One fetch to make: for which event, with which ETag ("" = unconditionally)."""

    name: NormalizedName
    event: int
    etag: str
    lane: Lane


class Position:
    """How far one topic's partition is decided."""

    def __init__(self, read_to: Offset) -> None:
        self.read_to = read_to
        self._open: dict[Offset, None] = {}  # insertion order is offset order

    def open(self, offset: Offset) -> None:
        """This entry is taken and not decided."""
        self._open[offset] = None

    def close(self, offset: Offset) -> None:
        """This entry is decided."""
        self._open.pop(offset, None)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def decided(self) -> Offset:
        """Next offset to read after a restart: the lowest entry that is not decided."""
        return next(iter(self._open), self.read_to)


@dataclass(slots=True)
class _Owed:
    lane: Lane
    due_ms: int
    since_ms: int
    ticket: int = 0
    in_flight: bool = False
    offsets: list[tuple[Topic, Offset]] = field(default_factory=list)


class Agenda:
    """One partition's work. `states` is shared with the worker and changes as entries are taken."""

    def __init__(
        self, states: States, positions: dict[Topic, Offset], *, settle_ms: int, slots: int
    ) -> None:
        self.states = states
        self.positions = {topic: Position(offset) for topic, offset in positions.items()}
        self._settle_ms = settle_ms
        self._window = WINDOW_PER_SLOT * slots
        self._owed: dict[NormalizedName, _Owed] = {}
        self._waiting: dict[NormalizedName, int] = {}  # taken from the changelog, state not written
        self._heaps: dict[Lane, list[tuple[int, int, NormalizedName]]] = {lane: [] for lane in Lane}
        self._tickets = 0
        self._parked_by_outage: set[NormalizedName] = set()
        for name, state in states.owed():
            self._park(name, state)

    # --- taking ---------------------------------------------------------------------------------

    def room(self, topic: Topic) -> int:
        """How many more entries of `topic` may be taken."""
        return max(0, self._window - len(self.positions[topic]))

    def take_entry(
        self, offset: Offset, name: NormalizedName, entry: ChangelogEntry, now: int
    ) -> None:
        """A changelog entry: due once its burst has settled, counted from journal time."""
        state = owe(self.states.get(name), entry)
        if state is None:
            return
        self.states.put(name, state)
        settled_ms = min(entry.time * 1000, now) + self._settle_ms
        owed = self._owed.get(name)
        since_ms = owed.since_ms if owed and owed.lane is Lane.LIVE else now
        due_ms = min(settled_ms, since_ms + SETTLE_ROUNDS_MAX * self._settle_ms)
        self._schedule(name, Lane.LIVE, due_ms, since_ms)
        self._attach(name, Topic.CHANGELOG, offset)
        self._waiting.setdefault(name, now)

    def take_ask(self, offset: Offset, name: NormalizedName, ask: Ask, now: int) -> State | None:
        """An ask. Returns a state to write if the ask itself settles the name, without a fetch."""
        known = self.states.get(name)
        if settled := settle_by_map(known, ask):
            self.forget(name)
            return settled
        state = owe_ask(known, ask)
        if state is None:
            return None
        owed = self._owed.get(name)
        if owed is not None and owed.lane is Lane.LIVE:
            state = replace(state, ask=None, event_kind=known.event_kind if known else None)
            self.states.put(name, state)
        else:
            self.states.put(name, state)
            self._schedule(name, Lane.REFETCH, now, now)
        self._attach(name, Topic.REFETCH, offset)
        return None

    def _attach(self, name: NormalizedName, topic: Topic, offset: Offset) -> None:
        self._owed[name].offsets.append((topic, offset))
        self.positions[topic].open(offset)

    def _schedule(self, name: NormalizedName, lane: Lane, due_ms: int, since_ms: int) -> None:
        self._tickets += 1
        owed = self._owed.get(name)
        if owed is None:
            owed = self._owed[name] = _Owed(lane, due_ms, since_ms)
        owed.lane, owed.due_ms, owed.since_ms, owed.ticket = lane, due_ms, since_ms, self._tickets
        if not owed.in_flight:
            heapq.heappush(self._heaps[lane], (due_ms, self._tickets, name))

    def _park(self, name: NormalizedName, state: State) -> None:
        if state.status is Status.PENDING:
            settled_ms = state.event_time * 1000 + self._settle_ms
            self._schedule(name, Lane.LIVE, settled_ms, settled_ms)
            return
        lane = Lane.SECOND_LOOK if state.status is Status.ABSENT else Lane.PARKED
        self._schedule(name, lane, state.next_ms, state.next_ms)
        if state.reason.startswith(OUTAGE):
            self._parked_by_outage.add(name)

    # --- serving --------------------------------------------------------------------------------

    def next_work(self, now: int, lanes: Iterable[Lane] = tuple(Lane)) -> Work | None:
        """The most urgent fetch that is due, or None. Its name is in flight until `answered`."""
        for lane in lanes:
            heap = self._heaps[lane]
            while heap and (heap[0][0] <= now or self._void(heap[0])):
                item = heapq.heappop(heap)
                if self._void(item):
                    continue
                name = item[2]
                self._owed[name].in_flight = True
                state = self.states.get(name)
                if state is None:  # cannot be: what is owed has a state
                    raise AssertionError(name)
                return Work(name, state.event, state.etag if state.published else "", lane)
        return None

    def next_due_ms(self, lanes: Iterable[Lane] = tuple(Lane)) -> int | None:
        """When the next fetch of these lanes is due; None = nothing is owed there."""
        due = []
        for lane in lanes:
            heap = self._heaps[lane]
            while heap and self._void(heap[0]):
                heapq.heappop(heap)
            if heap:
                due.append(heap[0][0])
        return min(due, default=None)

    def _void(self, item: tuple[int, int, NormalizedName]) -> bool:
        owed = self._owed.get(item[2])
        return owed is None or owed.ticket != item[1] or owed.in_flight

    def idle(self, horizon_ms: int) -> bool:
        """True if nothing is in flight, waits, or comes due until then (second looks apart)."""
        if any(
            owed.in_flight and owed.lane is not Lane.SECOND_LOOK for owed in self._owed.values()
        ):
            return False
        due = self.next_due_ms((Lane.LIVE, Lane.PARKED, Lane.REFETCH))
        return due is None or due > horizon_ms

    # --- deciding -------------------------------------------------------------------------------

    def unanswered(self, name: NormalizedName, now: int) -> None:
        """The fetch was not made (a hold): due again at once, not an attempt."""
        owed = self._owed[name]
        owed.in_flight = False
        self._schedule(name, owed.lane, now, owed.since_ms)

    def answered(self, name: NormalizedName, state: State) -> None:
        """The fetch led to `state`, which the worker writes in the transaction it builds now."""
        self._owed[name].in_flight = False
        self._parked_by_outage.discard(name)
        self.states.put(name, state)
        owed = self._owed[name]
        if state.status is Status.PENDING:  # a newer event came while the fetch was out
            self._schedule(name, owed.lane, owed.due_ms, owed.since_ms)
        elif state.next_ms:
            self._park(name, state)
        else:
            owed.ticket = 0
        self.written(name)
        if state.status is not Status.PENDING and not state.next_ms:
            del self._owed[name]

    def written(self, name: NormalizedName) -> None:
        """The name's state is being written: its entries are decided."""
        owed = self._owed.get(name)
        self._waiting.pop(name, None)
        if owed is None:
            return
        for topic, offset in owed.offsets:
            self.positions[topic].close(offset)
        owed.offsets.clear()

    def forget(self, name: NormalizedName) -> None:
        """Nothing is owed for this name any more."""
        self.written(name)
        owed = self._owed.get(name)
        if owed is not None and not owed.in_flight:
            del self._owed[name]

    def overdue(self, now: int) -> list[NormalizedName]:
        """Names whose changelog entry waits too long, or all of them when the window is full."""
        full = self.room(Topic.CHANGELOG) == 0
        return [
            name for name, taken in self._waiting.items() if full or now - taken >= WAITING_MS_MAX
        ]

    def next_overdue_ms(self) -> int | None:
        """When `overdue` will have something to say."""
        first = next(iter(self._waiting.values()), None)
        return None if first is None else first + WAITING_MS_MAX

    def outage_over(self, now: int) -> int:
        """Upstream answers again: everything parked for that is due at once. How many names."""
        names = [n for n in self._parked_by_outage if not self._owed[n].in_flight]
        for name in names:
            self._schedule(name, Lane.PARKED, now, now)
        self._parked_by_outage.clear()
        return len(names)
