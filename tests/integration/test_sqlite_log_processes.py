"""Several processes on one SQLite log."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

import streams.connections
import streams.sqlite_threads
from schemas.errors import WriterFenced
from schemas.topics import Offset, Topic
from streams.cleaning import COMPACTION_LAG_MS
from streams.clock import unix_ms
from streams.log import LogUnavailable
from streams.sqlite_log import SqliteLog
from tests.support.log_child import EVENTS, KEYS, STATES, number_of, transaction
from tests.support.logs import cleaned, drained, read_all, state

ROOT = Path(__file__).parents[2]
KILLS = 6
WAIT_SECONDS = 60.0  # much longer than any of it takes, also on a busy machine


async def child(role: str, path: Path, number: int = 0) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.support.log_child", role, str(path), str(number)),
        cwd=ROOT,
        stdout=PIPE,
        stderr=PIPE,
    )


async def finished(process: Process) -> str:
    """What it printed; fails with its traceback if it failed."""
    out, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    return out.decode()


async def check(path: Path, acknowledged: int) -> int:
    """Every acknowledged transaction is there, and no part of one; how many there are."""
    log = await SqliteLog.open(path)
    events = [number_of(record) for record in await read_all(log, [EVENTS])]
    states = [number_of(record) for record in await read_all(log, [STATES])]
    offsets = [record.offset for record in await read_all(log, [EVENTS])]
    await log.close()
    assert [n for n in range(1, len(events) // 2 + 1) for _ in range(2)] == events
    assert list(range(1, len(events) // 2 + 1)) == states
    assert list(range(len(events))) == offsets
    assert acknowledged <= len(states)
    return len(states)


async def test_read_while_written_and_compacted(tmp_path: Path) -> None:
    """Two followers miss nothing and see nothing in part, while records are added and removed."""
    path = tmp_path / "log.sqlite"
    upto = 150
    ahead_ms = COMPACTION_LAG_MS + 1000  # as if all had been written long ago
    log = await SqliteLog.open(path)
    writer = await log.writer("a")
    followers = [await child("follow", path, upto) for _ in range(2)]
    removed = 0
    for number in range(1, upto + 1):
        await writer.commit(transaction(number))
        if number % 10 == 0:
            removed += await log.clean(unix_ms() + ahead_ms)
            await asyncio.sleep(0.01)
    seen = [int(await finished(follower)) for follower in followers]
    removed += await cleaned(log, unix_ms() + ahead_ms)
    await log.close()

    assert upto - KEYS == removed
    assert all(KEYS <= count <= upto for count in seen)


async def test_kill_at_any_moment(tmp_path: Path, seed: int) -> None:
    """Kill -9 of the writer loses nothing that was acknowledged, and leaves nothing half done."""
    path = tmp_path / "log.sqlite"
    rng = random.Random(seed)
    acknowledged = there = 0
    for _ in range(KILLS):
        process = await child("write", path)
        assert process.stdout is not None
        for _ in range(rng.randint(1, 30)):
            acknowledged = int(await process.stdout.readline())
        await asyncio.sleep(rng.uniform(0, 0.005))
        process.send_signal(signal.SIGKILL)
        rest, _ = await process.communicate()
        whole = rest.decode().rpartition("\n")[0].split()  # its last line may be cut
        acknowledged = int(whole[-1]) if whole else acknowledged
        there = await check(path, acknowledged)

    assert there >= KILLS


async def test_other_process_wakes_and_fences(tmp_path: Path) -> None:
    """Another process's record arrives; its writer fences ours."""
    path = tmp_path / "log.sqlite"
    log = await SqliteLog.open(path)
    reader = await log.reader({STATES: Offset(0)})
    waiting = asyncio.create_task(reader.read(10, WAIT_SECONDS))
    await finished(await child("append", path, 7))
    [record] = await waiting

    assert number_of(record) == 7
    writer = await log.writer("child")
    await finished(await child("write", path, 1))
    with pytest.raises(WriterFenced):
        await writer.commit(transaction(2))
    assert [1, 1] == [number_of(record) for record in await read_all(log, [EVENTS])]
    await log.close()


async def test_own_commits_wake_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit of the same process is not found by polling, nor lost if its caller is cancelled."""
    monkeypatch.setattr(streams.sqlite_threads, "POLL_SECONDS", 2 * WAIT_SECONDS)
    log = await SqliteLog.open(tmp_path / "log.sqlite")
    reader = await log.reader({STATES: Offset(0)})
    for number in range(5):
        waiting = asyncio.create_task(reader.read(10, WAIT_SECONDS))
        await asyncio.sleep(0.02)
        writing = asyncio.create_task(log.append([state("a", str(number))]))
        await asyncio.sleep(0)
        if number % 2:
            writing.cancel()
            await log.writer("a")  # after whatever the cancelled one may still do
            if number not in [number_of(record) for record in await read_all(log, [STATES])]:
                await log.append([state("a", str(number))])
        [record] = await waiting
        assert number_of(record) == number
    await log.close()


async def test_many_processes_append(tmp_path: Path) -> None:
    """Plain writes of several processes at once all arrive, each with an offset of its own."""
    path = tmp_path / "log.sqlite"
    log = await SqliteLog.open(path)
    children = [await child("append", path, number) for number in range(4)]
    own = [(await log.append([state("own", str(n))]))[0] for n in range(10, 30)]
    for process in children:
        await finished(process)
    records = await read_all(log, [STATES])
    await log.close()

    assert list(range(24)) == [record.offset for record in records]
    assert {*range(4), *range(10, 30)} == {number_of(record) for record in records}
    assert set(own) <= {record.offset for record in records}


async def test_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock held for too long: LogUnavailable; reading goes on, and writing once it is free."""
    monkeypatch.setattr(streams.connections, "BUSY_SECONDS", 0.1)
    path = tmp_path / "log.sqlite"
    log = await SqliteLog.open(path)
    await log.append([state("a", "1")])
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogUnavailable, match="locked"):
        await log.append([state("a", "2")])
    with pytest.raises(LogUnavailable):
        await log.writer("a")

    assert [b"1"] == [record.value for record in await read_all(log, [STATES])]
    holder.execute("ROLLBACK")
    holder.close()
    await log.append([state("a", "3")])
    assert [b"1", b"3"] == [record.value for record in await read_all(log, [STATES])]
    await log.close()


async def test_waits_for_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that is let go within the busy time-out is waited for; the event loop runs on."""
    monkeypatch.setattr(streams.connections, "BUSY_SECONDS", WAIT_SECONDS)
    path = tmp_path / "log.sqlite"
    log = await SqliteLog.open(path)
    reader = await log.reader({STATES: Offset(0)})
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(log.append([state("a", "1")]))
    turns = 0
    while turns < 20:
        turns += 1
        await asyncio.sleep(0.01)
        assert [] == await reader.read(10, 0), "readers do not wait for writers"
    assert not writing.done()
    holder.execute("ROLLBACK")
    holder.close()

    assert [0] == list(await writing)
    assert [b"1"] == [record.value for record in await drained(reader)]
    await log.close()


async def test_two_processes_create_it(tmp_path: Path) -> None:
    """Whoever comes second finds the log of the first."""
    path = tmp_path / "new" / "log.sqlite"
    logs = await asyncio.gather(*(SqliteLog.open(path, 4) for _ in range(6)))
    for number, log in enumerate(logs):
        assert [number] == list(await log.append([state("a", str(number))]))
    for log in logs:
        assert (await log.ends(Topic.STATE))[STATES] == len(logs)
        await log.close()
