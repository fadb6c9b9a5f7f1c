"""The dump beside the peer's way: `python -m benchmarks.dump [--projects N] [--json]`.

peer     pypicache's: the same serialised documents, read in name order from SQLite with a plain
         cursor, one `stream_writer` at level 5, fsync, rename
nothing  our drop-in out of the sink's runs, with nothing made before; `packages.jsonl.zst` and
         `latest.csv.zst`, which come out of the same lines, with it
few      the same with ten projects changed since, a hundred at the size of all PyPI
whole    all files of a dump from nothing: releases and states, too, links and manifest
again    all files with as many projects changed, with the delta that leads there

All in one process, set up as those that publish dumps are, in turns; the median of --runs each, in
seconds by the clock; CPU seconds beside them. `peak_mib` is of that process, which holds 20 000
documents to make others of, too. Documents are the stand-in's, with the sizes of real ones; no two
of 20 000 are alike, or one stream would find each again where frames of some hundred do not.
PROJECTS=n sets how many: at 886 000 they take 16 GB of disk, and a quarter of an hour to be made.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import zstandard

from benchmarks.bootstrap import BATCH, CONFIG, NOW_MS
from benchmarks.full_world import World
from pypistream.children.sinks_work import many_records
from pypistream.memory import give_large_blocks_back
from schemas.records import Cut
from schemas.topics import COMPACTED, Offset, Topic
from sinks.dump.frame_store import BUFFER_BYTES_MAX, FrameStore
from sinks.dump.lines import change_of, document_of, drop_in
from sinks.dump.sink import TABLES, DumpSink
from sinks.sink import Batch, Reached, Vector
from streams.log import Record, TopicPartition

PROJECTS = int(os.environ.get("PROJECTS", "20000"))
DOCUMENTS_MAX = 20_000
RUNS = 5
FULL_PROJECTS = 500_000  # from here on the goals are those of all PyPI
FEW, FEW_OF_ALL = 10, 100  # projects that changed
LEVEL = 5
FULL = {"nothing": 1 / 1.2, "few": 1 / 15, "size": 1.03}
SMALL = {"nothing": 1.0, "few": 0.25, "size": 1.0}
"""Times by the peer's, at most."""


class Timed:
    """Seconds by the clock and of CPU, run by run, by name."""

    def __init__(self) -> None:
        self.wall: dict[str, list[float]] = {}
        self.cpu: dict[str, list[float]] = {}

    def __call__(self, name: str, action: Callable[[], object]) -> None:
        """Time one call."""
        wall, cpu = time.perf_counter(), time.process_time()
        action()
        self.wall.setdefault(name, []).append(time.perf_counter() - wall)
        self.cpu.setdefault(name, []).append(time.process_time() - cpu)

    def median(self, name: str) -> float:
        """Seconds by the clock."""
        return statistics.median(self.wall[name])

    def result(self) -> dict[str, Any]:
        """Both medians, by name."""
        return {
            name: {
                "seconds": round(self.median(name), 3),
                "cpu_seconds": round(statistics.median(self.cpu[name]), 3),
            }
            for name in self.wall
        }


def records(made: World, numbers: Iterator[int], serial: int) -> Iterator[list[Record]]:
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


def fill(root: Path, made: World) -> None:
    """What each way begins with: the peer's names and documents, and our changes in runs."""
    database = sqlite3.connect(root / "peer.sqlite")
    database.execute("CREATE TABLE documents (name TEXT PRIMARY KEY, document BLOB) WITHOUT ROWID")
    store = FrameStore(root / "runs", TABLES[:1])
    sink = DumpSink(root / "none", root / "state")
    for batch in records(made, iter(range(made.projects)), 1):
        documents = [record for record in batch if record.topic is Topic.METADATA]
        lines = [(record.key, change_of(record)[1] or b"") for record in documents]
        rows = ((name, drop_in(document_of(line))) for name, line in lines)
        database.executemany("INSERT INTO documents VALUES (?, ?)", rows)
        put(store, documents)
        apply(sink, batch)
    database.commit()
    database.close()
    store.flush(b"1")
    store.close()
    sink.close()


def put(store: FrameStore, documents: list[Record]) -> None:
    """Documents alone."""
    if store.buffered_bytes >= BUFFER_BYTES_MAX:
        store.flush(b"1")
    for record in documents:
        store.put(Topic.METADATA, change_of(record))


