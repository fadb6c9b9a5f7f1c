"""Every fault of the stand-in at once, each in a share of the answers; and what is true under them.

Some are for good: `DEAD` projects cannot be had from the JSON API nor from the index, `STUCK` ones
stay as they were however often they change. All others come and go. Nothing here waits for hours:
what a fault keeps for a minute at PyPI it keeps for a second, as the program's patience is shorter.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from tests.support.fault_events import COUNTS, SPREAD, UNSUITABLE
from tests.support.fault_scenes import LIES, USED
from tests.support.published import truths
from tests.support.standin import Reply, Site
from upstream.standin.faults import KINDS

APART = {
    "xmlrpc-serial-jump": "ends the program, as it shall",
    "xmlrpc-gone": "its time comes half-way, and then for good",
}
"""Kinds that are not among those that come and go, and why."""

_ONCE: dict[str, Any] = {"count": 1, "share": 0.05}  # long or large: one of them shows it
# As at PyPI's edge. A project without any file is known to the JSON API alone, and a 404 that stays
# is believed then: the share is such that half a dozen in a row do not come.
_NEW: dict[str, Any] = {"after_event_seconds": 20.0, "share": 0.05}
PARAMETERS: dict[str, dict[str, Any]] = {
    "stale": {"lag_seconds": 3.0, "share": 0.05},
    "stuck": {"seconds": 6.0, "share": 0.05},
    "spurious-404": _NEW,
    "cached-404": {**_NEW, "ttl_seconds": 1.0},
    "json-gone": _NEW,
    "huge-body": {**_ONCE, "mib": 66},
    "wide-bomb": _ONCE,
    "gzip-bomb": _ONCE,
    "gzip-in-gzip": _ONCE,
    "index-old": {"lag_seconds": 3.0, "share": 0.1},
    "index-lacks": {**_ONCE, "share": 0.5},
    "xmlrpc-lagging": {"lag_seconds": 3.0},
    "drip": {"bytes_per_second": 2_000_000.0},
    "hang": {**_ONCE, "hang_seconds": 0.5},
    "hang-in-body": {**_ONCE, "hang_seconds": 0.5},
    "xmlrpc-hang": {**_ONCE, "hang_seconds": 0.5},
    "xmlrpc-rate-limit": _ONCE,
    "xmlrpc-rate-limit-reset": {**_ONCE, "reset": 1},
    "429": _ONCE,
    "429-retry-after": {**_ONCE, "retry_after": 1},
    "429-retry-date": {**_ONCE, "retry_after": 1},
    "429-bad-retry-after": _ONCE,
    "503-retry-after": {**_ONCE, "retry_after": 1},
    "403": _ONCE,
}
"""Of the kinds that need other parameters than their own, or that the whole program waits for."""


def passing(share: float) -> Iterator[dict[str, Any]]:
    """Specifications of all kinds that come and go, on every route that they are for."""
    for kind in KINDS.values():
        for route in USED:
            if route not in kind.routes or kind.name in APART:
                continue
            parameters = PARAMETERS.get(kind.name, {})
            if route == "simple" and parameters is _NEW:
                parameters = {}  # the index itself has no event
            yield {"kind": kind.name, "route": route, "share": share, **parameters}


class Excepted(NamedTuple):
    """Names that cannot be right, by the stand-in's own word."""

    dead: set[str]
    stuck: set[str]


