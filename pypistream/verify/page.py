"""The report of `verify` as text for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pypistream.terminal import escaped
from pypistream.verify.facts import EXCEPTIONS, Why
from pypistream.verify.report import Named, SinkReport, VerifyReport

SHOWN_MAX = 20  # names of each reason; --json has 1 000


def page(report: VerifyReport) -> str:
    """The report's lines, each with a newline. Upstream's texts are escaped."""
    return "".join(f"{escaped(line)}\n" for line in _lines(report))


def _lines(report: VerifyReport) -> Iterator[str]:
    mark = "no watermark" if report.watermark is None else f"watermark {report.watermark:,}"
    index = "" if report.index is None else f", upstream's index of serial {report.index:,}"
    yield f"log {report.log_id}: {mark}{index}"
    share = "no names" if report.coverage is None else f"{report.coverage:g} %"
    yield (
        f"coverage {share}: {report.names:,} names, {report.documents:,} documents here,"
        f" {report.absent:,} names known to have none (absent)"
    )
    yield f"exceptions: {_counted(report.exceptions)}"
    yield f"differences: {_counted(report.differences)}"
    yield f"duckdb: {_sink(report.duckdb)}"
    yield f"dump: {_sink(report.dump)}"
    yield f"deltas: {_sink(report.deltas)}"
    for why in sorted(Why, key=lambda why: why in EXCEPTIONS):
        yield from _names(why, report)
    if report.repair is not None:
        left = f"; {report.repair.left:,} more the next time" if report.repair.left else ""
        yield f"asked for {report.repair.asked:,} names{left}"
    yield "everything agrees but the exceptions" if report.sound else "not everything agrees"
    for sink in report.rebuild:
        yield f"Next:  pypistream rebuild {sink}"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {why}" for why, count in counts.items()) or "none"


def _sink(sink: SinkReport) -> str:
    if sink.note:
        return sink.note
    if sink.problem:
        return f"cannot be compared: {sink.problem}"
    at = "no watermark" if sink.watermark is None else f"watermark {sink.watermark:,}"
    newer = f", {sink.newer:,} names are newer in the log" if sink.newer else ""
    return f"{'agrees' if sink.agrees else 'differs'} at {at}{newer}"


def _names(why: Why, report: VerifyReport) -> Iterator[str]:
    named: list[Named] = [each for each in report.named if each.why == why.value]
    for each in named[:SHOWN_MAX]:
        yield f"  {each.name}: {each.why} ({each.side}: {each.text})"
    if len(named) > SHOWN_MAX:
        yield f"  … {why.value}: --json names more"
