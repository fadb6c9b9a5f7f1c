"""Damage, full disks and I/O errors under the SQLite log."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.errors import (
    DataDirectoryVersion,
    LogCorrupt,
    LogFull,
    LogMismatch,
    PypistreamError,
    UsageError,
    WriterFenced,
)
from schemas.topics import RECORD_BYTES_MAX, Offset, Topic
from streams.cleaning import COMPACTION_LAG_MS
from streams.clock import unix_ms
from streams.log import Outgoing, Record, TopicPartition
from streams.sqlite_log import SqliteLog
from streams.sqlite_reader import READ_BYTES_MAX
from tests.support.logs import CHANGELOG_0, STATE_0, event, read_all, state
from tests.support.tools import needs

ROOT = Path(__file__).parents[2]
FLIPS = int(os.environ.get("PYPISTREAM_TEST_FLIPS", "60"))
MEND = "pypistream run --backfill"


async def a_log(path: Path, count: int = 40) -> None:
    """A log with long and short values, closed, so that all of it is in the one file."""
    log = await SqliteLog.open(path)
    for n in range(count):
        long = f"{n}-" + "".join(chr(97 + (n * i) % 26) for i in range(900))
        await log.append([event(f"key-{n}", long), state(f"key-{n}", f"short-{n}")])
    await log.close()


class TestFile:
    async def test_missing(self, tmp_path: Path) -> None:
        """Who only follows makes nothing: the error names the command that does."""
        path = tmp_path / "data" / "log.sqlite"
        with pytest.raises(UsageError, match=r"no log in .*data$") as refused:
            await SqliteLog.open(path, create=False)

        assert f"pypistream run --data {path.parent}" in refused.value.hint
        assert [] == os.listdir(tmp_path)  # noqa: PTH208  # pathlib in a coroutine is refused, too

    async def test_creation_was_killed(self, tmp_path: Path) -> None:
        """An empty file is no log yet; `run` makes it one."""
        path = tmp_path / "log.sqlite"
        path.touch()
        with pytest.raises(UsageError, match="no log in"):
            await SqliteLog.open(path, create=False)
        await (await SqliteLog.open(path, 4)).close()
        log = await SqliteLog.open(path, create=False)

        assert log.partitions == 4
        await log.close()

    async def test_other_partition_count(self, tmp_path: Path) -> None:
        """Its own N rules; another one is refused, with what to do instead."""
        path = tmp_path / "log.sqlite"
        await (await SqliteLog.open(path, 4)).close()
        with pytest.raises(LogMismatch, match="has 4 partitions, not 12") as caught:
            await SqliteLog.open(path, 12)

        assert "a new --data directory" in caught.value.hint
        assert "pypistream bootstrap" in caught.value.hint

    @pytest.mark.parametrize(
        ("version", "hint"),
        [(2, "update pypistream"), (0, "new directory"), (99, "update pypistream")],
    )
    async def test_other_version(self, tmp_path: Path, version: int, hint: str) -> None:
        """A file of another version is refused, with what to do."""
        path = tmp_path / "log.sqlite"
        await a_log(path, 1)
        sql(path, f"PRAGMA user_version = {version}")
        with pytest.raises(DataDirectoryVersion, match=f"version {version}") as caught:
            await SqliteLog.open(path)

        assert hint in caught.value.hint

    async def test_foreign_database(self, tmp_path: Path) -> None:
        """Another program's database is left alone."""
        path = tmp_path / "log.sqlite"
        sql(path, "CREATE TABLE theirs (x)")
        with pytest.raises(DataDirectoryVersion, match="not a log of pypistream"):
            await SqliteLog.open(path)

    async def test_no_database(self, tmp_path: Path) -> None:
        """A file that is no database is a damaged log."""
        path = tmp_path / "log.sqlite"
        path.write_bytes(b"this is no database, and long enough to be seen as one" * 100)
        with pytest.raises(LogCorrupt) as caught:
            await SqliteLog.open(path)

        assert MEND in caught.value.hint

    async def test_no_permission(self, tmp_path: Path) -> None:
        """What cannot be opened is said so."""
        path = tmp_path / "log.sqlite"
        path.mkdir()
        with pytest.raises(UsageError, match=r"log\.sqlite"):
            await SqliteLog.open(path)
        (tmp_path / "file").touch()
        with pytest.raises(UsageError):
            await SqliteLog.open(tmp_path / "file" / "data" / "log.sqlite")


