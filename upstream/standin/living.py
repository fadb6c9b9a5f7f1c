"""The journal that goes on by itself: picks changes, paces the rows of an upload, takes orders."""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass, field
from itertools import count

from upstream.standin import changes_more  # noqa: F401 - registers its kinds
from upstream.standin.changes import KINDS, Change, ChangeKind, Steps
from upstream.standin.seeds import generator
from upstream.standin.vocabulary import normalized
from upstream.standin.world import Project, World

LIVELY_BYTES_MAX = 1 << 20  # larger documents change only when asked: each change rewrites them
_STRIDES = (1009, 7919, 104_729)  # primes: walks through the names that are not alphabetical
IDLE_SECONDS = 0.2  # how soon a new rate is noticed while nothing is due


class UnsuitableChange(ValueError):
    """The kind is unknown, or the project named is not in a state for it."""


@dataclass(order=True, slots=True)
class _Rest:
    """The rest of a change, due later."""

    due: float
    number: int
    steps: Steps = field(compare=False)
    spread: float = field(compare=False)


class Living:
    """Makes changes; `random` decides which, in an order that only the seed sets."""

    def __init__(self, world: World, changes_per_second: float) -> None:
        self.world = world
        self.changes_per_second = changes_per_second
        self.made = 0
        self._random = generator("living", world.seed)
        self._pending: list[_Rest] = []
        self._number = count()

    def change(self, kind: str, name: str | None = None, spread: float = 0.0) -> Change:
        """Make one change now. Raises UnsuitableChange.

        With `spread` > 0 its later rows follow in real time, `spread` times as slow as the index.
        """
        found = KINDS.get(kind)
        if found is None:
            message = f"unknown kind {kind!r}; known: {', '.join(sorted(KINDS))}"
            raise UnsuitableChange(message)
        project = self._named(found, name) if name is not None else self._pick(found)
        change = Change(self.world, self._random, project, wanted_name=name)
        self._run(found.make(change), spread)
        self.made += 1
        return change

    def random_change(self, spread: float = 0.0) -> Change:
        """Make a change of a kind drawn by weight."""
        kinds = list(KINDS.values())
        while True:
            kind = self._random.choices(kinds, [kind.weight for kind in kinds])[0]
            try:
                return self.change(kind.name, None, spread)
            except UnsuitableChange:
                continue

    def _named(self, kind: ChangeKind, name: str) -> Project | None:
        project = self.world.project(normalized(name))
        if not kind.suits(project):
            state = "unknown" if project is None else project.edition.status
            message = f"{kind.name!r} does not suit {name!r}, which is {state}"
            raise UnsuitableChange(message)
        return project

    def _pick(self, kind: ChangeKind) -> Project | None:
        if kind.suits(None):
            return None
        names = self.world.names
        start = self._random.randrange(len(names)) if names else 0
        stride = self._random.choice(_STRIDES)
        for step in range(len(names)):
            project = self.world.projects[names[(start + step * stride) % len(names)]]
            ref = project.edition.ref
            if kind.suits(project) and (ref is None or ref.raw <= LIVELY_BYTES_MAX):
                return project
        message = f"no project suits {kind.name!r}"
        raise UnsuitableChange(message)

    def _run(self, steps: Steps, spread: float) -> None:
        for delay in steps:
            if spread > 0 and delay > 0:
                due = self.world.clock() + delay * spread
                heapq.heappush(self._pending, _Rest(due, next(self._number), steps, spread))
                return

    def catch_up(self) -> float | None:
        """Make all steps that are due; returns seconds until the next one, None without one."""
        while self._pending and self._pending[0].due <= self.world.clock():
            rest = heapq.heappop(self._pending)
            self._run(rest.steps, rest.spread)
        return self._pending[0].due - self.world.clock() if self._pending else None

    async def run(self) -> None:
        """Go on until cancelled; the rate may be changed meanwhile."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        pace = generator("pace", self.world.seed)
        while True:
            waiting = self.catch_up()
            if self.changes_per_second <= 0:
                due = loop.time()
            elif loop.time() >= due:
                self.random_change(spread=1.0)
                due = max(due, loop.time() - 1.0) + pace.expovariate(self.changes_per_second)
                continue
            next_change = due - loop.time() if self.changes_per_second > 0 else IDLE_SECONDS
            pause = min(IDLE_SECONDS, next_change, IDLE_SECONDS if waiting is None else waiting)
            await asyncio.sleep(max(pause, 0.0))
