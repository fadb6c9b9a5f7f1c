"""The dump beside the peer's way: `python -m benchmarks.dump [--projects N] [--json]`.

peer     pypicache's: the same serialised documents, read in name order from SQLite with a plain
         cursor, one `stream_writer` at level 5, fsync, rename
nothing  our drop-in out of the sink's runs, with nothing made before; `packages.jsonl.zst` and
         `latest.csv.zst`, which come out of the same lines, with it
few      the same with ten projects changed since, a hundred at the size of all PyPI
whole    all files of a dump from nothing: releases and states, too, links and manifest
again    all files with as many projects changed, with the delta that leads there

All in one process, set up as those that publish dumps are. A round has the first three, ours and
the peer's by turns before the other, so that what passes over the machine meets both; the ratios
are the medians of the rounds' own ratios, all of which are shown. The disk is at rest when a way
begins, and a round that is not counted goes before, so that each finds in memory what fits there.
Removing the dump before counts for neither: the peer's is gone when its way begins, ours keeps its
links, as a published one does.
PROJECTS=n sets how many projects, WORLD=FOLDER keeps what is made for the next time: 886 000 take
12 GB of disk. `--write` adds the result to benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import zstandard

from benchmarks.__main__ import RESULTS, commit, machine
from benchmarks.bootstrap import CONFIG, NOW_MS
from benchmarks.dump_world import FULL_PROJECTS, PEER, STATE, apply, changed, filled
from benchmarks.full import place_of, say
from pypistream.children.sinks_work import many_records
from pypistream.memory import give_large_blocks_back
from schemas.records import Cut
from schemas.topics import Offset, Topic
from sinks.dump.frame_store import FrameStore
from sinks.dump.lines import change_of
from sinks.dump.sink import TABLES, DumpSink
from sinks.sink import Reached, Vector
from streams.log import Record

PROJECTS = int(os.environ.get("PROJECTS", "20000"))
ROUNDS, ROUNDS_OF_ALL = 15, 3
LEVEL = 5
FULL = {"nothing": 1 / 1.2, "few": 1 / 15, "size": 1.03, "peak_mib": 1024.0}
SMALL = {"nothing": 1.0, "few": 0.25, "size": 1.0, "peak_mib": 1024.0}
"""Times by the peer's and MiB, at most."""


class Timed:
    """Seconds by the clock and of CPU, round by round, by name."""

    def __init__(self) -> None:
        self.wall: dict[str, list[float]] = {}
        self.cpu: dict[str, list[float]] = {}

    def __call__(self, name: str, action: Callable[[], object]) -> None:
        """Time one call."""
        os.sync()  # what was written before, by whomever
        wall, cpu = time.perf_counter(), time.process_time()
        action()
        self.wall.setdefault(name, []).append(time.perf_counter() - wall)
        self.cpu.setdefault(name, []).append(time.process_time() - cpu)

    def ratios(self, name: str, by: str) -> list[float]:
        """Of the seconds by the clock, round by round."""
        pairs = zip(self.wall[name], self.wall[by], strict=True)
        return [round(one / other, 3) for one, other in pairs]

    def result(self) -> dict[str, Any]:
        """Medians, by name."""
        return {
            name: {
                "seconds": round(statistics.median(self.wall[name]), 3),
                "cpu_seconds": round(statistics.median(self.cpu[name]), 3),
            }
            for name in self.wall
        }


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


def again(root: Path) -> Path:
    """The sink's files under another name: no way changes a file, so links will do."""
    return Path(shutil.copytree(root / STATE, root / "used", copy_function=os.link))


def ours(root: Path, few: Sequence[Record], timed: Timed) -> int:
    """The drop-in from nothing, then with a few changed; its size in bytes from nothing."""
    folder = again(root)
    store = FrameStore(folder, TABLES[:1])
    timed("nothing", lambda: store.merge(b"1"))
    size = store.files()["pypicache.json.zst"].bytes
    published = Path(shutil.copytree(folder, root / "published", copy_function=os.link))
    for record in few:
        if record.topic is Topic.METADATA:
            store.put(Topic.METADATA, change_of(record))
    timed("few", lambda: store.merge(b"2"))
    store.close()
    shutil.rmtree(folder)
    shutil.rmtree(published)
    return size


