"""What can happen to a project, one function per kind, written as the index would do it.

A change is a generator: what it yields is how many seconds pass in the index before its next
journal row (an upload writes several). Whoever runs it waits, or does not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from upstream.standin.corpus import make_roles
from upstream.standin.documents import Document, Plan, make_document, settle
from upstream.standin.files import Era, FileMaker, file_name
from upstream.standin.journal import Row
from upstream.standin.oddities import vulnerability
from upstream.standin.packages import INSTALLABLE_NAMES
from upstream.standin.versions import latest_version, next_version
from upstream.standin.vocabulary import fresh_name, normalized, prose, respelled
from upstream.standin.world import Project, Status, World

NEW_DOCUMENT_BYTES = 5000
BURST_SECONDS = (0.9, 0.8)  # between the rows of one upload, which all come within 2 s
Steps = Iterator[float]


@dataclass(slots=True)
class Change:
    """One change being made. `serial` is that of the last row, or of the document without a row."""

    world: World
    random: random.Random
    project: Project | None
    wanted_name: str | None = None
    rows: list[Row] = field(default_factory=list)
    serial: int = 0

    @property
    def it(self) -> Project:
        """The project, where the kind needs one."""
        assert self.project is not None
        return self.project

    def row(self, version: str | None, action: str, *, spelled: str | None = None) -> int:
        """Write a row under the present display name; returns what `last_serial` is now."""
        name = spelled or self.it.edition.display_name
        row = self.world.write_row(name, version, action)
        self.rows.append(row)
        self.serial = row.serial
        # Rows under another spelling do not count for the document's serial.
        return row.serial if name == self.it.edition.display_name else self.it.edition.serial

    def document(self) -> Document:
        """The present document, or a new one without releases."""
        document = self.world.document(self.it.edition)
        if document is not None:
            return document
        edition = self.it.edition
        plan = Plan(
            self.world.seed,
            0,
            edition.display_name,
            edition.serial,
            NEW_DOCUMENT_BYTES,
            Era.TODAY,
            self.it.roles,
            int(self.world.clock()),
        )
        document = make_document(plan, self.random)
        document["releases"] = {}
        return document

    def save(self, document: Document, serial: int) -> None:
        """Make `document` the present one; without releases there is none."""
        status = self.it.edition.status
        if not document["releases"]:
            self.world.commit(self.it, None, status=Status.NO_RELEASES, serial=serial)
            return
        if status is not Status.QUARANTINED:
            status = Status.OK
        self.world.commit(self.it, settle(document), status=status, serial=serial)

    def touch(self, serial: int) -> None:
        """Only the serial changed."""
        document = self.world.document(self.it.edition)
        if document is None:
            self.world.commit(self.it, None, status=self.it.edition.status, serial=serial)
        else:
            self.save(document, serial)

    def maker(self) -> FileMaker:
        """For new files of this project."""
        name = self.it.edition.display_name
        return FileMaker(self.world.seed, name, self.random.getrandbits(30), Era.TODAY)


@dataclass(frozen=True, slots=True)
class ChangeKind:
    """A kind of change: how often it comes by itself, what it needs, what it does."""

    name: str
    description: str
    weight: float
    suits: Callable[[Project | None], bool]
    make: Callable[[Change], Steps]


KINDS: dict[str, ChangeKind] = {}


def kind(
    name: str, weight: float, suits: Callable[[Project | None], bool]
) -> Callable[[Callable[[Change], Steps]], Callable[[Change], Steps]]:
    """Register a kind; its docstring is its description."""

    def register(make: Callable[[Change], Steps]) -> Callable[[Change], Steps]:
        KINDS[name] = ChangeKind(name, (make.__doc__ or "").strip(), weight, suits, make)
        return make

    return register


def served(project: Project | None) -> bool:
    """It has a document."""
    return project is not None and project.edition.served


def alive(project: Project | None) -> bool:
    """It is there and not quarantined."""
    return project is not None and project.edition.status in {Status.OK, Status.NO_RELEASES}


def upload(change: Change, version: str, *, wheel_only: bool = False) -> Steps:
    """The rows of one release: `new release`, then one per file; the document grows with each."""
    document = change.document()
    document["releases"][version] = []
    words = prose(change.random, 60).replace("\n", " ").strip()
    document["info"]["summary"] = words
    change.save(document, change.row(version, "new release"))
    maker = change.maker()
    for place, number in enumerate((1,) if wheel_only else (0, 1)):
        yield BURST_SECONDS[place]
        if not alive(change.project):
            return  # removed or quarantined by another change in between
        what = file_name(maker.name, version, number)
        document = change.document()
        now = change.world.clock()
        file = maker.make(version, what, document["info"].get("requires_python"), now)
        document["releases"].setdefault(version, []).append(file)
        verb = "source" if what.packagetype == "sdist" else what.python_version
        change.save(document, change.row(version, f"add {verb} file {what.filename}"))


def unused_version(change: Change, *, prerelease: bool = False) -> str:
    """A version above the present latest that the document does not have."""
    releases = change.document()["releases"]
    version = next_version(latest_version(releases), prerelease=prerelease) if releases else "0.1.0"
    while version in releases:
        version = next_version(version, prerelease=prerelease)
    return version


@kind("create", 8, lambda project: project is None or project.edition.status is Status.REMOVED)
def create(change: Change) -> Steps:
    """A new project with its first release."""
    world = change.world
    name = change.wanted_name or fresh_name(change.random, world.projects)
    found(change, name)
    yield BURST_SECONDS[0] / 4
    yield from upload(change, "0.1.0")


def found(change: Change, display_name: str) -> None:
    """Write `create` and the owner's row for a name that is new or was removed."""
    world = change.world
    roles = make_roles(change.random, len(world.projects))
    row = world.write_row(display_name, None, "create")
    change.rows.append(row)
    change.serial = row.serial
    project = world.project(normalized(display_name))
    if project is None:
        project = world.add(display_name, roles, row.serial)
    else:
        world.commit(
            project, None, status=Status.NO_RELEASES, serial=row.serial, display_name=display_name
        )
        project.roles, project.hidden, project.archived = roles, None, False
    change.project = project
    for role, user in roles:
        change.touch(change.row(None, f"add {role} {user}"))


