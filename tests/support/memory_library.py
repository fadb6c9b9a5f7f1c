"""A library held in dictionaries: what endpoints are tested against without a view of the log.

`put` takes a document as PyPI gives it and does with it what the serving view does: everything an
endpoint may ask follows from documents, states and journal rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from schemas.names import NormalizedName, normalize
from schemas.records import ChangelogEntry, Config, Cut, Head, Kind, State, Status
from schemas.releases import SlimReleases
from sinks.dependencies import parse
from sinks.http.library import (
    PAGE_MAX,
    Dependent,
    Document,
    GoneFile,
    Listed,
    Releases,
    Removed,
    UserRole,
    View,
)
from sinks.serving.rows import etag_of
from sinks.sink import Vector


class MemoryLibrary:
    """See `sinks.http.library.Library`."""

    def __init__(self) -> None:
        self.documents: dict[NormalizedName, Document] = {}
        self.slim: dict[NormalizedName, Releases] = {}
        self.states: dict[NormalizedName, State] = {}
        self.gone: dict[NormalizedName, Removed] = {}
        self.lost: dict[NormalizedName, list[GoneFile]] = {}
        self.journal: list[ChangelogEntry] = []
        self.base = 0
        self.reached = 0
        self.no_watermark = False

    def put(
        self,
        document: Mapping[str, Any],
        releases: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        *,
        stale: bool = False,
    ) -> NormalizedName:
        """Publish a document; `releases` (slim files by version) None = what the document has."""
        body = msgspec.json.encode(document)
        info = document["info"]
        name, serial = normalize(info["name"]), document.get("last_serial", 1)
        self.documents[name] = Document(body, serial, etag_of(body, serial), stale)
        slim = msgspec.convert(
            {
                "name": name,
                "display_name": info["name"],
                "serial": serial,
                "latest": info.get("version"),
                "releases": document.get("releases", {}) if releases is None else releases,
            },
            SlimReleases,
        )
        self.slim[name] = Releases(slim, 0, "latest" if releases is None else "all")
        self.states[name] = State(Status.OK, serial, serial, name=info["name"])
        self.gone.pop(name, None)
        self.reached = max(self.reached, serial)
        return name

    def remove(self, name: NormalizedName, serial: int, time: int, reason: str = "removed") -> None:
        """Let a project be gone."""
        self.documents.pop(name, None)
        held = self.slim.pop(name, None)
        versions = held.slim.releases if held is not None and held.held == "all" else {}
        self.lost[name] = [GoneFile(version, file) for version in versions
                           for file in versions[version]]  # fmt: skip
        display = self.states[name].name if name in self.states else name
        self.states[name] = State(Status.OK, serial, 0, serial, name=display)
        self.gone[name] = Removed(name, display, reason, serial, time)
        self.reached = max(self.reached, serial)

    def owe(self, name: NormalizedName, state: State) -> None:
        """Let a name be in another state than what `put` and `remove` say."""
        self.states[name] = state

    def write(self, entries: Iterable[ChangelogEntry]) -> None:
        """Add journal rows, in any order."""
        self.journal = sorted([*self.journal, *entries], key=lambda entry: entry.serial)
        self.reached = max([self.reached, *(entry.serial for entry in self.journal)])

    def view(self) -> View | None:
        """What is here."""
        time = self.journal[-1].time if self.journal else 0
        claim = None if self.no_watermark else self.reached
        cut = Cut(len(self.journal), 0, 0, 0, 0, serial=self.reached, time=time)
        return View(
            vector=Vector("memory", (cut,)),
            config=Config("memory", 1, 1),
            head=Head(self.reached, self.base, time, (len(self.journal),)),
            watermark=claim,
            reached=self.reached,
            base=self.base,
            backfill_done=None,
            backfill_names=None,
            names=len(self.states),
            projects=len(self.documents),
            removed=len(self.gone),
            exceptions=len(self.exceptions()),
            statuses=Counter(state.status for state in self.states.values()),
            as_of_ms=0,
        )

    def document(self, name: NormalizedName) -> Document | None:
        return self.documents.get(name)

    def releases(self, name: NormalizedName) -> Releases | None:
        return self.slim.get(name)

    def gone_files(self, name: NormalizedName) -> Sequence[GoneFile]:
        return sorted(self.lost.get(name, ()), key=lambda gone: gone.file.filename)

    def state(self, name: NormalizedName) -> State | None:
        return self.states.get(name)

    def listed(self, name: NormalizedName) -> Listed | None:
        document = self.documents.get(name)
        if document is None:
            return None
        info = msgspec.json.decode(document.body)["info"]
        version, summary = info.get("version"), info.get("summary") or None
        return Listed(name, info["name"], version, summary, document.serial)

    def projects(self, after: str = "", limit: int = PAGE_MAX) -> Sequence[Listed]:
        return self._lines(self.documents, after, limit)

    def search(self, words: Sequence[str], limit: int = PAGE_MAX) -> Sequence[Listed]:
        def words_of(line: Listed) -> list[str]:
            return [*line.name.split("-"), *(line.summary or "").lower().split()]

        lines = [
            line
            for line in self._lines(self.documents, "", len(self.documents))
            if all(any(have.startswith(w.lower()) for have in words_of(line)) for w in words)
        ]
        joined = "-".join(words).lower()
        lines.sort(key=lambda line: (line.name != joined, not line.name.startswith(joined)))
        return lines[:limit]

    def dependents(
        self, name: NormalizedName, after: str = "", limit: int = PAGE_MAX
    ) -> Sequence[Dependent]:
        found = []
        for other in sorted(self.documents):
            info = msgspec.json.decode(self.documents[other].body)["info"]
            lines = [parse(line) for line in info.get("requires_dist") or []]
            hits = [line for line in lines if line.dependency == name]
            if hits and other > after:
                optional = all(hit.extra is not None for hit in hits)
                texts = tuple(hit.requirement for hit in hits)
                found.append(Dependent(other, info["name"], texts, optional))
        return found[:limit]

    def dependent_count(self, name: NormalizedName) -> int:
        return len(self.dependents(name, limit=len(self.documents)))

    def projects_of(self, user: str, after: str = "", limit: int = PAGE_MAX) -> Sequence[UserRole]:
        found: list[UserRole] = []
        for name in sorted(self.documents):
            document = msgspec.json.decode(self.documents[name].body)
            roles = (document.get("ownership") or {}).get("roles") or []
            found += [
                UserRole(role["role"], name, document["info"]["name"])
                for role in roles
                if role["user"] == user and name > after
            ]
        return found[:limit]

    def classified(
        self, classifiers: Sequence[str], after: str = "", limit: int = PAGE_MAX
    ) -> Sequence[Listed]:
        wanted = set(classifiers)
        names = [
            name
            for name, document in self.documents.items()
            if wanted <= set(msgspec.json.decode(document.body)["info"].get("classifiers") or [])
        ]
        return self._lines(names, after, limit)

    def changes(self, after_serial: int, limit: int = PAGE_MAX) -> Sequence[ChangelogEntry]:
        return [entry for entry in self.journal if entry.serial > after_serial][:limit]

    def changes_of(
        self, name: NormalizedName, before_serial: int | None = None, limit: int = PAGE_MAX
    ) -> Sequence[ChangelogEntry]:
        return [e for e in self._back(before_serial) if normalize(e.name) == name][:limit]

    def recent(
        self, kinds: frozenset[Kind], before_serial: int | None = None, limit: int = PAGE_MAX
    ) -> Sequence[ChangelogEntry]:
        return [e for e in self._back(before_serial) if not kinds or e.kind in kinds][:limit]

    def serial_at(self, unix_seconds: int) -> int:
        later = (entry.serial for entry in self.journal if entry.time >= unix_seconds)
        return min(later, default=self.reached + 1) - 1

    def removed(self, before_serial: int | None = None, limit: int = PAGE_MAX) -> Sequence[Removed]:
        lines = sorted(self.gone.values(), key=lambda line: line.serial, reverse=True)
        return [e for e in lines if before_serial is None or e.serial < before_serial][:limit]

    def exceptions(
        self, after: str = "", limit: int = PAGE_MAX
    ) -> Sequence[tuple[NormalizedName, State]]:
        known = sorted(self.states.items())
        return [(name, state) for name, state in known if state.exception and name > after][:limit]

    def _back(self, before: int | None) -> list[ChangelogEntry]:
        return [e for e in reversed(self.journal) if before is None or e.serial < before]

    def _lines(self, names: Iterable[NormalizedName], after: str, limit: int) -> list[Listed]:
        lines = (self.listed(name) for name in sorted(names) if name > after)
        return [line for line in lines if line is not None][:limit]
