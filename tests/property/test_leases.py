"""All that is used of the rate together is never more than the rate, whoever is late or dead."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

import pytest

from streams.leases import (
    DRIFT_SECONDS,
    KEEP_SECONDS,
    LEASE_SECONDS,
    LOOK_SECONDS,
    VIEW_SECONDS,
    Lease,
    Sign,
)

TOTAL = 12
WORLD_SECONDS = 60.0
TROUBLE_SECONDS = 4.0  # from one thing that happens to the next, on average
WORLDS = 40
SOON, LATE = (0.001, 0.05), (0.2, 4.0)  # seconds that a write, an answer or a word may take
LATE_ONES = 0.1  # share of those that are late
ROUNDING = 1e-9
ZERO = frozenset({0})


@dataclass(eq=False)
class Process:
    """One that signs and looks, as the adapter does; may be stopped or killed at any moment."""

    lease: Lease
    parts: frozenset[int] = frozenset()
    position: int = 0
    alive: bool = True
    stopped_until: float = 0.0

    def share(self, now: float) -> float:
        """What it would send by now; nothing while it is stopped or dead."""
        runs = self.alive and self.stopped_until <= now
        return self.lease.share(now) if runs else 0.0


@dataclass
class World:
    """Processes on one log, and everything that may come late between them."""

    chance: Random
    late: float = LATE_ONES
    now: float = 0.0
    log: list[Sign] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    sums: list[float] = field(default_factory=list)
    _events: list[tuple[float, int, Callable[[], object]]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def delay(self) -> float:
        return self.chance.uniform(*(LATE if self.chance.random() < self.late else SOON))

    def at(self, moment: float, event: Callable[[], object]) -> None:
        heapq.heappush(self._events, (moment, next(self._numbers), event))

    def run(self, until: float) -> None:
        """Everything that happens until then; after each thing all shares are added up."""
        while self._events and self._events[0][0] <= until:
            self.now, _, event = heapq.heappop(self._events)
            self.sums.append(self.used())
            event()
            self.sums.append(self.used())
        self.now = until

    def used(self) -> float:
        return sum(process.share(self.now) for process in self.processes)

    # --- a process ---------------------------------------------------------------------------

    def join(self, parts: frozenset[int] = frozenset()) -> Process:
        process = Process(Lease(f"h{len(self.processes)}", TOTAL), parts, len(self.log))
        self.processes.append(process)
        process.lease.watching(self.now)
        self._do(process, self.now, lambda: self._sign(process))
        return process

    def _do(self, process: Process, moment: float, work: Callable[[], None]) -> None:
        """Do that then, or when it goes on again, or never if it is dead by then."""

        def event() -> None:
            if process.alive and process.stopped_until > self.now:
                self.at(process.stopped_until, event)
            elif process.alive:
                work()

        self.at(moment, event)

    def _sign(self, process: Process) -> None:
        if not process.lease.due(process.parts, self.now):
            self._look(process)
            return
        sign, begun = process.lease.sign(process.parts, self.now), self.now
        lands = begun + self.delay()
        lost = self.chance.random() < self.late / 2  # and whether it was written nobody is told
        if not lost or self.chance.random() < 0.5:
            self.at(lands, lambda: self.log.append(sign))
        heard = lands + self.delay()

        def acknowledged() -> None:
            if not lost:
                process.lease.signed(sign, begun, self.now)
            self._look(process)

        self._do(process, heard, acknowledged)

    def _look(self, process: Process) -> None:
        begun, seen = self.now, 0
        if self.chance.random() < self.late / 5:  # the watch broke, and some signs were missed
            process.position = len(self.log)
            process.lease.watching(self.now)

        def snapshot() -> None:
            nonlocal seen
            seen = len(self.log)

        def answered() -> None:
            process.lease.looked(self.log[process.position : seen], begun, self.now)
            process.position = seen
            wait = process.lease.next_look(self.now)
            self._do(process, self.now + wait, lambda: self._sign(process))

        taken = begun + self.delay()
        self.at(taken, snapshot)
        self._do(process, taken + self.delay(), answered)

    # --- what happens to them ----------------------------------------------------------------

    def shared_out(self) -> None:
        """The group gives every live one its part; each hears of it in its own time."""
        members = [process for process in self.processes if process.alive]
        parts = list(range(TOTAL))
        if self.chance.random() < 0.3:
            self.chance.shuffle(parts)
        for number, process in enumerate(members):
            mine = frozenset(parts[number :: len(members)])

            def heard(process: Process = process, mine: frozenset[int] = mine) -> None:
                process.parts = mine

            self._do(process, self.now + self.delay(), heard)

    def trouble(self) -> None:
        """A join, a kill, a stop, or a group that tells somebody nonsense."""
        live = [process for process in self.processes if process.alive]
        what = self.chance.randrange(5)
        if what == 0 or not live:
            self.join()
        elif what == 1:
            self.chance.choice(live).alive = False
        elif what == 2:
            stopped = self.chance.choice(live)
            stopped.stopped_until = self.now + self.chance.uniform(0.1, 6.0)
            self.at(stopped.stopped_until, bool)  # it is judged before it has heard anything
        elif what == 3:
            some = self.chance.sample(range(TOTAL), self.chance.randint(0, TOTAL))
            self.chance.choice(live).parts = frozenset(some)
        if self.chance.random() < 0.7:
            self.at(self.now + self.chance.uniform(0.0, 3.0), self.shared_out)


def _troubled(chance: Random) -> list[float]:
    """A world in which anything happens; what all used together, at each moment."""
    world = World(chance)
    for _ in range(chance.randint(1, 4)):
        world.join()
    world.at(0.5, world.shared_out)
    moment = 0.0
    while (moment := moment + chance.expovariate(1 / TROUBLE_SECONDS)) < WORLD_SECONDS:
        world.at(moment, world.trouble)
    for probe in range(int(WORLD_SECONDS * 20)):
        world.at(probe / 20, bool)
    world.run(WORLD_SECONDS)
    return world.sums


def test_never_more_than_the_rate(seed: int) -> None:
    """Joins, kills, stops, lost and late signs, late looks, two who think a part is theirs."""
    most = [max(_troubled(Random(seed * WORLDS + number))) for number in range(WORLDS)]

    assert max(most) <= 1 + ROUNDING, most
    assert max(most) == pytest.approx(1), "nobody ever used all of it"


def _settled(seed: int, count: int) -> World:
    """So many that share the parts and have done so for a while."""
    world = World(Random(seed), late=0.0)
    for number in range(count):
        world.join(frozenset(range(number, TOTAL, count)))
    world.run(3 * LEASE_SECONDS)
    return world


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_all_of_the_rate_is_used(seed: int, count: int) -> None:
    """Once each has signed and looked, nothing is left over, and each has what is its own."""
    world = _settled(seed, count)

    assert world.used() == pytest.approx(1)
    assert [each.share(world.now) for each in world.processes] == pytest.approx(
        [len(each.parts) / TOTAL for each in world.processes]
    )


@pytest.mark.parametrize("count", [2, 4])
def test_a_dead_ones_part_is_used_again_before_the_group_has_missed_it(
    seed: int, count: int
) -> None:
    """After a kill the others use all of the rate as soon as its lease is over."""
    world = _settled(seed, count)
    world.processes[0].alive = False
    assert world.used() == pytest.approx(1 - 1 / count)

    world.run(world.now + LEASE_SECONDS + DRIFT_SECONDS + 2 * LOOK_SECONDS + 10 * SOON[1])
    assert world.used() == pytest.approx(1)


def test_a_part_that_moves_is_hardly_ever_unused(seed: int) -> None:
    """Its holder uses it until it has seen the other's claim, and then hands it over."""
    world = _settled(seed, 1)
    one, two = world.processes[0], world.join()
    world.run(world.now + 2 * LEASE_SECONDS)
    one.parts, two.parts = (frozenset(range(part, TOTAL, 2)) for part in (0, 1))
    lost = 0.0
    for _ in range(300):
        world.run(world.now + 0.01)
        lost += 0.01 * (1 - world.used())

    assert lost < 0.5 * VIEW_SECONDS / 2, "half of the parts wait for half of the time"
    assert one.share(world.now) == two.share(world.now) == 0.5
    assert max(world.sums) <= 1 + ROUNDING