@kind("release", 40, alive)
def release(change: Change) -> Steps:
    """A new release in several rows over 2 s."""
    version = unused_version(change)
    yield from upload(change, version, wheel_only=change.it.name in INSTALLABLE_NAMES)


@kind("prerelease", 4, alive)
def prerelease(change: Change) -> Steps:
    """A prerelease above the latest version."""
    yield from upload(change, unused_version(change, prerelease=True))


@kind("add-file", 8, served)
def add_file(change: Change) -> Steps:
    """One more wheel for the latest release."""
    document = change.document()
    version = document["info"]["version"]
    maker, files = change.maker(), document["releases"][version]
    what = file_name(maker.name, version, 2 + len(files))
    now = change.world.clock()
    files.append(maker.make(version, what, document["info"].get("requires_python"), now))
    change.save(document, change.row(version, f"add {what.python_version} file {what.filename}"))
    yield 0.0


@kind("remove-project", 3, lambda project: project is not None and project.edition.listed)
def remove_project(change: Change) -> Steps:
    """The project is deleted."""
    change.row(None, "remove project")
    change.world.commit(change.it, None, status=Status.REMOVED, serial=change.serial)
    change.it.hidden = None
    yield 0.0


@kind("recreate", 4, lambda project: project is not None)
def recreate(change: Change) -> Steps:
    """Deleted (if it is there) and made anew by someone else, under another spelling."""
    if change.it.edition.listed:
        yield from remove_project(change)
    found(change, respelled(change.it.edition.display_name, change.random))
    yield BURST_SECONDS[0] / 4
    yield from upload(change, change.random.choice(("0.0.1", "1.0", "2.0.0")))


def vulnerability_number(random_: random.Random) -> int:
    """For a made-up advisory."""
    return random_.randrange(5, 1000)


@kind("vulnerability", 3, served)
def add_vulnerability(change: Change) -> Steps:
    """No row: an advisory is published for the latest version."""
    document = change.document()
    entry = vulnerability(vulnerability_number(change.random), [])
    document.setdefault("vulnerabilities", []).append(entry)
    change.serial = change.it.edition.serial
    change.save(document, change.serial)
    yield 0.0