class TestLarge:
    async def test_reading_is_bounded(self, tmp_path: Path) -> None:
        """However many records are asked for, a batch holds no more than its bytes and one more."""
        log = await SqliteLog.open(tmp_path / "log.sqlite")
        size = RECORD_BYTES_MAX // 4
        count = READ_BYTES_MAX // size + 4
        for n in range(count):
            await log.append([Outgoing(Topic.METADATA, f"k{n}", b" " * size, (), 0)])
        at = TopicPartition(Topic.METADATA, 0)
        reader = await log.reader({at: Offset(0)})
        first = await reader.read(1000, 1)
        second = await reader.read(1000, 1)
        table = await log.table(at)

        assert READ_BYTES_MAX // size == len(first)
        assert count == len(first) + len(second)
        assert count == len(table.rows)
        await log.close()


class TestDamage:
    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("value", "CAST(replace(value, 'short', 'shirt') AS BLOB)"),
            ("value", "NULL"),
            ("value", "7"),
            ("key", "'key-6'"),
            ("key", "CAST(x'ff41' AS TEXT)"),
            ("key", "NULL"),
            ("headers", "x'90'"),
            ("headers", "'text'"),
            ("timestamp_ms", "timestamp_ms + 1"),
            ("timestamp_ms", "'soon'"),
            ("unpacked_bytes", "9"),
            ("checksum", "checksum + 1"),
        ],
    )
    async def test_one_record(self, tmp_path: Path, column: str, value: str) -> None:
        """Whatever of a record changed: reading it fails and names its place and the cure."""
        path = tmp_path / "log.sqlite"
        await a_log(path)
        sql(path, f"UPDATE state_0 SET {column} = {value} WHERE offset = 5")
        log = await SqliteLog.open(path)
        reader = await log.reader({STATE_0: Offset(0)})
        for reading in (reader.read(100, 0), log.table(STATE_0)):
            with pytest.raises(LogCorrupt) as caught:
                await reading
            assert MEND in caught.value.hint
            if value != "CAST(x'ff41' AS TEXT)":  # that one SQLite's binding finds before we do
                assert "state/0 offset 5 " in str(caught.value)

        assert [] != await (await log.reader({STATE_0: Offset(6)})).read(100, 0)
        await log.close()

    async def test_missing_record(self, tmp_path: Path) -> None:
        """A record of the changelog that is gone is noticed; so is the last one of any topic."""
        path = tmp_path / "log.sqlite"
        await a_log(path)
        sql(path, "DELETE FROM changelog_0 WHERE offset = 7")
        sql(path, "DELETE FROM state_0 WHERE offset = 39")
        log = await SqliteLog.open(path)
        with pytest.raises(LogCorrupt, match=r"changelog/0 offset 7 .* missing"):
            await read_all(log, [CHANGELOG_0])
        with pytest.raises(LogCorrupt, match=r"state/0 offset 39 .* missing"):
            await read_all(log, [STATE_0])
        with pytest.raises(LogCorrupt, match=r"state/0 offset 39 .* missing"):
            await log.table(STATE_0)
        await log.close()

    async def test_offset_used_already(self, tmp_path: Path) -> None:
        """An end that went back is noticed when it is written to: nothing is overwritten."""
        path = tmp_path / "log.sqlite"
        await a_log(path)
        sql(path, "UPDATE partitions SET next = 5 WHERE topic = 'state'")
        log = await SqliteLog.open(path)
        with pytest.raises(LogCorrupt) as caught:
            await log.append([state("a", "1")])

        assert MEND in caught.value.hint
        await log.close()

    async def test_bit_flips(self, tmp_path: Path, seed: int) -> None:
        """A bit flipped anywhere: what is read is right or refused, by an error of ours.

        Its pages have no checksum, so a record of a compacted topic may vanish with its cell; every
        one that is shown is as it was written.
        """
        made = tmp_path / "made.sqlite"
        await a_log(made)
        log = await SqliteLog.open(made)
        good = {
            at: {record.offset: record for record in await read_all(log, [at])}
            for at in (CHANGELOG_0, STATE_0)
        }
        await log.close()
        rng = random.Random(seed)
        raw = made.read_bytes()
        refused = 0
        for turn in range(FLIPS):
            path = tmp_path / f"flipped-{turn}.sqlite"
            damaged = bytearray(raw)
            # every other one where the lists of tables and partitions lie
            place = rng.randrange(len(raw) if turn % 2 else 12 * 4096)
            damaged[place] ^= 1 << rng.randrange(8)
            path.write_bytes(damaged)
            refused += await refuses(path, good)

        assert refused > 0


