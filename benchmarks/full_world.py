"""A log at PyPI's size for `benchmarks.full`, made once and kept: `FOLDER/data/log.sqlite`.

Documents are the stand-in's, which have the sizes of real ones, under other names: every project
has names of files and hashes of its own, so that nothing compresses that would not on PyPI.
Dependencies are drawn such that few projects are required by many, as on PyPI: a list of popular
ones by Zipf's law, `requests` first. What a project's document and releases were at its edition
`n` is a function of its number and of `n`, so that changes can be made at any time.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import shutil
import time
from bisect import bisect
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import NamedTuple

from benchmarks.bootstrap import DOCUMENTS, corpus, written_as
from benchmarks.reconcile import names
from processors.trim import Trimmed
from schemas.codec import Envelope, dataschema, encode, headers
from schemas.names import NormalizedName, normalize
from schemas.records import ChangelogEntry, Config, Head, Kind
from schemas.topics import Topic
from streams.log import Outgoing
from streams.progress import CONFIG_KEY, CUT_KEY, HEAD_KEY, progress_record
from streams.sqlite_log import SqliteLog
from tests.support.cuts import cut_at

WORLD_FORMAT = 1
"""Raise it whenever a world would be filled otherwise: one that was kept is made anew then."""

SERIAL = 30_000_000  # of the first project; each has one more
TIME = 1_777_532_160
BATCH = 500  # projects of one append
POPULAR = 5_000  # projects that others require by Zipf's law
UNPOPULAR_SHARE = 0.25  # of the requirements: any project
SKEW = 0.75  # of Zipf's law: as many require the first as DEPENDENTS_SHARE wants, and more
DEPENDENTS_SHARE = 50_000 / 886_000  # of all projects, that require `requests` at least
FIRST = "requests"
ALL_CHANGES_SHARE = 450_000 / 886_000  # changes by projects, over which the live file is watched
MARKERS = ("", "", "", ">=1.0", ">=2,<3", "~=4.2", "; extra == 'dev'", '; python_version < "3.10"')
REQUIREMENTS_MEAN = 4.0  # of projects that have any
REQUIREMENTS_MAX = 60
REQUIRING = 0.55  # of the projects have any

_HASH = re.compile(rb"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}|[0-9a-f]{64}")
_REQUIRES = re.compile(rb'(?<="requires_dist":)(?:null|\[[^\]]*\])')


class Slot(NamedTuple):
    """What stands between two pieces: a name as `kind` spells it, a hash by `number`, or lines."""

    kind: str  # "name", "file" (name with underscores), "hash", "path", "requires"
    number: int = 0


class Template(NamedTuple):
    """JSON in pieces."""

    pieces: list[bytes]
    slots: list[Slot]

    def of(self, name: bytes, hashes: list[str], requires: bytes) -> bytes:
        """The JSON of one project."""
        parts = [self.pieces[0]]
        for slot, piece in zip(self.slots, self.pieces[1:], strict=True):
            if slot.kind == "hash":
                parts.append(hashes[slot.number].encode())
            elif slot.kind == "path":
                text = hashes[slot.number]
                parts.append(f"{text[:2]}/{text[2:4]}/{text[4:]}".encode())
            elif slot.kind == "requires":
                parts.append(requires)
            else:
                parts.append(name.replace(b"-", b"_") if slot.kind == "file" else name)
            parts.append(piece)
        return b"".join(parts)


class Document(NamedTuple):
    """A document of the stand-in under any name; `hashes` how many it has."""

    trimmed: Trimmed
    metadata: Template
    releases: Template
    hashes: int


def template(value: bytes, display_name: str, known: dict[bytes, int]) -> Template:
    """Take JSON apart; `known` numbers its hashes, those of other texts among them."""
    words = b"[-_.]+".join(re.escape(word.encode()) for word in re.split(r"[-_.]+", display_name))
    name = re.compile(rb'(?<=["/])' + words + rb'(?=["/-])', re.IGNORECASE)
    found: list[tuple[int, int, Slot]] = []
    for match in _HASH.finditer(value):
        number = known.setdefault(match[0].replace(b"/", b""), len(known))
        kind = "path" if b"/" in match[0] else "hash"
        found.append((match.start(), match.end(), Slot(kind, number)))
    for match in name.finditer(value):
        kind = "file" if value[match.end() : match.end() + 1] == b"-" else "name"
        found.append((match.start(), match.end(), Slot(kind)))
    if requires := _REQUIRES.search(value):
        found.append((requires.start(), requires.end(), Slot("requires")))
    made, at = Template([], []), 0
    for start, end, slot in sorted(found):
        if start >= at:  # what lies within a list of requirements goes with it
            made.pieces.append(value[at:start])
            made.slots.append(slot)
            at = end
    made.pieces.append(value[at:])
    return made


class World:
    """Every record of every project, by its number."""

    def __init__(self, projects: int, documents: int = DOCUMENTS) -> None:
        self.projects = projects
        self.names = [normalize(name) for name in islice(names(projects), projects)]
        if FIRST not in self.names:
            self.names[0] = NormalizedName(FIRST)
        self._documents = [
            _document(each) for each in corpus(projects, documents).trimmed if each.releases
        ]
        chance = Random(7)
        popular = chance.sample(self.names, min(POPULAR, projects // 2))
        self._popular = [FIRST, *(name for name in popular if name != FIRST)]
        weights = (1 / place**SKEW for place in range(1, len(self._popular) + 1))
        self._weights = list(itertools.accumulate(weights))

    def records(self, number: int, edition: int = 0) -> list[Outgoing]:
        """What a worker writes for this project; a later edition has other hashes."""
        name = self.names[number]
        chance = Random(number + edition * self.projects)
        made = self._documents[number % len(self._documents)]
        raw = chance.randbytes(32 * made.hashes).hex()
        hashes = [raw[at : at + 64] for at in range(0, len(raw), 64)]
        requires = self._requires(number)
        spelt = name.encode()
        found = made.trimmed._replace(
            metadata=made.metadata.of(spelt, hashes, requires),
            releases=made.releases.of(spelt, hashes, requires),
            display_name=name,
        )
        serial = SERIAL + number + edition * self.projects
        return written_as(name, found, serial)

    def entry(self, number: int) -> Outgoing:
        """A row of the journal."""
        name = self.names[number]
        row = ChangelogEntry(SERIAL + number, name, "1.0", TIME, "new release", Kind.NEW_RELEASE)
        about = Envelope(
            id=str(SERIAL + number),
            type="pypistream.changelog",
            subject=name,
            time=TIME,
            dataschema=dataschema(Topic.CHANGELOG),
        )
        return Outgoing(Topic.CHANGELOG, name, encode(row), headers(about))

    def _requires(self, number: int) -> bytes:
        """Requirements of a project, the same in all its editions."""
        chance = Random(number)
        lines: list[str] = []
        if chance.random() < REQUIRING:
            count = 1 + min(REQUIREMENTS_MAX, int(chance.expovariate(1 / REQUIREMENTS_MEAN)))
            lines += (self._required(chance) + chance.choice(MARKERS) for _ in range(count))
        elif chance.random() < DEPENDENTS_SHARE:
            lines.append(FIRST)
        return json.dumps(lines or None).encode()

    def _required(self, chance: Random) -> str:
        if chance.random() < UNPOPULAR_SHARE:
            return self.names[chance.randrange(self.projects)]
        place = chance.random() * self._weights[-1]
        return self._popular[min(bisect(self._weights, place), len(self._popular) - 1)]


def _document(trimmed: Trimmed) -> Document:
    known: dict[bytes, int] = {}
    metadata = template(trimmed.metadata, trimmed.display_name, known)
    releases = template(trimmed.releases, trimmed.display_name, known)
    return Document(trimmed, metadata, releases, len(known))


def filled(folder: Path, projects: int) -> None:
    """Make it where it is not there already."""
    note, wanted = folder / "world.json", {"format": WORLD_FORMAT, "projects": projects}
    if note.exists() and json.loads(note.read_bytes()) == wanted:
        return
    shutil.rmtree(folder / "data", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(_fill(folder, World(projects)))
    note.write_text(json.dumps(wanted))


async def _fill(folder: Path, world: World) -> None:
    log = await SqliteLog.open(folder / "data" / "log.sqlite", 1)
    ends = dict.fromkeys(Topic, 0)
    for batch in _batches(world.projects):
        records = [record for each in batch for record in (world.entry(each), *world.records(each))]
        for record in records:
            ends[record.topic] += 1
        await log.append(records)
    now_ms = int(time.time() * 1000)
    newest = SERIAL + world.projects
    cut = cut_at(ends, newest, now_ms // 1000)
    head = Head(newest, SERIAL, now_ms // 1000, (ends[Topic.CHANGELOG],))
    await log.append(
        [
            progress_record(1, CONFIG_KEY, Config("0" * 32, 1, 1), now_ms),
            progress_record(1, HEAD_KEY, head, now_ms),
            progress_record(0, CUT_KEY, cut, now_ms),
        ]
    )
    await log.close()


def _batches(projects: int) -> Iterator[list[int]]:
    numbers = iter(range(projects))
    while batch := list(islice(numbers, BATCH)):
        yield batch
