"""The doctor's checks of the log, embedded or on Kafka. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

from pypistream.data_dir import DataDir
from pypistream.health.doctor_checks import Finding, Verdict, failed, ok
from pypistream.holding import HOLD_KEY, hold_of
from pypistream.settings import Settings
from pypistream.terminal import duration
from pypistream.wiring import (
    check_log_structure,
    kafka_library,
    open_log_for_reading,
    topics_now,
)
from schemas.errors import PypistreamError
from schemas.topics import Offset, Topic
from streams.log import Log
from streams.topic_report import LogReport
from streams.watching import plain_place, up_to_now

SAMPLE_RECORDS = 500  # records checked at either end of each partition
STRUCTURE_SECONDS = 10.0  # for SQLite's own check, unless --deep
CLOCK_SECONDS_MAX = 120.0  # how far in the future a record's time may lie


async def stored(settings: Settings, data: DataDir, *, deep: bool) -> AsyncIterator[Finding]:
    """The log: its file or its topics, its checksums, its times."""
    sound = True
    try:
        found = await _kafka(settings, data) if settings.kafka else [_structure(data, deep=deep)]
        for finding in found:
            sound = sound and finding.verdict is not Verdict.PROBLEM
            yield finding
        if not sound:
            return
        log = await open_log_for_reading(settings, data)
    except PypistreamError as error:
        yield failed("kafka" if settings.kafka else "log", error)
        return
    try:
        count, newest_ms = await _checksums(log, deep=deep)
        yield ok("checksums", f"{count:,} records read{'' if deep else ' (a sample)'}, all match")
        yield _clock(newest_ms)
    except PypistreamError as error:
        yield failed("checksums", error)
    finally:
        await log.close()


def _structure(data: DataDir, *, deep: bool) -> Finding:
    """Check the log file. Raises the error that makes it unreadable."""
    whole = check_log_structure(data, None if deep else STRUCTURE_SECONDS)
    far = "as far as looked (--deep looks at all)"
    return ok("log", "structure is sound" if whole else f"structure: {far}")


async def _kafka(settings: Settings, data: DataDir) -> list[Finding]:
    """Check the cluster. Raises the error that makes it unreachable."""
    report = await topics_now(settings, data)
    version = kafka_library()
    return [ok("kafka", f"{settings.kafka} answers, {version}"), *_topics(settings, report)]


def _topics(settings: Settings, report: LogReport) -> Iterator[Finding]:
    missing = [topic for topic in report.topics if topic.missing]
    if missing:
        names = ", ".join(topic.name for topic in missing)
        todo = "`pypistream topics --create`, a `run` or a `produce` makes them"
        yield Finding(Verdict.PROBLEM, "topics", f"there is no {names}", todo)
        return
    faulty = [(topic, fault) for topic in report.topics for fault in topic.faults]
    for topic, fault in faulty:
        yield Finding(Verdict.PROBLEM, "topics", f"{topic.name}: {fault.what}", fault.mend)
    leaderless = [topic.name for topic in report.topics if not topic.led]
    if leaderless:
        todo = "is a broker down? `pypistream topics` shows more"
        text = f"not every partition of {', '.join(leaderless)} has a leader"
        yield Finding(Verdict.PROBLEM, "topics", text, todo)
    if not faulty and not leaderless:
        copies = min(topic.replication or 0 for topic in report.topics)
        text = f"{settings.kafka_prefix}*, {report.partitions} partitions, copies of each: {copies}"
        yield ok("topics", text)


async def _checksums(log: Log, *, deep: bool) -> tuple[int, int]:
    """Read records, which checks them: how many, the newest's append time. Raises LogCorrupt."""
    count = newest_ms = 0
    for topic in Topic:
        starts, ends = await log.starts(topic), await log.ends(topic)
        tails = {at: Offset(max(start, ends[at] - SAMPLE_RECORDS)) for at, start in starts.items()}
        for positions in [starts] if deep else [starts, tails]:
            enough = None if deep else count + SAMPLE_RECORDS * len(positions)
            reader = await log.reader(positions)
            async for records in up_to_now(log, reader, positions, SAMPLE_RECORDS):
                count += len(records)
                newest_ms = max(newest_ms, records[-1].timestamp_ms)
                if enough is not None and count >= enough:
                    break
            await reader.close()
    return count, newest_ms


def _clock(newest_ms: int) -> Finding:
    ahead_seconds = newest_ms / 1000 - time.time()
    if ahead_seconds > CLOCK_SECONDS_MAX:
        return Finding(
            Verdict.PROBLEM,
            "clock",
            f"the newest record was written {duration(ahead_seconds)} in the future",
            "check this machine's clock (NTP): lag and waits are measured with it",
        )
    return ok("clock", "no record lies in the future")


async def held(settings: Settings, data: DataDir) -> str | None:
    """Why and how long upstream asked every process of this log to wait."""
    if not settings.kafka and not data.log.exists():
        return None
    try:
        log = await open_log_for_reading(settings, data)
    except PypistreamError:
        return None  # another check reports the log's error
    try:
        table = await log.table(plain_place(log))
    except PypistreamError:
        return None
    finally:
        await log.close()
    hold = hold_of(table.rows.get(HOLD_KEY))
    if hold is None:
        return None
    left_seconds = hold.until_ms / 1000 - time.time()
    return f"{duration(left_seconds)} more: {hold.reason}" if left_seconds > 0 else None
