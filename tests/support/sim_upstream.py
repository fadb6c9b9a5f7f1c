"""A PyPI that lives by chance: projects with a true history, and an edge that lies about them.

`Truth` is what is so; `SimUpstream` is what a client is told, within the bounds that the rules of
the worker assume (a 404 that is none lasts no longer than `LIE_SECONDS_MAX`, and so on).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random

from schemas.errors import BrokenBody, RateLimited, UpstreamUnavailable
from schemas.names import NormalizedName, normalize
from tests.support.sim_history import History
from tests.support.virtual_time import START_MS
from upstream.source import (
    Answer,
    Document,
    JournalPage,
    JournalRow,
    NotFound,
    NotModified,
    ProjectSerial,
    SerialMap,
)

SPELLINGS = ("{0}-x", "{0}.x", "{0}_X")
LIE_SECONDS_MAX = 8.0  # less than the time after which a 404 proves something
LIE_PAUSE_SECONDS = 90.0
MAP_AGE_SECONDS_MAX = 60.0


@dataclass(frozen=True)
class Face:
    """What a project's document says at one moment."""

    name: str
    serial: int
    revision: int

    def document(self) -> Document:
        """As served."""
        return _document(self)


@lru_cache(maxsize=1_000)  # each is asked for several times
def _document(face: Face) -> Document:
    info = {
        "name": face.name,
        "version": f"1.{face.revision}",
        "summary": "",
        "description": "",
    }
    value = {"info": info, "last_serial": face.serial, "releases": {}, "urls": []}
    body = json.dumps(value).encode()
    return Document(body, face.serial, f'"{hashlib.sha256(body).hexdigest()[:12]}"')


@dataclass
class Project:
    """`faces`: every (row serial, face or None) that was ever true, the last one is."""

    name: str
    alive: bool = False
    hidden: bool = False  # quarantined
    releases: int = 0
    serial: int = 0
    revision: int = 0
    faces: list[tuple[int, Face | None]] = field(default_factory=list)
    lying_until: float = -LIE_PAUSE_SECONDS

    @property
    def face(self) -> Face | None:
        """What is true now."""
        return self.faces[-1][1] if self.faces else None

    def face_at(self, serial: int) -> Face | None:
        """What was true when the journal had come to `serial`."""
        known = [face for row, face in self.faces if row <= serial]
        return known[-1] if known else None


class Truth:
    """Projects and the journal. Every change is drawn from `rng`."""

    def __init__(self, rng: Random, names: int, now: Callable[[], float]) -> None:
        self.projects = {f"p{n}-x": Project(SPELLINGS[0].format(f"p{n}")) for n in range(names)}
        self.journal: list[JournalRow] = []
        self.serial = 1000
        self.start = 0  # where the log under test begins
        self.history = History()
        self.maps: list[tuple[float, SerialMap]] = []
        self._rng = rng
        self._now = now

    def change(self, rng: Random | None = None) -> None:
        """One thing a person does: a burst of rows of one project."""
        self._rng = rng or self._rng
        key = self._rng.choice(sorted(self.projects))
        project = self.projects[key]
        if not project.alive:
            self._create(project)
        else:
            self._rng.choices(
                (
                    self._release,
                    self._remove,
                    self._empty,
                    self._hide,
                    self._silent,
                    self._old_name,
                ),
                (10, 2, 1, 1, 2, 1),
            )[0](project)
        self.maps.append((self._now(), self.index()))

    def index(self) -> SerialMap:
        """The serial map as of now."""
        projects = [
            ProjectSerial(p.name, p.serial)
            for p in self.projects.values()
            if p.alive and not p.hidden
        ]
        return SerialMap(self.serial, "", projects)

    def end(self) -> None:
        """Nothing is hidden any more."""
        for project in self.projects.values():
            if project.hidden:
                self._hide(project)

    def _row(self, project: Project, action: str, name: str = "") -> None:
        self.serial += self._rng.randint(1, 4)
        seconds = START_MS // 1000 + int(self._now())
        row = JournalRow(name or project.name, None, seconds, action, self.serial)
        self.journal.append(row)
        self.history.add("row", at=self._now(), name=row.name, action=action, serial=row.serial)
        if not name:
            project.serial = self.serial
        visible = project.alive and not project.hidden and project.releases > 0
        face = Face(project.name, project.serial, project.revision) if visible else None
        self._show(project, self.serial, face)

    def _show(self, project: Project, row: int, face: Face | None) -> None:
        project.faces.append((row, face))
        shown = face and [face.name, face.serial, face.revision]
        self.history.add("face", at=self._now(), key=key_of(project), row=row, face=shown)

    def _create(self, project: Project) -> None:
        stem = project.name[: len(project.name) - 2]
        project.name = self._rng.choice(SPELLINGS).format(stem)
        project.alive = True
        self._row(project, "create")
        if self._rng.random() < 0.9:
            self._release(project)

    def _release(self, project: Project) -> None:
        project.releases += 1
        for action in ("new release", "add source file x.tar.gz")[: self._rng.randint(1, 2)]:
            project.revision += 1
            self._row(project, action)

    def _remove(self, project: Project) -> None:
        project.alive, project.hidden, project.releases = False, False, 0
        self._row(project, "remove project")

    def _empty(self, project: Project) -> None:
        project.releases = 0
        self._row(project, "remove release")

    def _hide(self, project: Project) -> None:
        project.hidden = not project.hidden
        self._row(
            project, "project quarantined" if project.hidden else "project quarantine cleared"
        )

    def _silent(self, project: Project) -> None:
        if project.face is not None:
            project.revision += 1
            face = Face(project.name, project.serial, project.revision)
            self._show(project, project.faces[-1][0], face)

    def _old_name(self, project: Project) -> None:
        """A row under another spelling: the document's serial never reaches it."""
        stem = project.name[: len(project.name) - 2]
        other = [s.format(stem) for s in SPELLINGS if s.format(stem) != project.name]
        self._row(project, "add Owner someone", self._rng.choice(other))


