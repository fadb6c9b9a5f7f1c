"""What each way of `benchmarks.dump` begins with, made once and kept where a folder is named.

    FOLDER/peer.sqlite    names and documents as the peer has them
    FOLDER/state/         the same projects in the runs of our sink, and their releases and states
    FOLDER/changed.json   what the projects leave that change afterwards

Documents are the stand-in's, with the sizes of real ones; no two of 20 000 are alike, or one stream
would find each again where frames of some hundred do not.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import msgspec

from benchmarks.bootstrap import BATCH, CONFIG, NOW_MS
from benchmarks.full_world import World
from pypistream.children.sinks_work import many_records
from schemas.topics import COMPACTED, Offset, Topic
from sinks.dump.lines import change_of, document_of, drop_in
from sinks.dump.sink import DumpSink
from sinks.sink import Batch
from streams.log import Record, TopicPartition

FORMAT = 2
"""Raise it whenever a world would be filled otherwise: one that was kept is made anew then."""

DOCUMENTS_MAX = 20_000
FULL_PROJECTS = 500_000  # from here on it is the size of all PyPI
FEW, FEW_OF_ALL = 10, 100  # projects that changed
NOTE, PEER, STATE, CHANGED = "world.json", "peer.sqlite", "state", "changed.json"

_changed = msgspec.json.Decoder(list[Record])


def filled(folder: Path, projects: int) -> None:
    """Make it where it is not there already."""
    note, wanted = folder / NOTE, {"format": FORMAT, "projects": projects}
    if note.exists() and json.loads(note.read_bytes()) == wanted:
        return
    for each in (PEER, STATE, CHANGED):
        path = folder / each
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    made = World(projects, min(projects, DOCUMENTS_MAX))
    with many_records():
        _fill(folder, made)
    few = [record for batch in _records(made, few_of(projects), 2) for record in batch]
    (folder / CHANGED).write_bytes(msgspec.json.encode(few))
    note.write_text(json.dumps(wanted))


def few_of(projects: int) -> range:
    """Those that change."""
    count = FEW_OF_ALL if projects >= FULL_PROJECTS else FEW
    return range(0, projects, max(1, -(-projects // count)))


def changed(folder: Path) -> list[Record]:
    """What these leave."""
    return _changed.decode((folder / CHANGED).read_bytes())


def apply(sink: DumpSink, records: list[Record]) -> None:
    """All topics."""
    last = Offset(records[-1].offset + 1)
    positions = {TopicPartition(topic, 0): last for topic in COMPACTED}
    sink.apply(Batch(CONFIG, records, positions))


def _records(made: World, numbers: Iterable[int], serial: int) -> Iterator[list[Record]]:
    """What these projects leave in the compacted topics, in batches."""
    offset = serial * 10_000_000
    projects = (made.records(number, serial) for number in numbers)
    while batch := list(islice(projects, BATCH)):
        found = []
        for out in (out for each in batch for out in each):
            found.append(
                Record(out.topic, 0, Offset(offset), NOW_MS, out.key, out.value, out.headers)
            )
            offset += 1
        yield found


def _fill(folder: Path, made: World) -> None:
    database = sqlite3.connect(folder / PEER)
    database.execute("CREATE TABLE documents (name TEXT PRIMARY KEY, document BLOB) WITHOUT ROWID")
    sink = DumpSink(folder / "none", folder / STATE)
    for batch in _records(made, range(made.projects), 1):
        documents = [record for record in batch if record.topic is Topic.METADATA]
        lines = ((record.key, change_of(record)[1] or b"") for record in documents)
        rows = ((name, drop_in(document_of(line))) for name, line in lines)
        database.executemany("INSERT INTO documents VALUES (?, ?)", rows)
        apply(sink, batch)
    database.commit()
    database.close()
    sink.close()
