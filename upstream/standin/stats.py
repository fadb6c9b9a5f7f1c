"""What was asked of the stand-in, and whether the client kept its manners."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from upstream.standin.http_types import Request, Route
from upstream.standin.world import Clock

ConnectionClass = Literal["document", "journal"]

CLASS_OF: dict[Route, ConnectionClass] = {
    "json": "document",
    "version": "document",
    "files": "document",
    "xmlrpc": "journal",
    "simple": "journal",
}


def class_of(request: Request) -> ConnectionClass | None:
    """Whose request this is: the whole index goes with the journal, a project's page does not."""
    if request.route == "simple" and request.project:
        return "document"
    return CLASS_OF.get(request.route)


WINDOW_SECONDS = 10.0
# A request that was on its way when the answer left has broken no promise, nor has one of a process
# that had no turn to read it, on a busy machine. `early` leaves these out, `early_strict` has them.
GRACE_SECONDS = 1.0


@dataclass(slots=True)
class Asked:
    """One line of the request log. `at` is monotonic seconds of the stand-in's machine."""

    at: float
    number: int
    route: str
    method: str
    project: str
    call: str
    status: int
    user_agent: str
    fault: str


class _Window:
    """How many happened in the last ten seconds, and the most there ever were."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self.peak = 0

    def add(self, now: float) -> None:
        times = self._times
        times.append(now)
        while times[0] <= now - WINDOW_SECONDS:
            times.popleft()
        self.peak = max(self.peak, len(times))

    def count(self, now: float) -> int:
        while self._times and self._times[0] <= now - WINDOW_SECONDS:
            self._times.popleft()
        return len(self._times)


@dataclass(slots=True)
class _Gauge:
    now: int = 0
    peak: int = 0
    total: int = 0

    def up(self) -> None:
        self.now += 1
        self.total += 1
        self.peak = max(self.peak, self.now)

    def down(self) -> None:
        self.now -= 1

    def reset(self) -> None:
        self.peak, self.total = self.now, 0

    def shown(self) -> dict[str, int]:
        return {"now": self.now, "peak": self.peak, "total": self.total}


class Stats:
    """Counters of one stand-in. Control requests are never counted. `clock`: monotonic seconds."""

    def __init__(self, log_length: int, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self.log: deque[Asked] = deque(maxlen=log_length)
        self.connections = {name: _Gauge() for name in ("document", "journal", "all")}
        self.in_flight = {name: _Gauge() for name in ("document", "journal", "all")}
        self._number = 0
        self._clear()

    def _clear(self) -> None:
        self.started = self._clock()
        self.late_seconds = 0.0
        self.requests: Counter[tuple[str, int]] = Counter()
        self.faults: Counter[str] = Counter()
        self.early: Counter[str] = Counter()
        self.early_strict: Counter[str] = Counter()
        self._told: dict[ConnectionClass, tuple[float, float]] = {}
        self._windows = {name: _Window() for name in ("document", "journal", "all")}
        self.user_agents: Counter[str] = Counter()

    def reset(self) -> None:
        """Start counting anew; what is open or in flight stays so."""
        self._clear()
        self.log.clear()
        for gauge in (*self.connections.values(), *self.in_flight.values()):
            gauge.reset()

    def begin(self, request: Request) -> None:
        """A request arrived."""
        now = request.arrived = self._clock()
        kind = class_of(request)
        for name in ("all",) if kind is None else ("all", kind):
            self.in_flight[name].up()
            self._windows[name].add(now)
        if kind is not None and kind in self._told:
            said, until = self._told[kind]
            if now < until:
                self.early_strict[request.route] += 1
                self.early[request.route] += now > said + GRACE_SECONDS

    def end(self, request: Request, status: int, fault: str) -> None:
        """It was answered (or given up: status 0)."""
        kind = class_of(request)
        for name in ("all",) if kind is None else ("all", kind):
            self.in_flight[name].down()
        self.requests[request.route, status] += 1
        if fault:
            self.faults[fault] += 1
        agent = request.headers.get(b"user-agent", b"").decode("latin-1")
        self.user_agents[agent] += 1
        self._number += 1
        self.log.append(
            Asked(
                request.arrived,
                self._number,
                request.route,
                request.method,
                request.name,
                request.call,
                status,
                agent,
                fault,
            )
        )

    def told_to_wait(self, request: Request, seconds: float) -> None:
        """The client was told not to come again (to this class of routes) for that long."""
        kind = class_of(request)
        if kind is not None:
            now = self._clock()
            until = max(now + seconds, self._told.get(kind, (0.0, 0.0))[1])
            self._told[kind] = (now, until)

    def was_late(self, seconds: float) -> None:
        """The stand-in itself had no turn for so long: what came meanwhile is counted at once."""
        self.late_seconds = max(self.late_seconds, seconds)

    def shown(self) -> dict[str, Any]:
        """For `GET /_control/stats`."""
        now = self._clock()
        by_route: dict[str, dict[str, int]] = {}
        for (route, status), count in sorted(self.requests.items()):
            by_route.setdefault(route, {})[str(status)] = count
        return {
            "seconds": now - self.started,
            "total": sum(self.requests.values()),
            "requests": by_route,
            "faults": dict(self.faults),
            "connections": {name: gauge.shown() for name, gauge in self.connections.items()},
            "in_flight": {name: gauge.shown() for name, gauge in self.in_flight.items()},
            "early": dict(self.early),
            "early_total": sum(self.early.values()),
            "early_strict": dict(self.early_strict),
            "window_seconds": WINDOW_SECONDS,
            "late_seconds": self.late_seconds,
            "window_peak": {name: window.peak for name, window in self._windows.items()},
            "window_now": {name: window.count(now) for name, window in self._windows.items()},
            "user_agents": dict(self.user_agents),
        }

    def since(self, moment: float) -> Iterator[Asked]:
        """Logged requests that arrived after `moment` (monotonic), in order of their answers."""
        return (asked for asked in self.log if asked.at > moment)


class ConnectionWatch:
    """One connection: what it was used for. A connection that fetched one document counts there."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._used: set[str] = set()

    def used(self, request: Request) -> None:
        """A request came over it."""
        kind = class_of(request)
        if kind is None or kind in self._used:
            return
        if not self._used:
            self._stats.connections["all"].up()
        self._used.add(kind)
        if kind == "document" and "journal" in self._used:
            self._stats.connections["journal"].down()
            self._stats.connections["document"].up()
        elif "document" not in self._used or kind == "document":
            self._stats.connections[kind].up()

    def lost(self) -> None:
        """It is closed."""
        if not self._used:
            return
        self._stats.connections["all"].down()
        kind = "document" if "document" in self._used else "journal"
        self._stats.connections[kind].down()
        self._used.clear()
