"""The steps of `benchmarks.full` that need the sink itself: each gets a world and its size."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import NamedTuple

from benchmarks.full_world import ALL_CHANGES_SHARE, World
from schemas.records import Config, Head
from schemas.topics import Offset
from sinks.duckdb.intake import WAITING_ROWS_MAX
from sinks.duckdb.snapshot import SNAPSHOT_FILE, open_snapshot
from sinks.duckdb.view import LIVE_FILE, DuckDBView
from sinks.sink import BATCH_RECORDS_MAX, Batch, Positions, Published, Reached, Rewound, Vector
from streams.log import Record, TopicPartition
from tests.support.cuts import cut_at

MIB = 2**20
WARM, BATCHES = 3, 21  # batches of each size
GROWTH_BATCH = 1_000
PUBLISH_EVERY = 20  # batches: what comes in between two publications at full speed
PUBLISHED_SHARE = 20_000 / 886_000  # the same by projects
STREAM_BATCH = 100
TURNS = 5
MEMORY_LIMIT = "1GB"
FRESH = "fresh_bytes"  # in a world: how long the DuckDB file is after a rebuild

QUERIES = {
    "reverse_dependencies": "SELECT name, version, specifier, marker, extra"
    " FROM reverse_dependencies('requests')",
    "newest_releases": "FROM newest_releases(100)",
    "licences": "SELECT coalesce(license_expression, license, 'none') AS licence, count(*)"
    " FROM projects GROUP BY 1 ORDER BY 2 DESC",
    "musllinux_files": "FROM wheels_for('cp313', 'musllinux')",
}


class Sent(NamedTuple):
    """A batch: where it began, of which projects it is, and their edition."""

    positions: Positions
    numbers: list[int]
    edition: int


class Replayed(NamedTuple):
    """What was handed over again after the file was written anew: how often, how much."""

    times: int = 0
    changes: int = 0
    seconds: float = 0.0


class Stream:
    """Changed projects, as a feed hands them to the view of a world."""

    def __init__(self, folder: Path, projects: int) -> None:
        self.folder = folder / "data"
        self.world = World(projects)
        self._check_names()
        self.view = DuckDBView.in_directory(self.folder)
        standing = self.view.standing()
        self._positions = dict(standing.positions)
        self._config = Config(standing.log_id, 1, 1)
        # Others than the run before: rows that were changed together lie side by side.
        self._chance = Random(sum(self._positions.values()))
        self._editions = itertools.count(1)
        self._sent: list[Sent] = []
        self.waits: list[float] = []  # seconds between two commits
        self.stalls: list[float] = []  # of these, while the view would take nothing in
        self.replayed = Replayed()

    def _check_names(self) -> None:
        """To take in projects that the file does not have is less work, and no change of any."""
        name = self.world.names[-1]
        with open_snapshot(self.folder / SNAPSHOT_FILE, memory_limit=MEMORY_LIMIT) as asked:
            if not asked.execute("SELECT 1 FROM projects WHERE name = ?", [name]).fetchall():
                raise SystemExit(f"{name} is not in this world: set PYPISTREAM_NAMES as it was")

    def changed(self, count: int) -> list[Record]:
        """Records of so many projects drawn at random, at their next offsets."""
        edition = next(self._editions)
        numbers = self._chance.sample(range(self.world.projects), count)
        sent = Sent(dict(self._positions), numbers, edition)
        self._sent.append(sent)
        records = self._records(sent)
        for record in records:
            self._positions[TopicPartition(record.topic, 0)] = Offset(record.offset + 1)
        return records

    def _records(self, sent: Sent) -> list[Record]:
        """Of one batch, as the log would give them again."""
        positions = dict(sent.positions)
        records = []
        for number in sent.numbers:
            for each in self.world.records(number, sent.edition):
                at = TopicPartition(each.topic, 0)
                offset = positions[at]
                positions[at] = Offset(offset + 1)
                place = (each.topic, 0, offset)
                records.append(Record(*place, 0, each.key, each.value, each.headers))
        return records

    def apply(self, records: Sequence[Record]) -> float:
        """Seconds until they are committed."""
        begun = time.monotonic()
        try:
            self._commit(records, dict(self._positions))
        except Rewound:
            self.view.standing()
            self.waits.append(time.monotonic() - begun)
            self.stalls.append(self.waits[-1])
            self._replay()
        else:
            self.waits.append(time.monotonic() - begun)
        return time.monotonic() - begun

    def _commit(self, records: Sequence[Record], ends: Positions) -> None:
        for start in range(0, len(records), BATCH_RECORDS_MAX):
            piece = records[start : start + BATCH_RECORDS_MAX]
            self.view.apply(Batch(self._config, piece, ends))
        self.view.standing()  # returns when all is committed

    def _replay(self) -> None:
        """Hand over again what came since the place where the view stands now."""
        standing = self.view.standing().positions
        first = next(n for n, sent in enumerate(self._sent) if sent.positions == standing)
        again = self._sent[first:]
        ends = [*(sent.positions for sent in again[1:]), dict(self._positions)]
        spent = 0.0
        for sent, end in zip(again, ends, strict=True):
            records = self._records(sent)
            begun = time.monotonic()
            self._commit(records, end)
            self.waits.append(time.monotonic() - begun)
            spent += self.waits[-1]
        changes = sum(len(sent.numbers) for sent in again)
        before = self.replayed
        self.replayed = Replayed(before.times + 1, before.changes + changes, before.seconds + spent)

    def reach(self) -> None:
        """The view stands at a cut."""
        places = {at.topic: int(place) for at, place in self._positions.items()}
        cut = cut_at(places, 2**40)
        head = Head(2**40, 0, 0, (0,))
        self.view.reached(Reached(Vector(self._config.log_id, (cut,)), self._config, head))

    def live_bytes(self) -> int:
        """Of the live file; its WAL is a file of its own, of a bounded size."""
        return (self.folder / "state" / LIVE_FILE).stat().st_size


def upsert(folder: Path, projects: int) -> dict[str, float]:
    """Batches of 100 and of 1000 changed projects, until committed.

    The mean has what a median hides: batches that also bring in what waits, and a checkpoint.
    """
    stream = Stream(folder, projects)
    found = {}
    for count in (1_000, 100):  # the larger first: a stream that has run has its indexes in memory
        seconds = [stream.apply(stream.changed(count)) for _ in range(WARM + BATCHES)][WARM:]
        found[f"batch_{count}_ms"] = round(statistics.median(seconds) * 1000, 1)
        found[f"batch_{count}_mean_ms"] = round(statistics.mean(seconds) * 1000, 1)
        found[f"batch_{count}_worst_ms"] = round(max(seconds) * 1000, 1)
    stream.reach()
    stream.view.publish(1)  # else the next step begins with what these left to be checkpointed
    stream.view.close()
    return found


def publish(folder: Path, projects: int) -> dict[str, float]:
    """A publication, and how long changes wait at most that come in meanwhile."""
    stream = Stream(folder, projects)
    for _ in range(WARM):
        stream.apply(stream.changed(1_000))
    for _ in range(WAITING_ROWS_MAX // STREAM_BATCH):  # the most that a publication has to bring in
        stream.apply(stream.changed(STREAM_BATCH))
    stream.reach()
    waits = []
    with ThreadPoolExecutor(1) as beside:
        begun = before = time.monotonic()
        work = beside.submit(stream.view.hold(1).copied)
        while True:
            ended = time.monotonic() - begun if work.done() else 0.0
            if ended:
                stream.view.release()
            held = time.monotonic() - before
            waits.append(held + stream.apply(stream.changed(STREAM_BATCH)))
            before = time.monotonic()
            if ended:
                break
    assert work.result() is not None
    stream.view.close()
    return {
        "seconds": round(ended, 2),
        "longest_wait_seconds": round(max(waits), 2),
        "batches_meanwhile": len(waits),
    }


def growth(folder: Path, projects: int) -> dict[str, float]:
    """The live file's size over the changes of months, by that of a fresh build.

    And the longest time that a publication or the rewritten file kept changes out (a stall), and
    from one commit of 1000 changes to the next (a wait).
    """
    stream = Stream(folder, projects)
    fresh = int((folder / FRESH).read_text())
    sizes = [stream.live_bytes()]
    changes = round(projects * ALL_CHANGES_SHARE)
    batch = max(1, min(GROWTH_BATCH, round(projects * PUBLISHED_SHARE / PUBLISH_EVERY)))
    begun = time.monotonic()
    with ThreadPoolExecutor(1) as beside:
        work: Future[Published | None] | None = None
        for number in range(changes // batch):
            held = time.monotonic()
            if work is not None and work.done():
                stream.view.release()
                work = None
            if work is None and number % PUBLISH_EVERY == PUBLISH_EVERY - 1:
                stream.reach()
                work = beside.submit(stream.view.hold(1).copied)
            held = time.monotonic() - held
            stream.stalls.append(held)
            records = stream.changed(batch)
            place = len(stream.waits)
            stream.apply(records)
            stream.waits[place] += held
            sizes.append(stream.live_bytes())
    if work is not None:
        stream.view.release()
    seconds = time.monotonic() - begun
    stream.reach()
    stream.view.publish(1)
    stream.view.close()
    return {
        "changes": changes,
        "changes_per_second": round(changes / seconds),
        "fresh_mib": round(fresh / MIB, 1),
        "largest_mib": round(max(sizes) / MIB, 1),
        "ratio": round(max(sizes) / fresh, 2),
        "last_ratio": round(sizes[-1] / fresh, 2),
        "longest_stall_seconds": round(max(stream.stalls), 2),
        "longest_wait_seconds": round(max(stream.waits), 2),
        "waits_above_a_second": sum(wait > 1 for wait in stream.waits),
        "written_anew": stream.replayed.times,
        "changes_taken_in_again": stream.replayed.changes,
        "seconds_of_these": round(stream.replayed.seconds, 1),
    }


def queries(folder: Path, projects: int) -> dict[str, float]:
    """Each question on the file as it is opened anew; the first of the five is the cold one."""
    found: dict[str, float] = {"projects": projects}
    for name, sql in QUERIES.items():
        times, rows = [], 0
        for _ in range(TURNS):
            with open_snapshot(folder / "data" / SNAPSHOT_FILE, memory_limit=MEMORY_LIMIT) as asked:
                begun = time.monotonic()
                rows = len(asked.execute(sql).fetchall())
                times.append(time.monotonic() - begun)
        found[f"{name}_ms"] = round(statistics.median(times) * 1000, 1)
        found[f"{name}_rows"] = rows
    with open_snapshot(folder / "data" / SNAPSHOT_FILE, memory_limit=MEMORY_LIMIT) as asked:
        sql = "SELECT count(DISTINCT name) FROM dependencies WHERE dependency = 'requests'"
        found["dependents"] = asked.execute(sql).fetchall()[0][0]
    return found


STEPS: dict[str, Callable[[Path, int], dict[str, float]]] = {
    "queries": queries,  # first: on what the rebuild has published
    "upsert": upsert,
    "publish": publish,
    "growth": growth,
}
