"""What happens in a simulated run: drawn from a seed, and made shorter when it has failed.

An event is something that people do (20 to 200 of them), a fault something that breaks (1 to 6).
Each has a seed of its own: taking one out leaves the others as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, TypeVar

BUSY_SECONDS = 100.0  # of events and faults
EVENTS_MIN, EVENTS_MAX = 20, 200
FAULTS_MAX = 6
SHRINK_PLAYS_MAX = 60  # of one failing schedule: half a minute
ALONE_SHARE = 0.15  # of the schedules break nothing but single projects: I9 can be told there

EVENTS = (("change", 16), ("ask", 2), ("garbage", 1), ("reconcile", 1))
FAULTS = (
    ("kill-in-transaction", 6),  # a role ends just before or after its write
    ("lost-answer", 3),  # a write is refused, or done and its answer lost
    ("kill", 3),  # a role ends wherever it is
    ("stall", 2),  # a role stands still before its write, another one takes its place
    ("failing-log", 2),  # a share of all writes fails
    ("lies", 4),  # stale, missing, broken, foreign, slow answers
    ("outage", 2),
    ("poison", 3),  # one project that answers badly
    ("disk-full", 2),
    ("sink-kill", 3),  # at any thing asked of the disk
    ("clock-jump", 1),  # the wall clock, a day on or back
)
POISONS = ("fails", "broken", "foreign", "slow", "stale")

T = TypeVar("T")


@dataclass(frozen=True)
class Event:
    """`at` in virtual seconds; everything else about it comes from `seed`."""

    number: int
    at: float
    kind: str
    seed: int


@dataclass(frozen=True)
class Fault:
    """The same of something that breaks, for `seconds`."""

    number: int
    at: float
    kind: str
    seconds: float
    seed: int


@dataclass(frozen=True)
class Schedule:
    """One run. `seed` decides everything that is not listed: partitions, names, answers' times."""

    seed: int
    events: tuple[Event, ...]
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        """As a line of the corpus."""
        whole = drawn(self.seed)
        line: dict[str, Any] = {"seed": self.seed}
        if self.events != whole.events:
            line["events"] = [event.number for event in self.events]
        if self.faults != whole.faults:
            line["faults"] = [fault.number for fault in self.faults]
        return json.dumps(line)


def drawn(seed: int) -> Schedule:
    """The schedule of a seed."""
    rng = Random(seed)
    count = round(EVENTS_MIN * (EVENTS_MAX / EVENTS_MIN) ** rng.random())  # most are short
    events = [
        Event(number, round(rng.uniform(0, BUSY_SECONDS), 3), _kind(rng, EVENTS), _seed(rng))
        for number in range(count)
    ]
    alone = rng.random() < ALONE_SHARE
    faults = [
        Fault(
            number,
            round(rng.uniform(0, BUSY_SECONDS * 0.9), 3),
            "poison" if alone else _kind(rng, FAULTS),
            round(rng.uniform(2, 40), 3),
            _seed(rng),
        )
        for number in range(rng.randint(1, FAULTS_MAX))
    ]
    return Schedule(seed, tuple(events), tuple(faults))


def _kind(rng: Random, weighted: Sequence[tuple[str, int]]) -> str:
    return rng.choices([kind for kind, _ in weighted], [weight for _, weight in weighted])[0]


def _seed(rng: Random) -> int:
    return rng.getrandbits(48)


def read(line: str) -> Schedule:
    """A line of the corpus: a seed, and perhaps which of its events and faults are left."""
    given = json.loads(line)
    whole = drawn(given["seed"])
    events, faults = given.get("events"), given.get("faults")
    return Schedule(
        whole.seed,
        whole.events if events is None else tuple(e for e in whole.events if e.number in events),
        whole.faults if faults is None else tuple(f for f in whole.faults if f.number in faults),
    )


def shrunk(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """The same with as few faults and events as still fail, as far as SHRINK_PLAYS_MAX plays go."""
    plays = SHRINK_PLAYS_MAX

    def still(candidate: Schedule) -> bool:
        nonlocal plays
        plays -= 1
        return plays >= 0 and fails(candidate)

    for index in reversed(range(len(schedule.faults))):
        candidate = replace(schedule, faults=_without(schedule.faults, index, 1))
        if still(candidate):
            schedule = candidate
    size = len(schedule.events) // 2
    while size:
        index = len(schedule.events) - size
        while index >= 0:
            candidate = replace(schedule, events=_without(schedule.events, index, size))
            if still(candidate):
                schedule = candidate
            index -= size
        size //= 2
    return schedule


def _without(items: tuple[T, ...], index: int, size: int) -> tuple[T, ...]:
    return items[:index] + items[index + size :]
