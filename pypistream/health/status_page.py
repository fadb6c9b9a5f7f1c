"""A status report for a person: a table of what matters, then the names that need attention."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pypistream.health.status_files import FileReport
from pypistream.health.status_report import NameReport, StatusReport
from pypistream.roles import Holder, by_process
from pypistream.terminal import duration, escaped, shortened
from schemas.filters import in_words
from schemas.records import Filter, Status

NAMES_SHOWN_MAX = 10  # of each status; --json has more
REASON_CHARACTERS_MAX = 60  # a column of the page
PARTITIONS_SHOWN_MAX = 12  # the number of a new log on Kafka
BYTE_UNITS = ("B", "KB", "MB", "GB", "TB")
NOT_FOUNDED = "not founded yet: no `run` has reached upstream"


def page(report: StatusReport) -> RenderableType:
    """The whole page."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    for label, text in _rows(report):
        table.add_row(label, text)
    return Group(table, *(Text(line) for line in _names(report.exceptions or [])))


def _rows(report: StatusReport) -> Iterator[tuple[str, Text]]:
    for label, text in (
        ("data", report.data),
        ("upstream", "" if report.upstream is None else report.upstream or "PyPI"),
        ("log", _log(report)),
        ("head", _head(report)),
        ("watermark", _watermark(report)),
        ("lag", _lag(report)),
        ("history", _history(report)),
        ("loaded from", _bootstrap(report)),
        ("names", _counts(report.names)),
        ("coverage", _coverage(report)),
        ("next attempts", _due(report)),
        ("on hold", _hold(report)),
        ("sweep", _sweep(report)),
        ("roles", _roles(report)),
        ("positions", _positions(report)),
        ("snapshot", _file(report.snapshot)),
        ("dump", _dump(report)),
        ("files", "  ".join(f"{file.path} {size(file.bytes)}" for file in report.files)),
    ):
        if text:
            yield label, Text(escaped(text))


def _log(report: StatusReport) -> str:
    if report.log_id is None:
        return NOT_FOUNDED
    parts = [report.log_id]
    if report.kafka:
        parts.append(f"on {report.kafka}")
    if report.partitions > 1:
        parts.append(f"{report.partitions} partitions")
    if report.filter != Filter():
        parts.append(in_words(report.filter))
    return "  ".join(parts)


def _head(report: StatusReport) -> str:
    if report.head is None:
        return "none yet"
    by_index = "  by the index: PyPI's journal is not asked" if report.source == "index" else ""
    return f"{report.head:,}  ({report.head_time}){by_index}"


def _watermark(report: StatusReport) -> str:
    if report.watermark is not None:
        return f"{report.watermark:,}  ({report.watermark_time})"
    parts = ["null"]
    if report.base or report.backfill is not None:
        parts.append(why_null(report))
    if report.reached:
        parts.append(f"changes since serial {report.base:,} are in up to {report.reached:,}")
    return "; ".join(parts)


def why_null(report: StatusReport) -> str:
    """Why there is no watermark, and what gives it one."""
    if report.backfill is not None:
        return f"backfill {report.backfill.done:,}/{report.backfill.names:,}"
    if report.base:
        return "this log has no backfill: `pypistream run --backfill` fetches every project"
    if report.log_id is None:
        return NOT_FOUNDED
    return "its first changes are not worked on yet: `pypistream run` does that"


def _lag(report: StatusReport) -> str:
    if report.lag_serials is None or report.lag_seconds is None:
        return "unknown while the watermark is null"
    return f"{report.lag_serials:,} serials, marker {duration(report.lag_seconds)} old"


def _history(report: StatusReport) -> str:
    history = report.history
    if history is None:
        return ""
    if history.since == 0:
        return "every row of the journal since serial 0"
    after = f"every row after serial {history.since:,}"
    if history.read is not None:
        return f"{after}, and of those before {history.begun:,} to {history.read:,} so far"
    if history.asked:
        return f"{after}; what was before is asked for, and waits for `pypistream produce`"
    return after