@dataclass
class Lies:
    """How often the edge does what, as shares of the requests; all 0 = healed."""

    stale: float = 0.0
    missing: float = 0.0
    fails: float = 0.0
    broken: float = 0.0
    foreign: float = 0.0
    limited: float = 0.0
    slow: float = 0.0


class SimUpstream:
    """The port, told by `truth` and `lies`."""

    def __init__(self, truth: Truth, rng: Random, lies: Lies) -> None:
        self.truth = truth
        self.lies = lies
        self.in_flight: dict[str, int] = {}
        self.held_until = 0.0
        self.down_until = 0.0
        self.violations: list[str] = []
        self.poisoned: dict[str, Lies] = {}  # projects that answer badly while the others are well
        self.requests = 0
        self.in_flight_most = 0
        self.zombies = False  # a worker that was put out may still fetch: nobody can know
        self._rng = rng

    async def permit(self) -> None:
        """After a hold."""
        while (wait := self.held_until - self._time()) > 0:  # noqa: ASYNC110 (it may be prolonged)
            await asyncio.sleep(wait)

    def hold(self, until_unix_seconds: float, reason: str) -> None:
        """Nobody else asks for one here."""

    async def last_serial(self) -> int:
        """The journal's newest."""
        await self._journal_answers()
        return self.truth.serial

    async def journal_since(self, serial: int) -> JournalPage:
        """Rows above `serial`, in pages of five."""
        await self._journal_answers()
        rows = [row for row in self.truth.journal if row.serial > serial]
        return JournalPage(rows[:5], (), len(rows) >= 5)

    async def project(self, name: NormalizedName, etag: str = "") -> Answer:
        """Truth or lie."""
        self.requests += 1
        if self._time() < self.held_until:
            self.violations.append(f"{name} was asked for during a hold")
        self.in_flight[name] = self.in_flight.get(name, 0) + 1
        self.in_flight_most = max(self.in_flight_most, sum(self.in_flight.values()))
        if self.in_flight[name] > 1 and not self.zombies:
            self.violations.append(f"{name} is fetched twice at once")
        try:
            slow = self._rng.random() < self.poisoned.get(name, self.lies).slow
            await asyncio.sleep(self._rng.uniform(2, 20) if slow else self._rng.uniform(0.01, 0.2))
            answer = self._answer(self.truth.projects[name])
        finally:
            self.in_flight[name] -= 1
        if isinstance(answer, Document) and etag and answer.etag == etag:
            return NotModified(answer.serial)
        return answer

    async def version(self, name: NormalizedName, version: str) -> Answer:
        """There is none."""
        del name, version
        return NotFound()

    async def page(self, name: NormalizedName) -> NotFound:
        """The index has what the documents say, and answers while nobody lies."""
        if self.truth.projects[name].face is None:
            return NotFound()
        raise UpstreamUnavailable("no page of the index today")

    async def core_metadata(self, url: str) -> NotFound:
        """There is none."""
        del url
        return NotFound()

    async def serial_map(self, etag: str = "") -> SerialMap:
        """A map up to a minute old."""
        del etag
        await self._journal_answers()
        oldest = self._time() - self._rng.uniform(0, MAP_AGE_SECONDS_MAX)
        old = [found for at, found in self.truth.maps if at >= oldest]
        return old[0] if old else self.truth.index()

    async def close(self) -> None:
        """Nothing to close."""

    def _time(self) -> float:
        return asyncio.get_running_loop().time()

    async def _journal_answers(self) -> None:
        await asyncio.sleep(0.05)
        if self._time() < self.down_until or self._rng.random() < self.lies.fails:
            raise UpstreamUnavailable("the journal is away")

    def _answer(self, project: Project) -> Answer:
        now, lies = self._time(), self.poisoned.get(key_of(project), self.lies)
        draw = self._rng.random
        if now < self.down_until or draw() < lies.fails:
            raise UpstreamUnavailable("503")
        if draw() < lies.limited:
            self.held_until = max(self.held_until, now + self._rng.uniform(1, 6))
            raise RateLimited("429", retry_after_seconds=self.held_until - now)
        if draw() < lies.broken:
            raise BrokenBody("cut short")
        if self._lies_missing(project, now, lies):
            return NotFound()
        if draw() < lies.foreign:
            return Face("somebody-else", self.truth.serial, 0).document()
        if draw() < lies.stale:
            faces = [face for _, face in project.faces if face is not None]
            if faces:
                return self._rng.choice(faces).document()
        face = project.face
        return NotFound() if face is None else face.document()

    def _lies_missing(self, project: Project, now: float, lies: Lies) -> bool:
        if now < project.lying_until:
            return True
        if now - project.lying_until < LIE_PAUSE_SECONDS or self._rng.random() >= lies.missing:
            return False
        project.lying_until = now + self._rng.uniform(0.1, LIE_SECONDS_MAX)
        return True


def key_of(project: Project) -> NormalizedName:
    """The project's key in the log."""
    return normalize(project.name)
