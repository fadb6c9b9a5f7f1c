"""Which name is fetched next, and how far a partition is decided: pure, without I/O or clock.

Order of service: live events, then due parked work, then asks, then second looks at absent names,
then what the sweep asks for.
At most one fetch per name is in flight. A topic's position is its lowest entry not yet decided; an
entry is decided once the state it led to is written. Times: Unix milliseconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import chain, islice
from typing import NamedTuple

from processors.decide import OUTAGE
from processors.owing import owe, owe_ask, owe_ask_beside, settle_by_map
from schemas.names import NormalizedName
from schemas.records import Ask, ChangelogEntry, Reason, Source, State, Status
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
    SWEEP = 4


URGENT = (Lane.LIVE,)
"""What the last slot in flight is kept for: parked work may be all those names that hang."""
UNHURRIED = (Lane.SECOND_LOOK, Lane.SWEEP)
"""What nobody waits for: neither a backfill nor `--once`."""


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
        self,
        states: States,
        positions: dict[Topic, Offset],
        *,
        now: int,
        settle_ms: int,
        slots: int,
    ) -> None:
        self.states = states
        self.positions = {topic: Position(offset) for topic, offset in positions.items()}
        self._settle_ms = settle_ms
        self._window = WINDOW_PER_SLOT * slots
        self._owed: dict[NormalizedName, _Owed] = {}
        self._waiting: dict[NormalizedName, int] = {}  # taken, state not yet written
        self._heaps: dict[Lane, list[tuple[int, int, NormalizedName]]] = {lane: [] for lane in Lane}
        self._tickets = 0
        self._outage: dict[NormalizedName, None] = {}  # parked or dead because upstream was away
        self._settled: dict[NormalizedName, list[tuple[Topic, Offset]]] = {}  # by asks alone
        for name, state in states.owed():
            self._park(name, state, now)
        for name, state in states.dead():
            self._note_outage(name, state)
        self._makeshift: dict[NormalizedName, None] = {}  # published: the index's document
        self._index_absent: dict[NormalizedName, None] = {}  # absent, also by the index's word
        for name, state in states.by_index():
            self._note_source(name, state)

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
        # A burst goes on as long as no fetch went out for it.
        same_burst = owed is not None and owed.lane is Lane.LIVE and not owed.in_flight
        since_ms = owed.since_ms if owed is not None and same_burst else now
        due_ms = min(settled_ms, since_ms + SETTLE_ROUNDS_MAX * self._settle_ms)
        self._schedule(name, Lane.LIVE, due_ms, since_ms)
        self._attach(name, Topic.CHANGELOG, offset)
        self._waiting.setdefault(name, now)

    def take_ask(self, offset: Offset, name: NormalizedName, ask: Ask, now: int) -> None:
        """An ask. One that settles the name without a fetch is among `settled` then."""
        known = self.states.get(name)
        if settled := settle_by_map(known, ask):
            self.states.put(name, settled)
            self._forget(name)
            self.positions[Topic.REFETCH].open(offset)
            self._settled[name].append((Topic.REFETCH, offset))
            return
        owed = self._owed.get(name)
        if known is not None and owed is not None and owed.lane is Lane.LIVE:
            self.states.put(name, owe_ask_beside(known, ask))
        else:
            state = owe_ask(known, ask)
            if state is None:
                return
            self.states.put(name, state)
            lane = Lane.REFETCH
            if ask.reason is Reason.SWEEP:  # the reason of the earlier ask is the more urgent one
                lane = Lane.SWEEP if owed is None else owed.lane
            self._schedule(name, lane, now, now)
        self._attach(name, Topic.REFETCH, offset)

    @property
    def settled(self) -> int:
        """How many names were settled by an ask alone, and are not written yet."""
        return len(self._settled)

    def settled_written(self) -> list[NormalizedName]:
        """Those names: their states are written in the transaction that is built now."""
        for offsets in self._settled.values():
            for topic, offset in offsets:
                self.positions[topic].close(offset)
        names = list(self._settled)
        self._settled.clear()
        return names

    def _attach(self, name: NormalizedName, topic: Topic, offset: Offset) -> None:
        self._owed[name].offsets.append((topic, offset))
        self.positions[topic].open(offset)

    def _schedule(self, name: NormalizedName, lane: Lane, due_ms: int, since_ms: int) -> None:
        self._tickets += 1
        self._outage.pop(name, None)
        owed = self._owed.get(name)
        if owed is None:
            owed = self._owed[name] = _Owed(lane, due_ms, since_ms)
        owed.lane, owed.due_ms, owed.since_ms, owed.ticket = lane, due_ms, since_ms, self._tickets
        if not owed.in_flight:
            heapq.heappush(self._heaps[lane], (due_ms, self._tickets, name))

    def _park(self, name: NormalizedName, state: State, now: int) -> None:
        if state.status is Status.PENDING:
            settled_ms = min(state.event_time * 1000, now) + self._settle_ms
            self._schedule(name, Lane.LIVE, settled_ms, settled_ms)
            return
        lane = Lane.SECOND_LOOK if state.status is Status.ABSENT else Lane.PARKED
        self._schedule(name, lane, state.next_ms, state.next_ms)
        self._note_outage(name, state)

    def _note_outage(self, name: NormalizedName, state: State) -> None:
        if state.status in (Status.PARKED, Status.DEAD) and state.reason.startswith(OUTAGE):
            self._outage[name] = None

    def _note_source(self, name: NormalizedName, state: State) -> None:
        # An ETag is the JSON API's: it only says that the API's own document has not changed.
        known = state.source is Source.JSON or state.etag != ""
        among = self._makeshift if state.published else self._index_absent
        for names in (self._makeshift, self._index_absent):
            if names is among and not known:
                names[name] = None
            else:
                names.pop(name, None)

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
                if state is None:  # cannot happen: what is owed has a state
                    raise AssertionError(name)
                return Work(name, state.event, state.etag if state.published else "", lane)
        return None

    def next_due_ms(self, lanes: Iterable[Lane] = tuple(Lane)) -> int | None:
        """When the next fetch of these lanes is due (Unix ms); None = nothing is owed there."""
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
        """True if nothing is in flight, waiting, or due by then; unhurried lanes do not count."""
        if any(owed.in_flight and owed.lane not in UNHURRIED for owed in self._owed.values()):
            return False
        due = self.next_due_ms(lane for lane in Lane if lane not in UNHURRIED)
        return due is None or due > horizon_ms

    # --- deciding -------------------------------------------------------------------------------

    def unanswered(self, name: NormalizedName, now: int) -> None:
        """The fetch was not made because of a hold: it is due again at once and no attempt."""
        owed = self._owed[name]
        owed.in_flight = False
        self._schedule(name, owed.lane, max(now, owed.due_ms), owed.since_ms)

    def answered(self, name: NormalizedName, state: State, now: int) -> None:
        """The fetch led to `state`, which the worker writes in the transaction it builds now."""
        owed = self._owed[name]
        owed.in_flight = False
        self._outage.pop(name, None)
        self.states.put(name, state)
        self._note_source(name, state)
        self.written(name)
        if state.status is Status.PENDING:  # a newer event came while the fetch was out
            self._schedule(name, owed.lane, owed.due_ms, owed.since_ms)
        elif state.next_ms:
            self._park(name, state, now)
        else:
            del self._owed[name]
            self._note_outage(name, state)

    def written(self, name: NormalizedName) -> None:
        """The name's state is being written: its entries are decided."""
        owed = self._owed.get(name)
        self._waiting.pop(name, None)
        if owed is None:
            return
        for topic, offset in owed.offsets:
            self.positions[topic].close(offset)
        owed.offsets.clear()

    def _forget(self, name: NormalizedName) -> None:
        """Nothing is owed for this name any more; a fetch that is out may still be answered."""
        self._outage.pop(name, None)
        settled = self._settled.setdefault(name, [])
        owed = self._owed.get(name)
        if owed is None:
            return
        settled += owed.offsets
        owed.offsets.clear()
        if not owed.in_flight:
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

    @property
    def queued(self) -> int:
        """Names that are owed a fetch, now or later."""
        return len(self._owed)

    @property
    def outage_names(self) -> int:
        """How many names are parked, or were given up, because upstream was away."""
        return len(self._outage)

    def outage_over(self, now: int) -> int:
        """Upstream answers again: everything parked for the outage is due at once.

        Returns how many names those are.

        Names given up meanwhile are looked at again, too: the fault was not their document's.
        """
        names = list(self._outage)
        for name in names:
            self._schedule(name, Lane.PARKED, now, now)
        self._outage.clear()
        return len(names)

    @property
    def makeshift_names(self) -> int:
        """The number of names whose published document is not the JSON API's own."""
        return len(self._makeshift)

    @property
    def by_index(self) -> int:
        """The number of names for which the index had the last word: those, and absent ones."""
        return len(self._makeshift) + len(self._index_absent)

    def ask_makeshift(self, now: int, most: int | None = None) -> None:
        """Make `most` names due whose document is not the JSON API's own, each in its turn.

        None = all, and those that are absent by the index's word, which tell nothing about the API.
        Names that are owed a fetch anyway are left alone.
        """
        names = chain(self._makeshift, () if most is not None else self._index_absent)
        for name in list(islice((name for name in names if name not in self._owed), most)):
            if name in self._makeshift:
                self._makeshift[name] = self._makeshift.pop(name)
            self._schedule(name, Lane.PARKED, now, now)