def _bootstrap(report: StatusReport) -> str:
    known = report.bootstrap
    if known is None:
        return ""
    if known.loading:
        return f"half of {known.source}: give `pypistream bootstrap` again, nothing else works here"
    return f"{known.source}, last at {known.time}"


def _counts(names: dict[str, int] | None) -> str:
    return "  ".join(f"{status} {count:,}" for status, count in (names or {}).items())


def _coverage(report: StatusReport) -> str:
    if report.coverage is None or report.excepted is None:
        return ""
    owed = ", ".join(f"{count:,} {status}" for status, count in report.excepted.items())
    return f"{report.coverage:g} %, exceptions: {owed or 'none'}"


def _due(report: StatusReport) -> str:
    due = report.due
    if due is None or due.next is None:
        return "" if due is None else "none"
    return f"{due.now:,} due now, {due.minute:,} within a minute, {due.later:,} later"


def _hold(report: StatusReport) -> str:
    hold = report.hold
    return f"until {hold.until} ({duration(hold.seconds)}): {hold.reason}" if hold else ""


def _sweep(report: StatusReport) -> str:
    sweep = report.sweep
    if sweep is None:
        return ""
    text, found = f"round {sweep.round}, begun {sweep.started}", f"{sweep.changed:,} changes found"
    if sweep.next is not None:
        asked = f"{sweep.asked:,} names looked at"
        return f"{text}, is through: {asked}, {found}; the next begins {sweep.next}"
    place = f", at {sweep.name}" if sweep.name else ""
    period = f"; a round takes {duration(sweep.every)}" if sweep.every else ""
    return f"{text}: {sweep.percent:.0f} % of {sweep.names:,} names{place}, {found}{period}"


def _roles(report: StatusReport) -> str:
    if not report.roles:
        alive = "no `produce` is alive, and " if report.kafka else ""
        return f"{alive}no process is running on this directory"
    return by_process(Holder(role, owner) for role, owner in report.roles.items())


def _positions(report: StatusReport) -> str:
    lines = [
        f"{at.partition}: changelog {_behind(at.changelog, at.changelog_end)}, "
        f"refetch {_behind(at.refetch, at.refetch_end)}"
        for at in report.positions[:PARTITIONS_SHOWN_MAX]
    ]
    more = len(report.positions) - len(lines)
    return "; ".join(lines) + (f"; and {more} more" if more else "")


def _behind(position: int | None, end: int) -> str:
    return f"{position or 0:,}/{end:,}"


def _file(file: FileReport | None) -> str:
    return f"{file.time}, {size(file.bytes)}" if file else "not published yet"


def _dump(report: StatusReport) -> str:
    dump = report.dump
    if dump is None:
        return "not published yet"
    if dump.problem is not None:
        return dump.problem
    watermark = "null" if dump.watermark is None else f"{dump.watermark:,}"
    other = "" if dump.same_log else "  (of another log)"
    return f"{dump.created}, watermark {watermark}{other}"


def _names(exceptions: list[NameReport]) -> Iterator[str]:
    """The names that need attention or explain the watermark's exceptions, by status."""
    for status in Status:
        names = [name for name in exceptions if name.status == status.value]
        if not names:
            continue
        yield ""
        yield f"{status.value}:"
        for name in names[:NAMES_SHOWN_MAX]:
            reason = escaped(shortened(name.reason, REASON_CHARACTERS_MAX)) or "-"
            due = f", next {name.next}" if name.next else ""
            yield f"  {name.name}  {reason}  (serial {name.serial}, attempts {name.attempts}{due})"
        if len(names) > NAMES_SHOWN_MAX:
            yield f"  … and {len(names) - NAMES_SHOWN_MAX} or more: --json"


def size(count: float) -> str:
    """A size in bytes, in the unit that leaves up to three digits."""
    unit = 0
    while count >= 1000 and unit < len(BYTE_UNITS) - 1:  # noqa: PLR2004  SI units
        count, unit = count / 1000, unit + 1
    return f"{count:.0f} {BYTE_UNITS[unit]}" if unit == 0 else f"{count:.1f} {BYTE_UNITS[unit]}"
