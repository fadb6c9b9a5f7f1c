"""`pypistream verify`: compares index, log, DuckDB file, dump and deltas, name by name.

Every side is sorted by name on disk and merged, so memory does not grow with the number of names
(except for the index while it is read). Changes nothing; --repair writes asks.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import msgspec

from pypistream.cli import EXIT_FAILED
from pypistream.data_dir import DataDir
from pypistream.logs import log_to_stderr
from pypistream.place import located
from pypistream.settings import Settings
from pypistream.stopping import run_until_stopped
from pypistream.terminal import Stdout
from pypistream.verify.facts import DeltaLine, Listed, Rules, Seen
from pypistream.verify.log import LogFacts, NameFacts, by_name
from pypistream.verify.page import page
from pypistream.verify.repair import ask_for, repair
from pypistream.verify.report import Tally, VerifyReport
from pypistream.verify.rules import judge
from pypistream.verify.sides import (
    SideReport,
    beyond,
    deltas_into,
    deltas_of,
    dump_into,
    dump_of,
    index_into,
    index_of,
    opened_snapshot,
    snapshot_of,
)
from pypistream.verify.sorting import Sorter
from pypistream.wiring import check_upstream, open_log_for_reading, require_log
from schemas.codec import rfc3339
from schemas.errors import Fatal
from schemas.names import NormalizedName
from schemas.records import Ask, Config
from sinks.duckdb.schema import UNREADABLE
from sinks.duckdb.verify import SnapshotRow
from sinks.sink import Vector
from streams.clock import SystemClock
from streams.log import Log
from streams.progress import read_progress

YIELD_NAMES = 5_000  # so often a signal may end the comparison


@dataclass(frozen=True)
class Wanted:
    """The arguments of a `verify`."""

    settings: Settings
    data: DataDir
    upstream: bool = True
    repair: bool = False


def verify(given: Mapping[str, object]) -> int:
    """The command; its exit code."""
    log_to_stderr()
    settings, data = located(given)
    wanted = Wanted(settings, data, not given["no_upstream"], bool(given["repair"]))
    require_log(settings, data)
    if wanted.upstream:
        check_upstream(settings)  # before anything is read: these are usage errors
    return run_until_stopped(_verify(wanted, as_json=bool(given["json"])))


async def _verify(wanted: Wanted, *, as_json: bool) -> int:
    log = await open_log_for_reading(wanted.settings, wanted.data)
    try:
        report = await verified(log, wanted)
    finally:
        await log.close()
    stdout = Stdout()
    text = msgspec.json.encode(report) + b"\n" if as_json else page(report).encode()
    stdout.write(text)
    return 0 if report.sound else EXIT_FAILED


async def verified(log: Log, wanted: Wanted) -> VerifyReport:
    """Compare everything. Raises Fatal, LogUnavailable, LogCorrupt, DiskFull."""
    config = (await read_progress(log)).config
    if config is None:
        raise Fatal(
            "nothing has worked on this log yet: there is nothing to compare",
            hint="start `pypistream run` or `pypistream produce` first",
        )
    with ExitStack() as stack:
        return await _Comparison(log, config, wanted, stack).run()


class _Comparison:
    """One run.

    It reads the sinks first, then the index, then the log: each is as new as the next at most.

    So everything in a sink lies before the cut up to which the log is read.
    """

    def __init__(self, log: Log, config: Config, wanted: Wanted, stack: ExitStack) -> None:
        self._log, self._config, self._wanted, self._stack = log, config, wanted, stack
        folder = wanted.data.state if wanted.data.state.is_dir() else None
        self._folder: Path | None = folder

    async def run(self) -> VerifyReport:
        """Compare everything."""
        data, log_id = self._wanted.data, self._config.log_id
        snapshot, rows = opened_snapshot(data.snapshot, log_id, self._stack)
        lines = self._sorter()
        dump = await dump_into(data, log_id, lines)
        changes = self._sorter()
        deltas, since = await deltas_into(data, dump, changes)
        index = self._sorter()
        serial = None
        if self._wanted.upstream:
            where = (self._wanted.settings, data)
            serial = await index_into(where, self._log, index, self._config.filter)
        facts = LogFacts(
            self._log, self._config, self._sorter(), rows.hashes if rows else None,
            lines=_compared(dump) or _compared(deltas),
        )  # fmt: skip
        vector = await facts.read()
        sides = tuple(_not_beyond(side, vector) for side in (snapshot, dump, deltas))
        snapshot_at, dump_at, deltas_at = (
            side.vector.cuts if side.vector and _compared(side) else None for side in sides
        )
        rules = Rules(
            *(vector.cuts, facts.with_releases, serial),
            *(snapshot_at, dump_at, deltas_at),
            deltas_from=since,
        )
        seen = merged(
            ((each.name, each) for each in by_name(facts.into)),
            index_of(index),
            snapshot_of(rows) if rows and rules.snapshot is not None else (),
            dump_of(lines) if rules.dump is not None else (),
            deltas_of(changes) if rules.deltas is not None else (),
        )
        return await self._judged(seen, rules, vector, sides)

    async def _judged(
        self,
        names: Iterator[Seen],
        rules: Rules,
        vector: Vector,
        sinks: Sequence[SideReport],
    ) -> VerifyReport:
        tally = Tally()
        asks: list[tuple[NormalizedName, Ask]] = []
        for number, seen in enumerate(names):
            judged, state = judge(seen, rules), seen.state()
            tally.add(judged, state)
            if self._wanted.repair and judged.findings:
                ask = ask_for(seen, state, judged.findings, rules.map_serial or 0)
                asks += [ask] if ask is not None else []
            if number % YIELD_NAMES == 0:
                await asyncio.sleep(0)
        report = tally.report(rfc3339(int(time.time())), vector, rules.map_serial, sinks)
        if self._wanted.repair:
            report.repair = await repair(self._log, SystemClock(), asks)
        return report

    def _sorter(self) -> Sorter:
        return self._stack.enter_context(Sorter(self._folder))


def merged(
    log: Iterable[tuple[str, NameFacts]],
    index: Iterable[tuple[str, Listed]],
    snapshot: Iterable[tuple[str, SnapshotRow]],
    dump: Iterable[tuple[str, tuple[str, str]]],
    deltas: Iterable[tuple[str, DeltaLine]] = (),
) -> Iterator[Seen]:
    """Every name that any side has, with what each has of it, in the order of the names."""
    sides: list[Iterable[tuple[str, object]]] = [log, index, snapshot, dump, deltas]
    together = heapq.merge(*sides, key=itemgetter(0))
    for name, items in groupby(together, key=itemgetter(0)):
        seen = Seen(name)
        for _, item in items:
            _put(seen, item)
        yield seen


def _put(seen: Seen, item: object) -> None:
    if isinstance(item, NameFacts):
        seen.facts, seen.hashes = item.facts, item.hashes
    elif isinstance(item, Listed):
        seen.listed = item
    elif isinstance(item, SnapshotRow):
        if item.table == UNREADABLE.name:
            seen.unreadable = True
        else:
            seen.snapshot[item.table] = item.hash
    elif isinstance(item, DeltaLine):
        seen.deltas[item.file] = item.digest
    elif isinstance(item, tuple):
        file, digest = item
        seen.dump[file] = digest


def _compared(side: SideReport) -> bool:
    return not side.note and not side.problem


def _not_beyond(side: SideReport, log: Vector) -> SideReport:
    if side.vector is None or side.problem or not beyond(side.vector, log.cuts):
        return side
    return side._replace(problem="it stands beyond the end of this log")