def apply(sink: DumpSink, batch: list[Record]) -> None:
    """All topics."""
    last = Offset(batch[-1].offset + 1)
    positions = {TopicPartition(topic, 0): last for topic in COMPACTED}
    sink.apply(Batch(CONFIG, batch, positions))


def peer(path: Path, target: Path) -> None:
    """One whole dump in the peer's way."""
    aside = target.with_name(f"{target.name}.new")
    database = sqlite3.connect(path)
    with aside.open("wb") as file:
        with zstandard.ZstdCompressor(level=LEVEL).stream_writer(file, closefd=False) as writer:
            before = b"[\n"
            for (document,) in database.execute("SELECT document FROM documents ORDER BY name"):
                writer.write(before + document)
                before = b",\n"
            writer.write(b"\n]\n")
        file.flush()
        os.fsync(file.fileno())
    aside.rename(target)
    database.close()


def few_of(projects: int) -> range:
    """Those that change."""
    count = FEW_OF_ALL if projects >= FULL_PROJECTS else FEW
    return range(0, projects, max(1, -(-projects // count)))


def few(made: World) -> list[Record]:
    """What these leave that changed."""
    numbers = few_of(made.projects)
    return [record for batch in records(made, iter(numbers), 2) for record in batch]


def reach(sink: DumpSink, serial: int) -> None:
    """It stands at a cut."""
    at = Offset(serial * 20_000_000)
    cut = Cut(serial, 0, at, at, at, serial=serial, time=NOW_MS // 1000)
    sink.reached(Reached(Vector(CONFIG.log_id, (cut,)), CONFIG, None))


def again(root: Path, name: str) -> Path:
    """The files of `fill` under another name: no way changes a file, so links will do."""
    return Path(shutil.copytree(root / name, root / f"{name}-used", copy_function=os.link))


def once(root: Path, made: World, timed: Timed) -> dict[str, int]:
    """Each way once; sizes of the files."""
    timed("peer", lambda: peer(root / "peer.sqlite", root / "peer.zst"))
    changed = few(made)
    folder = again(root, "runs")
    store = FrameStore(folder, TABLES[:1])
    timed("nothing", lambda: store.merge(b"1"))
    size = store.files()["pypicache.json.zst"].bytes
    put(store, [record for record in changed if record.topic is Topic.METADATA])
    timed("few", lambda: store.merge(b"2"))
    store.close()
    shutil.rmtree(folder)
    folder = again(root, "state")
    sink = DumpSink(root / "dumps", folder)
    sink.standing()
    reach(sink, 1)
    timed("whole", lambda: sink.publish(NOW_MS))
    apply(sink, changed)
    reach(sink, 2)
    timed("again", lambda: sink.publish(NOW_MS + 60_000))
    sink.close()
    shutil.rmtree(folder)
    shutil.rmtree(root / "dumps")
    return {"drop_in": size, "peer": (root / "peer.zst").stat().st_size}


def bench(projects: int, runs: int) -> dict[str, Any]:
    """All of it."""
    give_large_blocks_back()  # as every process of the program does
    made = World(projects, min(projects, DOCUMENTS_MAX))
    timed = Timed()
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="pypistream-bench-") as folder, many_records():
        root = Path(folder)
        fill(root, made)
        for _ in range(runs):
            sizes = once(root, made, timed)
    return {
        "projects": projects,
        "changed": len(few_of(projects)),
        **timed.result(),
        "bytes": sizes,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "by_peer": {
            "nothing": round(timed.median("nothing") / timed.median("peer"), 3),
            "few": round(timed.median("few") / timed.median("peer"), 3),
            "again": round(timed.median("again") / timed.median("peer"), 3),
            "size": round(sizes["drop_in"] / sizes["peer"], 4),
        },
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 if a goal is missed, but for --json, which only tells."""
    parser = argparse.ArgumentParser(prog="benchmarks.dump", description=__doc__)
    parser.add_argument("--projects", type=int, default=PROJECTS)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")
    given = parser.parse_args(arguments)
    result = bench(given.projects, given.runs)
    print(json.dumps(result, indent=None if given.json else 1))
    goals = FULL if given.projects >= FULL_PROJECTS else SMALL
    missed = [
        f"{name}: {result['by_peer'][name]} > {goal:.3f}"
        for name, goal in goals.items()
        if result["by_peer"][name] > goal
    ]
    for line in missed:
        print(f"missed: {line} of the peer's way", file=sys.stderr)
    return 1 if missed and not given.json else 0


if __name__ == "__main__":
    sys.exit(main())
