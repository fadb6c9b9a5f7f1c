"""Reads the sides other than the log, each sorted by name: index, DuckDB file, dump."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from pypistream.data_dir import DataDir
from pypistream.holding import SharedHold
from pypistream.jobs.index_copy import IndexCopy
from pypistream.restarts import restarting
from pypistream.settings import Settings
from pypistream.verify.facts import DeltaLine, Listed, Side
from pypistream.verify.sorting import Sorter
from pypistream.wiring import make_upstream, upstream_url
from schemas.errors import (
    DumpCorrupt,
    Fatal,
    InvalidName,
    NotPublished,
    Retriable,
    ViewCorrupt,
)
from schemas.filters import kept
from schemas.manifest import DELTAS, MANIFEST_FILE, places
from schemas.names import normalize
from schemas.records import Cut, Filter, Places
from schemas.topics import COMPACTED
from sinks.duckdb.verify import SnapshotFacts, SnapshotRow, snapshot_facts
from sinks.dump.delta_reader import delta_manifest
from sinks.dump.reader import DumpReader
from sinks.dump.verify import delta_lines, dump_lines, leading_to
from sinks.sink import Vector
from streams.clock import SystemClock
from streams.log import Log

YIELD_LINES = 10_000  # so often a signal can end what is otherwise one long piece of work


class SideReport(NamedTuple):
    """The findings about a sink as a whole. `vector` None = nothing to compare.

    `note` says why it is not compared although nothing is wrong, `problem` what is wrong.
    """

    side: Side
    vector: Vector | None = None
    note: str = ""
    problem: str = ""


async def index_into(where: tuple[Settings, DataDir], log: Log, lines: Sorter, rule: Filter) -> int:
    """Read upstream's index with one call, or its copy if that is current; returns its serial.

    A hold that upstream asked for is obeyed, and published. Raises Fatal if there is no index.
    """
    settings, data = where
    hold = SharedHold(log, SystemClock())
    upstream = make_upstream(settings, hold.asked)
    await hold.load(upstream)
    holding = asyncio.create_task(restarting(lambda: hold.run(upstream)))
    try:
        await upstream.permit()
        index = await IndexCopy(data.state, upstream_url(settings)).fetch(upstream)
    except Retriable as error:
        raise Fatal(
            f"upstream's index is not available: {error}",
            hint="try again later, or compare only what is here with --no-upstream",
        ) from error
    finally:
        holding.cancel()
        await asyncio.wait([holding])
        await upstream.close()
    for number, project in enumerate(index.projects):
        try:
            name = normalize(project.name)
        except InvalidName:
            continue  # the index itself refuses such names today; they cannot be asked for
        if kept(name, rule):
            lines.put(f"{name}\0{project.serial:019d}\0{project.name}\n".encode())
        if number % YIELD_LINES == 0:
            await asyncio.sleep(0)
    return index.last_serial


def index_of(lines: Sorter) -> Iterator[tuple[str, Listed]]:
    """By name. Of two spellings of one name the higher serial counts."""
    last: tuple[str, Listed] | None = None
    for line in lines:
        name, serial, spelled = line[:-1].decode().split("\0")
        if last is not None and last[0] != name:
            yield last
        last = name, Listed(spelled, int(serial))
    if last is not None:
        yield last


def opened_snapshot(
    path: Path, log_id: str, stack: ExitStack
) -> tuple[SideReport, SnapshotFacts | None]:
    """The published DuckDB file, open until the stack is left."""
    try:
        facts = stack.enter_context(snapshot_facts(path))
    except NotPublished:
        return SideReport(Side.DUCKDB, note="not published here"), None
    except ViewCorrupt as error:
        return SideReport(Side.DUCKDB, problem=str(error)), None
    problem = _foreign(facts.vector, log_id)
    return SideReport(Side.DUCKDB, facts.vector, problem=problem), None if problem else facts


def snapshot_of(facts: SnapshotFacts) -> Iterator[tuple[str, SnapshotRow]]:
    """By name."""
    return ((row.name, row) for row in facts.rows())


async def dump_into(data: DataDir, log_id: str, lines: Sorter) -> SideReport:
    """Every file of the dump, verified to its last byte."""
    if not (data.dumps / MANIFEST_FILE).exists():
        return SideReport(Side.DUMP, note="not published here")
    try:
        reader = DumpReader(data.dumps)
        vector = Vector(reader.manifest.log, reader.manifest.vector)
        if problem := _foreign(vector, log_id):
            return SideReport(Side.DUMP, vector, problem=problem)
        for number, (name, file, digest) in enumerate(dump_lines(reader)):
            lines.put(f"{name}\0{file}\0{digest}\n".encode())
            if number % YIELD_LINES == 0:
                await asyncio.sleep(0)
    except DumpCorrupt as error:
        return SideReport(Side.DUMP, problem=str(error))
    return SideReport(Side.DUMP, vector)


def dump_of(lines: Sorter) -> Iterator[tuple[str, tuple[str, str]]]:
    """By name: file and digest."""
    for line in lines:
        name, file, digest = line[:-1].decode().split("\0")
        yield name, (file, digest)


class DeltasSide(NamedTuple):
    """The published deltas that lead to the dump. `since`: the cut at which the first begins."""

    report: SideReport
    since: tuple[Cut | None, ...] = ()


async def deltas_into(data: DataDir, dump: SideReport, lines: Sorter) -> DeltasSide:
    """Read the deltas that lead to that dump, verified to their last byte."""
    folder = data.dumps / DELTAS
    if dump.vector is None or dump.note or dump.problem or not (folder / MANIFEST_FILE).exists():
        return DeltasSide(SideReport(Side.DELTAS, note="not published here"))
    try:
        raw = await asyncio.to_thread((folder / MANIFEST_FILE).read_bytes)
        manifest = delta_manifest(raw, str(folder / MANIFEST_FILE))
        if problem := _foreign(Vector(manifest.log, ()), dump.vector.log_id):
            return DeltasSide(SideReport(Side.DELTAS, problem=problem))
        chain = leading_to(manifest, places(dump.vector.cuts))
        if not chain:
            return DeltasSide(SideReport(Side.DELTAS, note="none leads to the dump"))
        for count, (name, file, number, digest) in enumerate(delta_lines(folder, chain)):
            lines.put(f"{name}\0{file}\0{number:09d}\0{digest}\n".encode())
            if count % YIELD_LINES == 0:
                await asyncio.sleep(0)
    except (DumpCorrupt, OSError) as error:
        return DeltasSide(SideReport(Side.DELTAS, problem=str(error)))
    # The dump stands where the last of them ends, so it has the cuts.
    return DeltasSide(SideReport(Side.DELTAS, dump.vector), cuts_at(chain[0].start))


def cuts_at(at: Places) -> tuple[Cut | None, ...]:
    """Cuts that lie at these places and claim nothing."""
    return tuple(None if each is None else Cut(*each) for each in at)


def deltas_of(lines: Sorter) -> Iterator[tuple[str, DeltaLine]]:
    """By name: file and digest; of several deltas the last one's last line."""
    for line in lines:
        name, file, _, digest = line[:-1].decode().split("\0")
        yield name, DeltaLine(file, digest)


def beyond(vector: Vector, cuts: tuple[Cut | None, ...]) -> bool:
    """Whether a sink claims to stand beyond the end of the log."""
    if len(vector.cuts) != len(cuts):
        return True
    for theirs, ours in zip(vector.cuts, cuts, strict=True):
        if theirs is None:
            continue
        if ours is None or any(
            getattr(theirs, topic.value) > getattr(ours, topic.value) for topic in COMPACTED
        ):
            return True
    return False


def _foreign(vector: Vector, log_id: str) -> str:
    return "" if vector.log_id == log_id else f"made from another log, {vector.log_id}"
