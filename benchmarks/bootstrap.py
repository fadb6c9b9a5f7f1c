"""A bootstrap at size: `python -m benchmarks.bootstrap [--projects N] [--json]`.

Another instance's dump is made of the stand-in's documents, which have the sizes of real ones (a
few thousand of them, over and over under other names). Measured, each in a process of its own:

log      `pypistream bootstrap FOLDER` into an empty embedded log, from start to exit
duckdb   the DuckDB file of that log then, by `pypistream rebuild duckdb`: what both take together
delta    a tenth of the projects changed: from the delta to the log, `--follow`'s own work
bare     the same records by `commit` alone, made beforehand: what the log can take
journal  JOURNAL_ROWS rows of the other's journal into an empty log, beside a dump of nothing: what
         they take more (PyPI has some 22 000 a day)

PROJECTS=n sets the number of projects.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from processors import publication
from processors.decide import DEFAULT_PATIENCE, Attempt, Body, decide
from processors.publication import Answered
from processors.trim import Trimmed, trim
from producers.bootstrap import Loader
from producers.carried import Journal
from producers.loaded import Origin
from pypistream.data_dir import DataDir
from pypistream.jobs.bootstrap_source import FILES, FolderSource
from pypistream.jobs.bootstrapping import Bootstrap
from pypistream.settings import Settings
from schemas import codec
from schemas.names import NormalizedName
from schemas.records import ChangelogEntry, Config, Cut, Filter, Kind, State, Status
from schemas.topics import COMPACTED, Offset, Topic
from sinks.dump.reader import DumpReader
from sinks.dump.records import of_dump
from sinks.dump.sink import DumpSink
from sinks.sink import Batch, Reached, Vector
from streams.clock import SystemClock
from streams.log import Outgoing, Record, TopicPartition
from streams.sqlite_log import SqliteLog
from upstream.standin.app import build_app
from upstream.standin.settings import StandinSettings

PROJECTS = int(os.environ.get("PROJECTS", "100000"))
DOCUMENTS = 1_500  # of the stand-in: enough for the sizes to be those of many
GIANT_BYTES = 200_000  # larger ones are odd ones of the stand-in, far too many of these few: with
# them a project has 39 KB on average, without 15, which is what 20 000 of it have
CHANGED = 10  # one project in so many is in the delta
NOW_MS = 1_777_532_160_000
BATCH = 500  # projects of one batch for the sink
JOURNAL_ROWS = 300_000
CONFIG = Config("bench", partitions=1, schema_version=1)
GOALS = {"log": 8_000, "log_and_duckdb": 3_000}  # projects/s
MIB = 2**20


class Corpus(NamedTuple):
    """Documents as the processor leaves them, and the names they are known by here."""

    trimmed: list[Trimmed]
    projects: int

    def records(self, numbers: Iterator[int], serial: int) -> Iterator[list[Outgoing]]:
        """What a worker writes for each of these projects."""
        for number in numbers:
            yield written(number, self.trimmed[number % len(self.trimmed)], serial)


_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def project_name(number: int) -> NormalizedName:
    """Of the project with this number."""
    return NormalizedName(f"{_LETTERS[number % 26]}{number:07}-project")


def written(number: int, found: Trimmed, serial: int) -> list[Outgoing]:
    """What a worker writes for the project with this number."""
    return written_as(project_name(number), found, serial, f"{number:032x}")


def written_as(
    name: NormalizedName, found: Trimmed, serial: int, tag: str | None = None
) -> list[Outgoing]:
    """What a worker writes for the project of this name."""
    state = State(
        Status.PENDING,
        serial,
        event_kind=Kind.NEW_RELEASE,
        event_time=NOW_MS // 1000,
        event_name=name,
    )
    etag = f'"{tag or format(serial, "032x")}"'
    shown = Body(serial, found.hash, found.display_name, etag)
    verdict = decide(state, shown, Attempt(serial, NOW_MS), DEFAULT_PATIENCE)
    answered = Answered(name, state, verdict, NOW_MS, found)
    row = publication.state_record(name, codec.encode(verdict.state), NOW_MS)
    return [*publication.records(answered, with_releases=True), row]


def corpus(projects: int, documents: int = DOCUMENTS) -> Corpus:
    """Trim so many documents of the stand-in."""
    world = build_app(StandinSettings(projects=documents, seed=1, sizes="real")).world
    trimmed = []
    for name, project in world.projects.items():
        ref = project.edition.ref
        if project.edition.served and ref is not None:
            one = trim(world.store.raw(ref), NormalizedName(name), header_serial=1)
            if len(one.metadata) + len(one.releases) < GIANT_BYTES:
                trimmed.append(one)
    world.close()
    return Corpus(trimmed, projects)


def publish(folder: Path, made: Corpus) -> None:
    """Two dumps with the delta between them, without a log: into the sink at once."""
    sink = DumpSink(folder / "dumps", folder / "frames")
    offset = _feed(sink, made, range(made.projects), 1_000, 0)
    _reach(sink, offset, 1_000)
    first = folder / "first"
    first.mkdir()
    for name in (*FILES, "manifest.json"):
        (first / name).write_bytes((folder / "dumps" / name).read_bytes())
    offset = _feed(sink, made, range(0, made.projects, CHANGED), 2_000, offset)
    _reach(sink, offset, 2_000)
    sink.close()


def _feed(sink: DumpSink, made: Corpus, numbers: range, serial: int, offset: int) -> int:
    projects = made.records(iter(numbers), serial)
    while batch := list(islice(projects, BATCH)):
        records = []
        for each in batch:
            for out in each:
                records.append(
                    Record(out.topic, 0, Offset(offset), NOW_MS, out.key, out.value, out.headers)
                )
                offset += 1
        positions = {TopicPartition(topic, 0): Offset(offset) for topic in COMPACTED}
        sink.apply(Batch(CONFIG, records, positions))
    return offset


def _reach(sink: DumpSink, offset: int, serial: int) -> None:
    cut = Cut(serial, 0, offset, offset, offset, serial=serial, time=NOW_MS // 1000)
    sink.reached(Reached(Vector(CONFIG.log_id, (cut,)), CONFIG, None))
    sink.publish(NOW_MS + serial)


def command(*arguments: str) -> dict[str, float]:
    """Run the program; seconds, CPU seconds and peak memory of it and what it started."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    own = (sys.executable, "-m", "pypistream")
    done = subprocess.run([*own, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": round(time.monotonic() - begun, 2),
        "cpu_seconds": round(
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2
        ),
        "peak_mib": round(after.ru_maxrss / 1024, 1),
    }


async def take(data: DataDir, other: Path) -> float:
    """Seconds for the delta, in this process."""
    log = await SqliteLog.open(data.log)
    work = Bootstrap(Settings(data=data.root), data, log, FolderSource(other))
    await work.go_on()
    begun = time.monotonic()
    await work.look()
    seconds = time.monotonic() - begun
    assert work.loader.written
    await work.loader.close()
    await log.close()
    return seconds


async def bare(folder: Path, dumps: Path, projects: int) -> float:
    """Seconds to write the records of so many projects, in transactions as large as ours."""
    dump = DumpReader(dumps)
    rows = [dump.rows(name) for name in FILES]
    found = of_dump(rows[0], rows[1], rows[2], dump.manifest.created)
    records = [record for project in islice(found, projects) for record in project.records]
    log = await SqliteLog.open(folder / "bare.sqlite", 1)
    writer = await log.writer("bench")
    begun = time.monotonic()
    for start in range(0, len(records), 3_000):
        await writer.commit(records[start : start + 3_000])
    seconds = time.monotonic() - begun
    await log.close()
    return seconds


async def journal(folder: Path, rows: int) -> float:
    """Seconds to take in so many rows that come with a dump."""
    log = await SqliteLog.open(folder / "journal.sqlite", 1)
    loader = Loader(log, SystemClock(), _lacking_none, "bench")
    await loader.begin(Filter(), "all", replace=False)
    origin = Origin("other", ((1, 1, 1, 1, 1),), "bench", 0, rows, NOW_MS // 1000)
    begun = time.monotonic()
    await loader.load(iter(()), origin, Journal(_rows(rows), 0, rows))
    seconds = time.monotonic() - begun
    assert loader.rows == rows
    await loader.close()
    await log.close()
    return seconds


def _rows(count: int) -> Iterator[tuple[ChangelogEntry, bool]]:
    for serial in range(1, count + 1):
        name = project_name(serial % PROJECTS)
        file = f"add py3 file {name}-1.0-py3-none-any.whl"
        yield ChangelogEntry(serial, name, "1.0", NOW_MS // 1000, file, Kind.ADD_FILE), False


def _lacking_none(topic: Topic, name: str) -> Outgoing:
    raise AssertionError(f"{name} in {topic} of an empty log")


def bench(projects: int) -> dict[str, Any]:
    """All of it, one after another."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        publish(root, corpus(projects))
        dump = DumpReader(root / "first").manifest
        data = DataDir(root / "own")
        log = command("bootstrap", str(root / "first"), "--data", str(data.root))
        duckdb = command("rebuild", "duckdb", "--data", str(data.root))
        delta = asyncio.run(take(data, root / "dumps"))
        sample = min(projects, 10_000)
        plain = asyncio.run(bare(root, root / "first", sample))
        size = sum(dump.files[name].uncompressed_bytes for name in FILES)
        return {
            "projects": projects,
            "kib_per_project": round(size / projects / 1024, 1),
            "log": {**log, "projects_per_second": round(projects / log["seconds"])},
            "duckdb": {**duckdb, "projects_per_second": round(projects / duckdb["seconds"])},
            "log_and_duckdb_projects_per_second": round(
                projects / (log["seconds"] + duckdb["seconds"])
            ),
            "delta": {
                "projects": projects // CHANGED,
                "projects_per_second": round(projects / CHANGED / delta),
            },
            "bare_projects_per_second": round(sample / plain),
            "journal_rows_per_second": round(
                JOURNAL_ROWS / asyncio.run(journal(root, JOURNAL_ROWS))
            ),
            "log_mib": round(data.log.stat().st_size / MIB, 1),
        }


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 if a goal is missed, but for --json, which only tells."""
    parser = argparse.ArgumentParser(prog="benchmarks.bootstrap", description=__doc__)
    parser.add_argument("--projects", type=int, default=PROJECTS)
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")
    given = parser.parse_args(arguments)
    result = bench(given.projects)
    print(json.dumps(result, indent=None if given.json else 1))
    found = {
        "log": result["log"]["projects_per_second"],
        "log_and_duckdb": result["log_and_duckdb_projects_per_second"],
    }
    missed = [
        f"{name}: {found[name]} < {goal}" for name, goal in GOALS.items() if found[name] < goal
    ]
    for line in missed:
        print(f"missed: {line} projects/s", file=sys.stderr)
    return 1 if missed and not given.json else 0


if __name__ == "__main__":
    sys.exit(main())