async def refuses(path: Path, good: dict[TopicPartition, dict[Offset, Record]]) -> bool:
    """Read all of a damaged file: True if it is refused somewhere."""
    try:
        log = await SqliteLog.open(path)
    except PypistreamError:
        return True
    refused = False
    for at, expected in good.items():
        try:
            found = await read_all(log, [at])
        except PypistreamError:
            refused = True
        else:
            assert all(expected[record.offset] == record for record in found)
            assert at is STATE_0 or len(found) == len(expected)
    await log.close()
    return refused


class TestDisk:
    async def test_full(self, small_disk: Path) -> None:
        """No space: LogFull, nothing written, reading goes on; with space again, writing too."""
        path = small_disk / "data" / "log.sqlite"
        log = await SqliteLog.open(path)
        writer = await log.writer("a")
        acknowledged = 0
        noise = random.Random(1)

        async def fill() -> None:
            nonlocal acknowledged
            while True:
                value = noise.randbytes(20_000)
                await writer.commit([Outgoing(Topic.CHANGELOG, "k", value, (), 0), state("k", "v")])
                acknowledged += 1

        with pytest.raises(LogFull) as caught:
            await fill()

        assert "make room" in caught.value.hint
        assert acknowledged > 5
        with pytest.raises(WriterFenced):
            await writer.commit([state("k", "a writer is thrown away after an error")])
        for at in (CHANGELOG_0, STATE_0):
            assert acknowledged == len(await read_all(log, [at]))
        with pytest.raises(LogFull):
            await log.append([Outgoing(Topic.CHANGELOG, "k", noise.randbytes(300_000), (), 0)])
        (small_disk / "ballast").unlink()
        writer = await log.writer("a")
        [offset] = await writer.commit([Outgoing(Topic.CHANGELOG, "k", b"again", (), 0)])
        assert acknowledged == offset
        assert 0 < await log.clean(unix_ms() + 2 * COMPACTION_LAG_MS)
        await log.close()
        log = await SqliteLog.open(path)
        assert acknowledged + 1 == len(await read_all(log, [CHANGELOG_0]))
        await log.close()

    async def test_full_from_the_start(self, small_disk: Path) -> None:
        """A log cannot be made on a full disk: LogFull, and later it can."""
        filler = small_disk / "filler"
        with contextlib.suppress(OSError):
            filler.write_bytes(b"x" * 10_000_000)
        with pytest.raises((LogFull, UsageError)):
            await SqliteLog.open(small_disk / "log.sqlite", 12)
        filler.unlink()
        log = await SqliteLog.open(small_disk / "log.sqlite", 12)
        await log.append([state("a", "1", None)])
        await log.close()

    async def test_io_error(self, tmp_path: Path) -> None:
        """After an I/O error this process goes no further; the next finds what was acknowledged."""
        path = tmp_path / "log.sqlite"
        await (await SqliteLog.open(path)).close()
        for round_ in (1, 2):
            run = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-m", "tests.support.log_child", "break", str(path)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
            )

            lines = run.stdout.splitlines()
            assert ["LogBroken"] * 3 == [line.split()[0] for line in lines[:3]]
            assert ["reads refused"] == lines[3:]
            log = await SqliteLog.open(path)
            assert 2 * round_ == len(await read_all(log, [CHANGELOG_0]))
            await log.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MiB; `ballast` is what can be removed to make room."""
    mount = needs("mount")
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=4m", "none", str(disk)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"cannot mount a small disk: {done.stderr.decode().strip()}")
    try:
        (disk / "ballast").write_bytes(b"x" * 2_000_000)
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def sql(path: Path, statement: str) -> None:
    """Change the file behind the log's back."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()
