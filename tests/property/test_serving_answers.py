"""The serving view answers as a library held in memory does, whatever was written."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.codec import encode
from schemas.names import NormalizedName
from schemas.records import ChangelogEntry, Kind, State, Status
from schemas.topics import Topic
from sinks.http.library import Library
from sinks.serving import reader as serving_reader
from sinks.serving.reader import ServingLibrary
from sinks.serving.view import ServingView
from streams.log import Outgoing, Record
from tests.support.memory_library import MemoryLibrary
from tests.support.view_records import (
    TIME,
    document,
    envelope,
    file,
    metadata,
    reach,
    read,
    releases,
    slim,
    take,
)

NOW_MS = 1_700_000_100_000


@pytest.fixture
def view(tmp_path: Path) -> Iterator[ServingView]:
    with_files = ServingView(tmp_path)
    yield with_files
    with_files.close()


@pytest.fixture
def library(tmp_path: Path, view: ServingView) -> Iterator[ServingLibrary]:
    reading = ServingLibrary(tmp_path, view.suspect)
    yield reading
    reading.close()


def publish(view: ServingView, library: ServingLibrary, serial: int = 50) -> None:
    reach(view, serial)
    view.publish(NOW_MS)
    library.renew()


def body_of(name: str, serial: int, noise: random.Random) -> dict[str, Any]:
    """A document with relations drawn at random."""
    version = f"{noise.randrange(3)}.{noise.randrange(3)}"
    whole = document(name, version, last_serial=serial)
    needs = noise.sample(["foo>=1", "bar", "Baz.x; extra == 't'", "q (>1)", "broken ("], 3)
    whole["info"] |= {
        "requires_dist": needs,
        "classifiers": noise.sample(["A :: B", "A :: C", "D"], noise.randrange(4)),
        "summary": noise.choice(["Quick parser", "A parser of things", "", None]),
    }
    roles = [{"role": "Owner", "user": noise.choice("uvw")} for _ in range(noise.randrange(3))]
    roles = [role for at, role in enumerate(roles) if role not in roles[:at]]
    whole["ownership"] = {"organization": None, "roles": roles}
    return whole


def answers(library: Library, names: list[NormalizedName]) -> dict[str, Any]:
    """Everything that the library can be asked about these names."""
    seen: dict[str, Any] = {
        "projects": library.projects(),
        "paged": [*library.projects(limit=2), *library.projects("foo", 2)],
        "removed": library.removed(),
        "exceptions": library.exceptions(),
        "journal": library.changes(3),
        "recent": library.recent(frozenset()),
        "recent files": library.recent(frozenset({Kind.ADD_FILE}), 40, 5),
        "u": library.projects_of("u"),
        "A :: B": library.classified(["A :: B"]),
        "both": library.classified(["A :: B", "D"]),
        "none": library.classified(["D", "never seen"]),
        "search": sorted(library.search(["pars"])),
        "search two": sorted(library.search(["Parser", "quick"])),
    }
    for name in names:
        seen |= {
            f"document {name}": library.document(name),
            f"releases {name}": library.releases(name),
            f"state {name}": library.state(name),
            f"listed {name}": library.listed(name),
            f"dependents {name}": library.dependents(name),
            f"count {name}": library.dependent_count(name),
            f"changes {name}": library.changes_of(name),
        }
    known = library.view()
    assert known is not None
    figures = ("names", "projects", "removed", "exceptions", "reached")
    seen["view"] = {figure: getattr(known, figure) for figure in figures}
    seen["statuses"] = {status: known.statuses.get(status, 0) for status in Status}
    return seen


def step(noise: random.Random, serial: int, model: MemoryLibrary) -> list[Outgoing]:
    """One project changes, in the model and as the records that tell of it."""
    name = NormalizedName(noise.choice(["foo", "bar", "baz-x", "q"]))
    kind = noise.choice([Kind.NEW_RELEASE, Kind.ADD_FILE])
    row = ChangelogEntry(serial, name, "1", TIME + serial, "x", kind)
    model.write([row])
    out = [Outgoing(Topic.CHANGELOG, name, encode(row), envelope(Topic.CHANGELOG))]
    chance = noise.random()
    if chance < 0.2 and name in model.documents:
        model.remove(name, serial, TIME)
        tombstone = envelope(Topic.METADATA, event_serial=serial, reason="removed")
        out += [
            Outgoing(Topic.METADATA, name, None, tombstone),
            Outgoing(Topic.RELEASES, name, None, tombstone),
        ]
    elif chance < 0.3:
        shown = model.states[name].name if name in model.states else name
        model.owe(name, State(Status.PARKED, serial, name=shown, attempts=1))
    else:
        body = body_of(name, serial, noise)
        every = {"0.0": [file(f"{name}-0.whl")], **body["releases"]}
        model.put(body, every, stale=chance > 0.9)
        out += [
            metadata(name, model.documents[name].body, serial=serial, stale=chance > 0.9),
            releases(name, slim(name, every, body["info"]["version"]) | {"serial": serial}),
        ]
    return [*out, Outgoing(Topic.STATE, name, encode(model.states[name]), ())]


@pytest.mark.parametrize("seed", range(4))
def test_answers_are_those_of_a_library_held_in_memory(
    view: ServingView, library: ServingLibrary, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any history of documents, tombstones and states, in batches of any size, half applied twice.

    After each batch everything a library can be asked is compared.
    """
    monkeypatch.setattr(serving_reader, "EXCEPTIONS_SORTED_MAX", seed % 2)  # both ways to find them
    noise, model = random.Random(seed), MemoryLibrary()
    records: list[Record] = []
    outgoing: list[Outgoing] = []
    for serial in range(1, 40):
        outgoing += step(noise, serial, model)
        if noise.random() < 0.7:
            continue
        every = read(outgoing)
        take(view, every[len(records) // 2 :])  # what it has seen comes again
        records = every
        publish(view, library, model.reached)

        names = [NormalizedName(name) for name in ("foo", "bar", "baz-x", "q", "unknown")]
        assert answers(model, names) == answers(library, names)