def test_what_the_group_took_away_is_given_back_even_if_nobody_wants_it(seed: int) -> None:
    """Its new holder may be dead; then it is free for all."""
    world = _settled(seed, 2)
    one, two = world.processes
    one.parts = frozenset()
    assert one.share(world.now) == 0.5
    world.run(world.now + KEEP_SECONDS + LEASE_SECONDS)

    assert (one.share(world.now), two.share(world.now)) == (0.0, 1.0)


def test_whoever_stood_still_uses_nothing_before_it_has_signed_and_waited(seed: int) -> None:
    """Its part is with the others by then; it takes it back without ever being one too many."""
    world = _settled(seed, 2)
    stopped = world.processes[0]
    stopped.stopped_until = woken = world.now + 2 * LEASE_SECONDS
    world.run(woken)

    assert world.processes[1].share(woken) == 1.0
    assert stopped.share(woken) == 0.0
    world.run(woken + VIEW_SECONDS)
    assert stopped.share(world.now) == 0.0
    world.run(woken + LEASE_SECONDS + VIEW_SECONDS)
    assert stopped.share(world.now) == 0.5
    assert max(world.sums) <= 1 + ROUNDING


def test_a_late_word_of_a_holder_takes_nothing_back() -> None:
    """A sign that was on its way for long comes after newer ones: the newer ones hold."""
    lease = Lease("mine", 2)
    lease.watching(0.0)
    lease.signed(lease.sign(ZERO, 0.0), 0.0, 0.0)
    lease.signed(lease.sign(ZERO, LEASE_SECONDS), LEASE_SECONDS, LEASE_SECONDS)
    newer, older = Sign("other", 2, frozenset({1})), Sign("other", 1, frozenset())
    lease.looked([newer, older], LEASE_SECONDS, LEASE_SECONDS)

    assert lease.share(LEASE_SECONDS) == 0.5


