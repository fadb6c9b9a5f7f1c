"""`pypistream topics`: the log's topics as a table or JSON; creates and mends them on Kafka."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pypistream.cli import EXIT_FAILED
from pypistream.place import located
from pypistream.settings import Settings
from pypistream.stopping import run_until_stopped
from pypistream.terminal import Stdout, escaped
from pypistream.wiring import create_topics, mend_topics, topics_now
from schemas.errors import LogMismatch
from streams.topic_report import LogReport, TopicReport

CREATE = "pypistream topics --create"
PIPE_COLUMNS = 4_000  # no wrapping where no person looks
HEADERS = ("topic", "partitions", "copies", "cleanup", "kept", "largest record", "")
_MIB = 1024 * 1024
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))  # milliseconds


class TopicLine(msgspec.Struct):
    """A topic in --json. null: it does not exist, or (configs) we may not look.

    `faults` are texts: a config, what was found, what is wanted. `mend` is what to do about them.
    """

    topic: str
    name: str
    partitions: int | None
    replication: int | None
    cleanup: str | None
    retention_ms: int | None
    tombstones_ms: int | None
    message_bytes_max: int | None
    led: bool
    faults: list[str]
    mend: list[str]


class TopicsLine(msgspec.Struct):
    """All of --json. `kafka` "" = the embedded log."""

    kafka: str
    prefix: str
    partitions: int | None
    ok: bool
    topics: list[TopicLine]


def topics(given: Mapping[str, object]) -> int:
    """The command; its exit code."""
    return run_until_stopped(_topics(given))


async def _topics(given: Mapping[str, object]) -> int:
    settings, data = located(given)
    copies = given["replication"]
    report = None
    if given["create"]:
        report = await create_topics(settings, copies if isinstance(copies, int) else None)
    if given["mend"]:
        report = await mend_topics(settings)
    if report is None:
        report = await topics_now(settings, data)
    if given["json"]:
        Stdout().write(msgspec.json.encode(_line(report, settings)) + b"\n")
    else:
        _show(report)
    if not any(given[name] for name in ("create", "check", "mend")):
        return 0
    _check_count(report, settings)
    return 0 if report.ok else EXIT_FAILED


def _check_count(report: LogReport, settings: Settings) -> None:
    asked, found = settings.partitions, report.partitions
    if settings.kafka and asked is not None and found is not None and asked != found:
        raise LogMismatch(
            f"the log has {found} partitions, not {asked}; their number is never changed",
            hint="leave --partitions out, or use another --kafka-prefix and a new backfill",
        )


def _line(report: LogReport, settings: Settings) -> TopicsLine:
    return TopicsLine(
        settings.kafka,
        settings.kafka_prefix if settings.kafka else "",
        report.partitions,
        report.ok,
        [_topic_line(each) for each in report.topics],
    )


def _topic_line(each: TopicReport) -> TopicLine:
    configs = each.configs or {}
    compacted = configs.get("cleanup.policy") == "compact"
    return TopicLine(
        topic=str(each.topic),
        name=each.name,
        partitions=each.partitions,
        replication=each.replication,
        cleanup=configs.get("cleanup.policy"),
        retention_ms=None if compacted else _number(configs.get("retention.ms")),
        tombstones_ms=_number(configs.get("delete.retention.ms")) if compacted else None,
        message_bytes_max=_number(configs.get("max.message.bytes")),
        led=each.led,
        faults=[fault.what for fault in each.faults],
        mend=list(dict.fromkeys(fault.mend for fault in each.faults)),
    )


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _show(report: LogReport) -> None:
    stdout = Stdout()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in HEADERS:
        table.add_column(header, overflow="fold")
    for each in report.topics:
        table.add_row(*(Text(escaped(cell)) for cell in _cells(each)))
    console = Console(width=None if stdout.terminal else PIPE_COLUMNS, highlight=False)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    lines += [f"Next:  {escaped(text)}" for text in _next(report)]
    stdout.write("".join(f"{line}\n" for line in lines).encode())


def _next(report: LogReport) -> list[str]:
    """What to do next, without repetitions."""
    todo = [fault.mend for each in report.topics for fault in each.faults]
    if any(each.missing for each in report.topics):
        todo.insert(0, CREATE)
    return list(dict.fromkeys(todo))


def _cells(each: TopicReport) -> Iterator[str]:
    line = _topic_line(each)
    yield each.name
    yield "-" if line.partitions is None else str(line.partitions)
    yield "-" if line.replication is None else str(line.replication)
    yield line.cleanup or "-"
    if line.tombstones_ms is not None:
        yield f"latest of each key; tombstones {_time(line.tombstones_ms)}"
    else:
        yield "-" if line.retention_ms is None else _time(line.retention_ms)
    size = line.message_bytes_max
    yield "-" if size is None else f"{size / _MIB:.1f} MiB"
    yield _verdict(each)


def _verdict(each: TopicReport) -> str:
    if each.missing:
        return "missing"
    said = [fault.what for fault in each.faults]
    if not each.led:
        said.append("a partition has no leader: is a broker down?")
    if each.configs is None:
        said.append("configs not checked: no right to see them")
    return "; ".join(said) or "ok"


def _time(milliseconds: int) -> str:
    if milliseconds < 0:
        return "for ever"
    for unit, name in _UNITS:
        if milliseconds >= unit and milliseconds % unit == 0:
            return f"{milliseconds // unit} {name}"
    return f"{milliseconds} ms"
