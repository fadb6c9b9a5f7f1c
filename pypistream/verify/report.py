"""The report of `verify` as one value; all names are counted, and listed up to a limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from pypistream.verify.facts import EXCEPTIONS, Finding, Judged, Side, Why
from pypistream.verify.sides import SideReport
from schemas.coverage import coverage
from schemas.records import State
from sinks.sink import Vector
from streams.progress import watermark

NAMES_MAX = 1_000  # listed of each reason; the counts have all


class Named(msgspec.Struct):
    """A name that differs: where and why; `text` is for people."""

    name: str
    side: str
    why: str
    text: str


class SinkReport(msgspec.Struct):
    """A sink against the log at the sink's own vector.

    `agrees` null = not compared, `note` says why. `newer`: names that are newer in the log, and so
    not compared. `watermark` is the sink's own.
    """

    agrees: bool | None
    watermark: int | None = None
    newer: int = 0
    note: str = ""
    problem: str = ""


class RepairReport(msgspec.Struct):
    """The result of --repair: asks written, and names left for the next time, for want of room."""

    asked: int
    left: int


class VerifyReport(msgspec.Struct):
    """`sound`: everything agrees, except for named exceptions.

    `coverage` in percent of `names`: those that upstream lists or that are published here (without
    upstream: all that are known). `index` is the serial of upstream's index, null = not asked.
    `documents` and `absent` are of the log: published, and known to have no document.
    `exceptions` and `differences` count names by reason, `named` lists them, NAMES_MAX of each
    reason. `deltas` are those that lead to the dump. `rebuild`: sinks whose content is not what
    the log says at their own vector.
    """

    time: str
    sound: bool
    log_id: str
    watermark: int | None
    reached: int
    index: int | None
    names: int
    coverage: float | None
    documents: int
    absent: int
    exceptions: dict[str, int]
    differences: dict[str, int]
    named: list[Named]
    duckdb: SinkReport
    dump: SinkReport
    deltas: SinkReport
    rebuild: list[str]
    repair: RepairReport | None = None


class Tally:
    """Counts names, one by one."""

    def __init__(self) -> None:
        self.names = self.excepted = self.documents = self.absent = 0
        self._counts: dict[Why, int] = dict.fromkeys(Why, 0)
        self._named: list[Named] = []
        self._listed: dict[Why, int] = dict.fromkeys(Why, 0)
        self._newer = {Side.DUCKDB: 0, Side.DUMP: 0, Side.DELTAS: 0}
        self._wrong: set[Side] = set()

    def add(self, judged: Judged, state: State | None) -> None:
        """Add one name."""
        self.names += judged.counts
        self.excepted += bool(judged.findings)
        self.documents += state is not None and state.published
        self.absent += judged.absent
        for side in judged.newer:
            self._newer[side] += 1
        for why in {finding.why for finding in judged.findings}:
            self._counts[why] += 1
        for finding in judged.findings:
            self._list(finding)
            if finding.why not in EXCEPTIONS:
                self._wrong.add(finding.side)

    def _list(self, finding: Finding) -> None:
        self._listed[finding.why] += 1
        if self._listed[finding.why] <= NAMES_MAX:
            named = Named(finding.name, finding.side.value, finding.why.value, finding.text)
            self._named.append(named)

    def report(
        self, now: str, log: Vector, index: int | None, sinks: Sequence[SideReport]
    ) -> VerifyReport:
        """The report on all names."""
        claim = watermark(log.cuts)
        differences = dict(self._counted(exceptions=False))
        each = {sink.side: self._sink(sink) for sink in sinks}
        problems = any(sink.problem for sink in sinks)
        return VerifyReport(
            time=now,
            sound=not differences and not problems,
            log_id=log.log_id,
            watermark=claim.serial,
            reached=claim.reached,
            index=index,
            names=self.names,
            coverage=coverage(self.names, self.excepted),
            documents=self.documents,
            absent=self.absent,
            exceptions=dict(self._counted(exceptions=True)),
            differences=differences,
            named=sorted(self._named, key=lambda named: (_ORDER[named.why], named.name)),
            duckdb=each[Side.DUCKDB],
            dump=each[Side.DUMP],
            deltas=each[Side.DELTAS],
            rebuild=sorted({_MADE_WITH[s] for s, sink in each.items() if sink.agrees is False}),
        )

    def _counted(self, *, exceptions: bool) -> Iterator[tuple[str, int]]:
        for why, count in self._counts.items():
            if count and (why in EXCEPTIONS) is exceptions:
                yield why.value, count

    def _sink(self, sink: SideReport) -> SinkReport:
        agrees = None if sink.note else not sink.problem and sink.side not in self._wrong
        claimed = watermark(sink.vector.cuts).serial if sink.vector else None
        return SinkReport(agrees, claimed, self._newer[sink.side], sink.note, sink.problem)


# Deltas from before a rebuilt dump lead to none: a follower there loads the dump.
_MADE_WITH = {Side.DUCKDB: "duckdb", Side.DUMP: "dump", Side.DELTAS: "dump"}
_ORDER = {why.value: (why in EXCEPTIONS, place) for place, why in enumerate(Why)}