def test_two_who_claim_the_same_part_both_leave_it(seed: int) -> None:
    """Until the group has told one of them that it is not its own any more."""
    world = _settled(seed, 2)
    one, two = world.processes
    one.parts = frozenset(range(TOTAL))
    world.run(world.now + LEASE_SECONDS)
    assert two.share(world.now) == 0.0
    assert one.share(world.now) == 0.5

    two.parts = frozenset()
    world.run(world.now + LEASE_SECONDS)
    assert one.share(world.now) == 1.0
    assert max(world.sums) <= 1 + ROUNDING


def test_whoever_begins_to_watch_uses_nothing_for_the_time_of_a_lease() -> None:
    """Signs that it has not seen may be valid for so long."""
    lease = Lease("mine", 2)
    lease.watching(0.0)
    begun = LEASE_SECONDS - 0.1
    lease.signed(lease.sign(ZERO, 0.0), 0.0, 0.0)
    lease.signed(lease.sign(ZERO, begun), begun, begun)
    lease.looked([], begun, begun)
    assert lease.share(begun) == 0.0

    lease.looked([], LEASE_SECONDS, LEASE_SECONDS)
    assert lease.share(LEASE_SECONDS) == 1.0


def test_a_dead_ones_part_that_is_assigned_again_is_used_all_the_while(seed: int) -> None:
    """Whoever saw it free uses it until its new holder does: that one waits for just that."""
    world = _settled(seed, 3)
    dead, one, two = world.processes
    dead.alive = False
    world.run(world.now + 2 * LEASE_SECONDS)
    assert world.used() == pytest.approx(1)
    one.parts |= dead.parts
    lost = 0.0
    for _ in range(300):
        world.run(world.now + 0.01)
        lost += 0.01 * (1 - world.used())

    assert lost < len(dead.parts) / TOTAL * VIEW_SECONDS / 2
    assert (one.share(world.now), two.share(world.now)) == pytest.approx((2 / 3, 1 / 3))
    assert max(world.sums) <= 1 + ROUNDING