@dataclass
class Everything:
    """Switches faults and makes changes. `seed` sets which projects are spoilt, `each` how many."""

    site: Site
    seed: int
    each: int
    _dead: list[str] = field(init=False)
    _stuck: list[str] = field(init=False)
    _flapping: list[str] = field(init=False)
    usable: list[str] = field(init=False)
    _passing: dict[int, str] = field(default_factory=dict)
    _serial_when_stuck: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Draw the projects; `usable` are those that nothing spoils for good."""
        names = self.site.served_names()
        random.Random(self.seed).shuffle(names)
        self._dead, self._stuck = names[: self.each], names[self.each : 2 * self.each]
        self.usable = names[2 * self.each :]
        self._flapping = self.usable[: 10 * self.each]

    def break_some(self) -> None:
        """Projects that nobody can have, and some whose first answer is a 404."""
        for name in self._dead:
            self.site.fault("bad-json", project=name, route="json")
            self.site.fault("500", project=name, route="simple")
        for name in self._flapping:
            self.site.fault("spurious-404", project=name, route="json", count=1)

    def stick(self) -> None:
        """Projects stay as they are from now on, and change."""
        serials = self._serials()
        for name in self._stuck:
            self._serial_when_stuck[name] = serials[name]
            self.site.fault("stuck", project=name, route="json")
            self.site.change("role", name)

    def begin(self, share: float) -> None:
        """Switch on all that come and go."""
        for specification in passing(share):
            number = self.site.control("faults", specification)["id"]
            self._passing[number] = specification["route"]

    def bring(self, route: str) -> None:
        """Once each kind that chance has left out: some routes are asked a hundred times only."""
        for kind in sorted(self.unmet(route)):
            parameters = {**PARAMETERS.get(kind, {}), "count": 1, "share": 0.5}
            self._passing[self.site.fault(kind, route=route, **parameters)] = route

    def unmet(self, route: str) -> set[str]:
        """Kinds for this route that have spoilt no answer yet."""
        return {each["kind"] for each in passing(1) if each["route"] == route} - self.met()

    def end(self, *routes: str) -> None:
        """Switch them off again on these routes."""
        for number in [n for n, route in self._passing.items() if route in routes]:
            self.site.control(f"faults/{number}", method="DELETE")
            del self._passing[number]

    def excepted(self) -> Excepted:
        """What the stand-in says will not come right: by its faults and its serials."""
        for_good = [each for each in self.site.control("faults") if each["project"]]
        dead = {each["project"] for each in for_good if each["kind"] == "bad-json"}
        serials = self._serials()
        stuck = {name for name, at in self._serial_when_stuck.items() if serials[name] > at}
        return Excepted(dead, stuck)

    def met(self) -> set[str]:
        """Kinds that have spoilt an answer."""
        return set(self.site.control("stats")["faults"])

    def lied_to(self) -> set[str]:
        """Names of which an answer was a lie: no client can tell it from the truth."""
        asked = self.site.control("requests")
        return {each["project"] for each in asked if each["fault"] in LIES and each["project"]}

    def change_again(self, names: set[str]) -> None:
        """One more change of each that can have one."""
        for name in sorted(names):
            reply = self._try("role", name)
            assert reply.status in (200, UNSUITABLE), reply.body

    def change(self, chance: random.Random) -> None:
        """One change of any kind that writes rows, of a project that is not spoilt for good."""
        [kind] = chance.choices(list(COUNTS), list(COUNTS.values()))
        for name in chance.sample(self.usable, 5):
            if self._try(kind, None if kind == "create" else name).status == 200:
                return
        # 409 five times: such as a removal that nobody made yet cannot be taken back.
        self._try("release", chance.choice(self.usable))

    def _try(self, kind: str, name: str | None) -> Reply:
        body = {"kind": kind, "project": name, "spread": SPREAD}
        return self.site.ask_control("change", body)

    def _serials(self) -> dict[str, int]:
        lines = self.site.ask("/_control/truth?documents=0").body
        return {name: true.serial for name, true in truths(lines).items()}


class Changing:
    """Changes going on beside the test, so many a second, until the block is left."""

    def __init__(self, everything: Everything, per_second: float) -> None:
        self._everything = everything
        self._pause = 1 / per_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="changes")
        self.made = 0
        self._errors: list[BaseException] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert not self._errors, self._errors

    def _run(self) -> None:
        try:
            chance = random.Random(self._everything.seed)
            while not self._stop.wait(self._pause):
                self._everything.change(chance)
                self.made += 1
        except BaseException as error:  # noqa: BLE001  told by the test's own thread
            self._errors.append(error)
