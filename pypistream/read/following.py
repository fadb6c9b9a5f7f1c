"""`pypistream follow`: the records of some topics, from a serial or from now on, as they come."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pypistream.data_dir import DataDir
from pypistream.place import located
from pypistream.read.record_lines import (
    Selection,
    json_line,
    readable_line,
)
from pypistream.settings import Settings
from pypistream.stopping import run_until_stopped
from pypistream.terminal import Stdout, complain
from pypistream.wiring import open_log_for_reading
from schemas.errors import Retriable, UsageError
from schemas.filters import checked_glob
from schemas.topics import Offset, Topic
from sinks.http.streams.selection import SECURITY, SECURITY_KINDS
from streams.log import Log, Reader, Record, TopicPartition
from streams.masking import MaskedLog
from streams.progress import read_progress
from streams.seeking import seek

BATCH_RECORDS = 500  # of one read: printed at once, so this bounds memory, not latency
IDLE_SECONDS = 0.5  # how often to check that our output is still read; records wake us sooner
RETRIES_MAX = 10  # errors in a row, when the log does not answer
RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class Request:
    """What to follow. `count` None = for ever."""

    topics: Sequence[Topic]
    selection: Selection
    count: int | None = None


def follow(given: Mapping[str, object]) -> int:
    """The command; its exit code."""
    settings, data = located(given)
    return run_until_stopped(_follow(settings, data, _request(given)))


def _request(given: Mapping[str, object]) -> Request:
    topics = [Topic(str(name)) for name in _texts(given["topic"])] or [Topic.CHANGELOG]
    kinds = wanted_kinds(_texts(given["kind"]))
    if kinds and topics != [Topic.CHANGELOG]:
        raise UsageError(
            "--kind is about journal rows", hint="use it with --topic changelog, the default"
        )
    since, count = given["since"], given["count"]
    projects = tuple(checked_glob(glob) for glob in _texts(given["project"]))
    return Request(
        list(dict.fromkeys(topics)),
        Selection(projects, kinds, since if isinstance(since, int) else None),
        count if isinstance(count, int) else None,
    )


def wanted_kinds(names: Sequence[str]) -> frozenset[str]:
    """The kinds that these names stand for; `security` is what it is over HTTP. Pure."""
    kinds = set(names)
    if SECURITY in kinds:
        kinds = kinds - {SECURITY} | {kind.value for kind in SECURITY_KINDS}
    return frozenset(kinds)


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, tuple) else []


async def _follow(settings: Settings, data: DataDir, request: Request) -> int:
    stdout = Stdout()
    log = MaskedLog.of(await open_log_for_reading(settings, data))
    try:
        await _explain(log, request, terminal=stdout.terminal)
        line = readable_line if stdout.terminal else json_line
        reader = await log.reader(await start_positions(log, request))
        await print_records(reader, request, line, stdout)
        return 0
    finally:
        await log.close()


async def _explain(log: Log, request: Request, *, terminal: bool) -> None:
    """Tell a person what may be unexpected: it starts later than asked, or at the end."""
    head = (await read_progress(log)).head
    since = request.selection.since
    journal = Topic.CHANGELOG in request.topics
    if journal and since is not None and head is not None and since < head.base:
        text = f"this log starts after serial {head.base}: journal rows up to it are not here\n"
    elif terminal and since is None:
        text = "waiting for the next record; --since SERIAL shows earlier ones, Ctrl-C ends\n"
    else:
        return
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


async def print_records(
    reader: Reader, request: Request, line: Callable[[Record], bytes], stdout: Stdout
) -> None:
    """Print what is wanted until `request.count` lines are out. Raises ReaderGone, LogCorrupt."""
    printed = failures = 0
    while request.count is None or printed < request.count:
        try:
            records = await reader.read(BATCH_RECORDS, IDLE_SECONDS)
            failures = 0
        except Retriable as error:
            failures += 1
            if failures > RETRIES_MAX:
                raise
            complain(error)
            await asyncio.sleep(RETRY_SECONDS)
            continue
        stdout.check_reader()
        for record in records:
            if not request.selection.wants(record):
                continue
            stdout.write(line(record))
            printed += 1
            if printed == request.count:
                return


async def start_positions(log: Log, request: Request) -> dict[TopicPartition, Offset]:
    """The positions to begin at: the ends, or with `since` before the first wanted record."""
    positions: dict[TopicPartition, Offset] = {}
    since = request.selection.since
    for topic in request.topics:
        ends = await log.ends(topic)
        if since is None:
            positions.update(ends)
            continue
        starts = await log.starts(topic)
        if topic is not Topic.CHANGELOG:
            # Documents come in any order of serials, so only reading everything finds all of them.
            positions.update(starts)
            continue
        spans = {at: (start, ends[at]) for at, start in starts.items()}
        positions.update(await seek(log, spans, since))
    return positions