def rounds(root: Path, few: Sequence[Record], count: int) -> tuple[Timed, dict[str, int]]:
    """So many rounds; sizes of the two files."""
    target, timed, sizes = root / "peer.zst", Timed(), {}
    for number in range(count + 1):
        if number == 1:
            timed = Timed()  # the first round is not counted
        if number % 2:
            sizes["drop_in"] = ours(root, few, timed)
        timed("peer", lambda: peer(root / PEER, target))
        sizes["peer"] = target.stat().st_size
        target.unlink()
        if not number % 2:
            sizes["drop_in"] = ours(root, few, timed)
    return timed, sizes


def reach(sink: DumpSink, serial: int) -> None:
    """It stands at a cut."""
    at = Offset(serial * 20_000_000)
    cut = Cut(serial, 0, at, at, at, serial=serial, time=NOW_MS // 1000)
    sink.reached(Reached(Vector(CONFIG.log_id, (cut,)), CONFIG, None))


def whole(root: Path, few: list[Record], timed: Timed) -> None:
    """All files of a dump, and of the next one."""
    folder, dumps = again(root), root / "dumps"
    sink = DumpSink(dumps, folder)
    sink.standing()
    reach(sink, 1)
    timed("whole", lambda: sink.publish(NOW_MS))
    apply(sink, few)
    reach(sink, 2)
    timed("again", lambda: sink.publish(NOW_MS + 60_000))
    sink.close()
    shutil.rmtree(folder)
    shutil.rmtree(dumps)


def bench(root: Path, projects: int, count: int) -> dict[str, Any]:
    """All of it."""
    for left in ("used", "published", "dumps"):
        shutil.rmtree(root / left, ignore_errors=True)  # by a run that was stopped
    few = changed(root)
    give_large_blocks_back()  # as every process of the program does
    with many_records():
        timed, sizes = rounds(root, few, count)
        all_files = Timed()
        for _ in range(-(-count // 3)):
            whole(root, few, all_files)
    ratios = {name: timed.ratios(name, "peer") for name in ("nothing", "few")}
    return {
        "projects": projects,
        "changed": sum(record.topic is Topic.METADATA for record in few),
        "rounds": count,
        **timed.result(),
        **all_files.result(),
        "bytes": sizes,
        "ratios": ratios,
        "by_peer": {
            **{name: round(statistics.median(found), 3) for name, found in ratios.items()},
            "size": round(sizes["drop_in"] / sizes["peer"], 4),
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        },
    }


def fill(root: Path, projects: int) -> None:
    """In a process of its own: what it needs to make documents is not to count as a dump's."""
    say(f"filling a world with {projects} projects")
    own = (sys.executable, "-m", "benchmarks.dump", "--fill")
    subprocess.run([*own, "--world", str(root), "--projects", str(projects)], check=True)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 if a goal is missed, but for --json, which only tells."""
    parser = argparse.ArgumentParser(prog="benchmarks.dump", description=__doc__)
    parser.add_argument("--projects", type=int, default=PROJECTS)
    parser.add_argument("--rounds", type=int, help="how many count")
    parser.add_argument("--world", default=os.environ.get("WORLD", ""), help="a folder to keep")
    parser.add_argument("--fill", action="store_true", help="only make the world")
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")
    parser.add_argument("--write", action="store_true", help="keep it in benchmarks/results")
    given = parser.parse_args(arguments)
    full = given.projects >= FULL_PROJECTS
    with place_of(given.world) as root:
        if given.fill:
            filled(root, given.projects)
            return 0
        about = {"date": time.strftime("%Y-%m-%d"), "commit": commit(), **machine()}
        fill(root, given.projects)
        default = ROUNDS_OF_ALL if full else ROUNDS
        result = bench(root, given.projects, given.rounds or default)
    print(json.dumps(result, indent=None if given.json else 1))
    if given.write:
        kept = RESULTS / ("dump_full.jsonl" if full else "dump.jsonl")
        with kept.open("a") as file:
            file.write(json.dumps({"about": about, "result": result}) + "\n")
    missed = [
        f"{name}: {result['by_peer'][name]} > {goal:.3f}"
        for name, goal in (FULL if full else SMALL).items()
        if result["by_peer"][name] > goal
    ]
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if missed and not given.json else 0


if __name__ == "__main__":
    sys.exit(main())
