"""A data directory at PyPI's size for the benchmarks of the HTTP service, made once and kept.

Documents are the stand-in's, over and over under other names. A name stands in the files' names,
too: a resolver takes no file of another project. Every second dependency is a project that few
others need: on PyPI, too, the popular ones recur and may be remembered, and the others do not.

`FOLDER/data` has the log, and `pypistream serve` leaves its view there; `FOLDER/files` each
document as a file; `FOLDER/names` all names, one a line; `FOLDER/world.json` what it is.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import time
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from benchmarks.bootstrap import BATCH, corpus, project_name, written
from processors.trim import Trimmed
from schemas.names import NormalizedName
from schemas.records import Config, Head
from schemas.topics import Topic
from streams.log import TopicPartition
from streams.progress import CONFIG_KEY, CUT_KEY, HEAD_KEY, progress_record
from streams.sqlite_log import SqliteLog
from tests.support.cuts import cut_at

WORLD_FORMAT = 1
"""Raise it whenever a world would be filled otherwise: one that was kept is made anew then."""

SERIAL = 1_000
SCATTER = 7_919  # a prime: dependencies of neighbours lie far apart
_REQUIREMENTS = re.compile(rb'(?<="requires_dist":\[)[^\]]+')
_REQUIREMENT = re.compile(rb'(?<=[\[,]")[A-Za-z0-9][A-Za-z0-9._-]*')


class Template(NamedTuple):
    """JSON in pieces. Between them stands what `slots` says: a name, or a dependency (None)."""

    pieces: list[bytes]
    slots: list[bytes | None]

    def of(self, name: NormalizedName, number: int, projects: int) -> bytes:
        """The JSON of the project with this name and number."""
        parts = [self.pieces[0]]
        for at, (slot, piece) in enumerate(zip(self.slots, self.pieces[1:], strict=True)):
            if slot is None:
                parts.append(project_name((number + at + 1) * SCATTER % projects).encode())
            elif b"_" in slot:
                parts.append(name.replace("-", "_").encode())
            else:
                parts.append(name.encode())
            parts.append(piece)
        return b"".join(parts)


def template(value: bytes, display_name: str) -> Template:
    """Take JSON apart: where the name stands as a whole text, or begins a file's name."""
    words = b"[-_.]+".join(
        re.escape(word.encode()) for word in re.split(r"[-_.]+", display_name) if word
    )
    name = re.compile(rb'(?<=["/])' + words + rb'(?=["/-])', re.IGNORECASE)
    found: list[tuple[int, int, bytes | None]] = [
        (match.start(), match.end(), match[0]) for match in name.finditer(value)
    ]
    if lines := _REQUIREMENTS.search(value):
        others = list(_REQUIREMENT.finditer(value, *lines.span()))[::2]
        found += [(match.start(), match.end(), None) for match in others]
    made, at = Template([], []), 0
    for start, end, slot in sorted(found, key=lambda each: each[:2]):
        if start < at:
            continue  # a project that needs itself
        made.pieces.append(value[at:start])
        made.slots.append(slot)
        at = end
    made.pieces.append(value[at:])
    return made


class Document(NamedTuple):
    """A document of the stand-in under any name."""

    trimmed: Trimmed
    metadata: Template
    releases: Template

    def of(self, number: int, projects: int) -> Trimmed:
        """The document of the project with this number."""
        name = project_name(number)
        return self.trimmed._replace(
            metadata=self.metadata.of(name, number, projects),
            releases=self.releases.of(name, number, projects),
            display_name=name,
        )


def documents(projects: int) -> list[Document]:
    """Those of the stand-in."""
    return [
        Document(
            each,
            template(each.metadata, each.display_name),
            template(each.releases, each.display_name),
        )
        for each in corpus(projects).trimmed
        if each.display_name and each.releases
    ]


def filled(folder: Path, projects: int) -> int:
    """Make it where it is not there already; how many projects are published."""
    note = folder / "world.json"
    wanted = {"format": WORLD_FORMAT, "projects": projects}
    if note.exists() and (found := json.loads(note.read_bytes())).items() >= wanted.items():
        return int(found["published"])
    for name in ("data", "files"):
        shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # nginx's workers are somebody else
    published = asyncio.run(_fill(folder, projects))
    note.write_text(json.dumps({**wanted, "published": published}))
    return published


async def _fill(folder: Path, projects: int) -> int:
    log = await SqliteLog.open(folder / "data" / "log.sqlite", 1)
    made, numbers = documents(projects), iter(range(projects))
    offsets = dict.fromkeys(Topic, 0)
    published = 0
    with (folder / "names").open("w") as names:
        while batch := list(islice(numbers, BATCH)):
            records = [
                record
                for number in batch
                for record in written(number, made[number % len(made)].of(number, projects), SERIAL)
            ]
            for record in records:
                offsets[record.topic] += 1
                if record.topic is Topic.METADATA and record.key and record.value:
                    names.write(f"{record.key}\n")
                    published += 1
                    path = folder / "files" / record.key[:3] / record.key[3:]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(record.value)
            await log.append(records)
    await _close(log, offsets)
    return published


async def _close(log: SqliteLog, offsets: dict[Topic, int]) -> None:
    """With the notes that a first cut needs."""
    now_ms = int(time.time() * 1000)
    cut = cut_at(offsets, SERIAL, now_ms // 1000)
    head = Head(SERIAL, 0, now_ms // 1000, (0,))
    await log.append(
        [
            progress_record(1, CONFIG_KEY, Config("0" * 32, 1, 1), now_ms),
            progress_record(1, HEAD_KEY, head, now_ms),
            progress_record(0, CUT_KEY, cut, now_ms),
        ]
    )
    ends = await log.ends(Topic.METADATA)
    assert ends[TopicPartition(Topic.METADATA, 0)] == offsets[Topic.METADATA]
    await log.close()
