"""The truth: every project's present state, its earlier ones, and the journal.

Nothing here knows of HTTP or of faults. All times are Unix seconds of the clock handed in.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterator
from enum import StrEnum

import orjson

from upstream.standin.corpus import Corpus, Roles, classifier_bits
from upstream.standin.descriptions import describe
from upstream.standin.documents import Document, dumped
from upstream.standin.journal import Journal, Row
from upstream.standin.seeds import generator, likely
from upstream.standin.store import BodyRef, BodyStore, etag_of
from upstream.standin.vocabulary import CLASSIFIERS, normalized

Clock = Callable[[], float]

EDITIONS_MAX = 256  # earlier states kept per project: what a stale cache may still serve
SERIAL_GAP_MAX = 40
GAP_SHARE = 0.3  # of rows that leave serials out before them


class Status(StrEnum):
    """What a name is. Only OK has a document that JSON serves."""

    OK = "ok"
    NO_RELEASES = "no-releases"
    REMOVED = "removed"
    QUARANTINED = "quarantined"
    NONE = "none"


class Edition:
    """One state of a project, from `since` until the next edition's."""

    __slots__ = ("display_name", "etag", "ref", "serial", "since", "status")

    def __init__(
        self,
        since: float,
        status: Status,
        display_name: str,
        serial: int,
        ref: BodyRef | None,
        etag: str,
    ) -> None:
        self.since = since
        self.status = status
        self.display_name = display_name
        self.serial = serial
        self.ref = ref  # kept while quarantined, but not served
        self.etag = etag

    @property
    def served(self) -> bool:
        """Whether JSON answers with the document."""
        return self.status is Status.OK and self.ref is not None

    @property
    def listed(self) -> bool:
        """Whether the maps of serials have the name."""
        return self.status is not Status.REMOVED


class Project:
    """A name that was ever known."""

    __slots__ = (
        "archived",
        "classifiers",
        "editions",
        "hidden",
        "name",
        "roles",
        "shortened",
        "version",
    )

    def __init__(self, name: str, edition: Edition, roles: Roles) -> None:
        self.name = name
        self.editions = [edition]
        self.roles = roles
        self.version = ""  # the latest
        self.classifiers = 0  # bit n: has CLASSIFIERS[n]
        self.archived = False
        self.shortened = False  # the earliest states are forgotten
        self.hidden: dict[str, list[dict[str, object]]] | None = None  # quarantined releases

    @property
    def edition(self) -> Edition:
        """The present state."""
        return self.editions[-1]

    def edition_at(self, moment: float) -> Edition | None:
        """The state at `moment`; None if the name was not known yet."""
        if self.editions[-1].since <= moment:
            return self.editions[-1]
        place = bisect_right(self.editions, moment, key=lambda edition: edition.since)
        if place:
            return self.editions[place - 1]
        return self.editions[0] if self.shortened else None


class World:
    """All projects by normalised name, the journal, the bodies."""

    def __init__(self, corpus: Corpus, seed: int, clock: Clock) -> None:
        self.clock = clock
        self.store = BodyStore(corpus.fd)
        self.projects: dict[str, Project] = {}
        self.revision = 0  # grows with every edition
        self.seed = seed
        self._gaps = generator("gaps", seed)
        for seedling in corpus.seedlings:
            edition = Edition(
                0.0,
                Status(seedling.status),
                seedling.display_name,
                seedling.serials[-1],
                seedling.ref,
                seedling.etag,
            )
            project = Project(normalized(seedling.display_name), edition, seedling.roles)
            project.version, project.classifiers = seedling.version, seedling.classifiers
            self.projects[project.name] = project
        self.names = sorted(self.projects)  # every name ever known
        self.journal = Journal(corpus.seedlings)

    def project(self, name: str) -> Project | None:
        """By normalised name."""
        return self.projects.get(name)

    def document(self, edition: Edition) -> Document | None:
        """The document of a state, served or not."""
        if edition.ref is None:
            return None
        document: Document = orjson.loads(self.store.raw(edition.ref))
        return document

    def write_row(self, display_name: str, version: str | None, action: str) -> Row:
        """Write a journal row; serials rise with gaps."""
        now = self.clock()
        gap = self._gaps.randrange(1, SERIAL_GAP_MAX) if likely(self._gaps, GAP_SHARE) else 0
        row = Row(display_name, version, int(now), action, self.journal.last_serial + 1 + gap)
        self.journal.append(row, now)
        return row

    def commit(
        self,
        project: Project,
        document: Document | None,
        *,
        status: Status,
        serial: int,
        display_name: str | None = None,
    ) -> Edition:
        """Make a new state the present one; `document` None = there is none."""
        now = self.clock()
        ref, etag = None, ""
        if document is not None:
            if "last_serial" in document:
                document["last_serial"] = serial
            raw = dumped(describe(document))
            ref, etag = self.store.add(raw), etag_of(raw)
            project.version = document["info"]["version"]
        else:
            project.version = ""
        project.classifiers = classifier_bits(document)
        name = display_name or project.edition.display_name
        edition = Edition(now, status, name, serial, ref, etag)
        project.editions.append(edition)
        if len(project.editions) > EDITIONS_MAX:
            del project.editions[0]
            project.shortened = True
        self.revision += 1
        return edition

    def add(self, display_name: str, roles: Roles, serial: int) -> Project:
        """A new name, without releases."""
        name = normalized(display_name)
        edition = Edition(self.clock(), Status.NO_RELEASES, display_name, serial, None, "")
        project = Project(name, edition, roles)
        self.projects[name] = project
        insort(self.names, name)
        self.revision += 1
        return project

    def listed_at(self, moment: float) -> Iterator[Edition]:
        """States of all listed projects at `moment`, by normalised name."""
        for name in self.names:
            edition = self.projects[name].edition_at(moment)
            if edition is not None and edition.listed:
                yield edition

    def of_user(self, user: str) -> list[tuple[str, str]]:
        """(role, display name) of a user's projects."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for name in self.names:
            project = self.projects[name]
            for role, holder in project.roles:
                if holder == user and project.edition.listed:
                    found[role].append(project.edition.display_name)
        return [(role, name) for role in sorted(found) for name in found[role]]

    def with_classifiers(self, classifiers: list[str]) -> list[tuple[str, str]]:
        """(display name, latest version) of projects that have all of these classifiers."""
        if any(text not in CLASSIFIERS for text in classifiers):
            return []
        wanted = sum(1 << CLASSIFIERS.index(text) for text in set(classifiers))
        return [
            (project.edition.display_name, project.version)
            for project in (self.projects[name] for name in self.names)
            if project.edition.served and project.classifiers & wanted == wanted
        ]

    def close(self) -> None:
        """Give the files back."""
        self.store.close()
