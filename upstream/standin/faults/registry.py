"""Faults that can be switched on: their table, and the set of those that are on.

A kind is a small function `apply(hit) -> Answer | None`; None means that there is nothing to spoil
here (no earlier body, say), and the fault does not count as used.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import count
from random import Random
from typing import Any, get_args

from upstream.standin.http_types import OK, Answer, Request, Route
from upstream.standin.seeds import generator
from upstream.standin.site import Site
from upstream.standin.world import Clock, Edition

DOCUMENTS: tuple[Route, ...] = ("json", "version")
ALL: tuple[Route, ...] = ("json", "version", "xmlrpc", "simple", "files")
_SELECTORS = frozenset(
    ("kind", "share", "count", "seconds", "route", "project", "after_event_seconds")
)


class BadFault(ValueError):
    """A specification that names no known kind, route or parameter."""


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A row of the table. `sticky`: the share picks projects, not single requests."""

    name: str
    description: str
    routes: tuple[Route, ...]
    apply: Callable[[Hit], Answer | None]
    params: Mapping[str, Any]
    sticky: bool
    raw: bool  # needs a real connection: not for in-process use


@dataclass(slots=True)
class Fault:
    """A fault that is on. Times are monotonic seconds but `since`, which is the world's clock."""

    id: int
    kind: FaultKind
    routes: tuple[Route, ...]
    share: float
    left: int | None
    until: float | None
    project: str | None
    after_event_seconds: float | None
    params: dict[str, Any]
    since: float
    random: Random
    clock: Clock
    hits: int = 0
    memory: dict[str, Any] = field(default_factory=dict)  # what the kind remembers per name

    def shown(self) -> dict[str, Any]:
        """As `GET /_control/faults` answers."""
        left = None if self.until is None else max(0.0, self.until - self.clock())
        return {
            "id": self.id,
            "kind": self.kind.name,
            "routes": list(self.routes),
            "share": self.share,
            "count": self.left,
            "seconds": left,
            "project": self.project,
            "after_event_seconds": self.after_event_seconds,
            "params": self.params,
            "hits": self.hits,
        }


@dataclass(slots=True)
class Hit:
    """A request that a fault was chosen for."""

    fault: Fault
    request: Request
    site: Site

    def normal(self) -> Answer:
        """The right answer."""
        return self.site.answer(self.request)

    def full(self, *, gzip: bool | None = None) -> Answer | None:
        """The right answer with its body even if the client has it; None if it is none (404, …).

        `gzip` says which encoding to take; None leaves it to the client.
        """
        headers = {
            key: value for key, value in self.request.headers.items() if key != b"if-none-match"
        }
        if gzip is not None:
            headers[b"accept-encoding"] = b"gzip" if gzip else b"identity"
        answer = self.site.answer(dataclasses.replace(self.request, headers=headers))
        return answer if answer.status == OK else None

    def edition(self, moment: float | None = None) -> Edition | None:
        """The state of the project asked for."""
        return self.site.edition(self.request.name, moment)

    def param(self, name: str) -> Any:
        """A parameter, or its default."""
        return self.fault.params[name]


KINDS: dict[str, FaultKind] = {}


def fault_kind(
    name: str,
    routes: tuple[Route, ...] = ALL,
    *,
    sticky: bool = False,
    raw: bool = False,
    **params: Any,
) -> Callable[[Callable[[Hit], Answer | None]], Callable[[Hit], Answer | None]]:
    """Put a kind into the table; the first line of its docstring is its description."""

    def register(apply: Callable[[Hit], Answer | None]) -> Callable[[Hit], Answer | None]:
        description = (apply.__doc__ or "").strip().splitlines()[0]
        KINDS[name] = FaultKind(name, description, routes, apply, params, sticky, raw)
        return apply

    return register


class Faults:
    """Those that are on: of one project first, then the oldest. The first that spoils answers."""

    def __init__(self, seed: int, clock: Clock = time.monotonic) -> None:
        self.active: list[Fault] = []
        self._clock = clock
        self._seed = seed
        self._ids = count(1)

    def add(self, specification: Mapping[str, Any], site: Site) -> Fault:
        """Switch one on. Raises BadFault."""
        kind = KINDS.get(str(specification.get("kind")))
        if kind is None:
            message = f"unknown kind {specification.get('kind')!r}: see GET /_control/faults/kinds"
            raise BadFault(message)
        params = {key: specification[key] for key in specification if key not in _SELECTORS}
        if unknown := params.keys() - kind.params.keys():
            message = f"{kind.name} takes no {', '.join(sorted(unknown))}"
            raise BadFault(message)
        number = next(self._ids)
        share, seconds = specification.get("share"), specification.get("seconds")
        fault = Fault(
            id=number,
            kind=kind,
            routes=_routes(kind, specification.get("route")),
            share=1.0 if share is None else float(share),
            left=specification.get("count"),
            until=None if seconds is None else self._clock() + float(seconds),
            project=specification.get("project"),
            after_event_seconds=specification.get("after_event_seconds"),
            params={**kind.params, **params},
            since=site.world.clock(),
            random=generator("fault", self._seed, number),
            clock=self._clock,
        )
        self.active.append(fault)
        self.active.sort(key=lambda each: each.project is None)
        return fault

    def remove(self, number: int | None = None) -> int:
        """Switch one off, or all; returns how many."""
        before = len(self.active)
        self.active = [f for f in self.active if number is not None and f.id != number]
        return before - len(self.active)

    def answer(self, request: Request, site: Site) -> tuple[Answer, str] | None:
        """The spoilt answer and the kind's name; None if all is well."""
        now = self._clock()
        if any(fault.until is not None and fault.until <= now for fault in self.active):
            self.active = [f for f in self.active if f.until is None or f.until > now]
        for fault in self.active:
            if not self._chosen(fault, request, site):
                continue
            answer = fault.kind.apply(Hit(fault, request, site))
            if answer is None:
                continue
            fault.hits += 1
            if fault.left is not None:
                fault.left -= 1
                if fault.left <= 0:
                    self.remove(fault.id)
            return answer, fault.kind.name
        return None

    def _chosen(self, fault: Fault, request: Request, site: Site) -> bool:
        if request.route not in fault.routes:
            return False
        if fault.project is not None and not fnmatchcase(request.name, fault.project):
            return False
        if fault.after_event_seconds is not None:
            edition = site.edition(request.name)
            if edition is None:
                return False
            if edition.since < site.world.clock() - fault.after_event_seconds:
                return False
        if fault.share >= 1.0:
            return True
        if fault.kind.sticky:
            draw = generator("sticky", self._seed, fault.id, request.name).random()
        else:
            draw = fault.random.random()
        return draw < fault.share


def _routes(kind: FaultKind, route: object) -> tuple[Route, ...]:
    if route is None or route == "*":
        return kind.routes
    wanted = [known for known in get_args(Route) if known == route]
    if not wanted or wanted[0] not in kind.routes:
        message = f"{kind.name} does not apply to route {route!r}, only to {', '.join(kind.routes)}"
        raise BadFault(message)
    return (wanted[0],)
