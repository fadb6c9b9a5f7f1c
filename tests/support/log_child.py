"""Another process on the same SQLite log: `python -m tests.support.log_child ROLE FILE [NUMBER]`.

write N    commits transactions 1, 2, ... (up to N, 0 = for ever); prints each once acknowledged
follow N   reads along until transaction N; fails if one is missing, repeated or seen in part
append N   writes one plain record with that number
break      runs into an I/O error while it writes; prints what the log says then
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from pathlib import Path

from schemas.errors import LogBroken
from schemas.topics import Offset, Topic
from streams.log import Outgoing, Record, TopicPartition
from streams.sqlite_log import SqliteLog

KEYS = 5  # of the compacted topic: transaction n replaces the record of n - KEYS
PADDING = b" " * 600
EVENTS = TopicPartition(Topic.CHANGELOG, 0)
STATES = TopicPartition(Topic.STATE, 0)


def transaction(number: int) -> list[Outgoing]:
    """Three records in two partitions, all of which name their transaction."""
    value = str(number).encode()
    return [
        Outgoing(Topic.CHANGELOG, "k", value, (), 0),
        Outgoing(Topic.STATE, f"k{number % KEYS}", value + PADDING, (), 0),
        Outgoing(Topic.CHANGELOG, "k", value + PADDING, (), 0),
    ]


def number_of(record: Record) -> int:
    """The transaction that wrote the record."""
    return int((record.value or b"").strip())


def say(what: object) -> None:
    """To whoever started this process, at once: it may be killed the next moment."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def write(path: Path, upto: int) -> None:
    log = await SqliteLog.open(path)
    writer = await log.writer("child")
    number = (await log.ends(Topic.CHANGELOG))[EVENTS] // 2
    while not upto or number < upto:
        number += 1
        await writer.commit(transaction(number))
        say(number)
    await log.close()


async def follow(path: Path, upto: int) -> None:
    log = await SqliteLog.open(path, create=False)
    reader = await log.reader({EVENTS: Offset(0), STATES: Offset(0)})
    events: list[int] = []
    states: list[int] = []
    while len(events) < 2 * upto:
        for record in await reader.read(50, 10.0):
            (states if record.topic is Topic.STATE else events).append(number_of(record))
        table = await log.table(STATES)
        newest = sorted(number_of(record) for record in table.rows.values())
        if newest:
            expected = list(range(max(1, newest[-1] - KEYS + 1), newest[-1] + 1))
            assert expected == newest, f"the table holds {newest}"
    await log.close()
    assert [n for n in range(1, upto + 1) for _ in range(2)] == events[: 2 * upto]
    assert sorted(set(states)) == states
    say(len(states))


async def append(path: Path, number: int) -> None:
    log = await SqliteLog.open(path, create=False)
    await log.append([Outgoing(Topic.STATE, f"k{number}", str(number).encode(), (), 0)])
    await log.close()


async def run_into_error(path: Path, _: int) -> None:
    """The file-size limit makes `write` fail with EFBIG, an I/O error like any other."""
    log = await SqliteLog.open(path)
    writer = await log.writer("child")
    number = (await log.ends(Topic.CHANGELOG))[EVENTS] // 2 + 1
    await writer.commit(transaction(number))
    size = os.stat(f"{path}-wal").st_size  # noqa: PTH116  # pathlib in a coroutine is refused, too
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, before[1]))
    for again in range(3):
        if again:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)  # the disk seems to be well again
        try:
            await log.append(transaction(number + 1))
        except LogBroken as error:
            say(f"LogBroken {error}")
        else:
            say("written")
    try:
        await log.ends(Topic.CHANGELOG)
    except LogBroken:
        say("reads refused")
    await log.close()


ROLES = {"write": write, "follow": follow, "append": append, "break": run_into_error}

if __name__ == "__main__":
    role, file, *rest = sys.argv[1:]
    asyncio.run(ROLES[role](Path(file), int(rest[0]) if rest else 0))
