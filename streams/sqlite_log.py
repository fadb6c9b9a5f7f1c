"""The embedded log: one SQLite file, read and written by any number of processes of one machine."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from schemas.errors import OversizedBody, WriterFenced
from schemas.topics import Offset, Topic
from streams.bell import heard_within
from streams.cleaning import COMPACTION_LAG_MS
from streams.clock import unix_ms
from streams.log import Changing, Closing, Outgoing, Record, Table, TopicPartition
from streams.sqlite_clean import PIECES_MAX, clean_piece, due
from streams.sqlite_purge import change_values, due_compacted, truncate_wal
from streams.sqlite_reader import (
    Batch,
    Fold,
    Tables,
    check_positions,
    read_batch,
    topic_ends,
    topic_starts,
)
from streams.sqlite_schema import open_file, partition_tables
from streams.sqlite_threads import SqliteThreads
from streams.sqlite_writer import Taken, WriteSide, Written


class SqliteLog:
    """See `streams.log.Log`. Made by `open`."""

    def __init__(self, threads: SqliteThreads, partitions: int, write_side: WriteSide) -> None:
        self._threads = threads
        self._partitions = partitions
        self._tables = partition_tables(partitions)
        self._write_side = write_side

    @classmethod
    async def open(
        cls,
        path: Path,
        partitions: int | None = None,
        *,
        create: bool = True,
        loading: bool = False,
        now_ms: Callable[[], int] = unix_ms,
    ) -> Self:
        """Open the log at `path`; `partitions` None = as it is (1 for a new one).

        `create` False is for readers: nothing is created, and no lock is taken unless it writes.
        `loading` is for a load that can be repeated after a power cut: writers' transactions wait
        for the disk only if they have a `closing`. Those before it may be lost in a power cut, but
        only from the end. Raises UsageError (no log there, no permission), LogMismatch,
        DataDirectoryVersion, LogCorrupt, LogFull, LogUnavailable.
        """
        found = await asyncio.to_thread(open_file, path, partitions, create=create)
        write_side = WriteSide(partition_tables(found), found, now_ms, loading=loading)
        return cls(SqliteThreads(path, loading=loading), found, write_side)

    @property
    def partitions(self) -> int:
        """N."""
        return self._partitions

    async def writer(self, writer_id: str) -> SqliteWriter:
        """Take the id."""
        taken = await self._threads.write(
            lambda connection: self._write_side.take(connection, writer_id)
        )
        return SqliteWriter(self._threads, self._write_side, taken)

    async def append(self, records: Sequence[Outgoing]) -> Sequence[Offset]:
        """Plain write."""
        return await self._threads.write(
            lambda connection: self._write_side.append(connection, records)
        )

    async def reader(self, positions: Mapping[TopicPartition, Offset]) -> SqliteReader:
        """A reader over exactly these partitions; raises LogTruncated."""
        wanted = dict(positions)
        await self._threads.read(
            lambda connection: check_positions(connection, self._tables, wanted)
        )
        return SqliteReader(self._threads, self._tables, wanted)

    async def table(self, at: TopicPartition) -> Table:
        """Fold a compacted partition; live readers are served between its steps."""
        fold = Fold(self._tables[at])
        while True:
            table = await self._threads.read(lambda connection: fold.step(connection, self._tables))
            if table is not None:
                return table

    async def ends(self, topic: Topic) -> Mapping[TopicPartition, Offset]:
        """Offset after the last committed record."""
        return await self._threads.read(
            lambda connection: topic_ends(connection, self._tables, topic)
        )

    async def starts(self, topic: Topic) -> Mapping[TopicPartition, Offset]:
        """First offset still readable."""
        return await self._threads.read(
            lambda connection: topic_starts(connection, self._tables, topic)
        )

    async def clean(self, now_ms: int) -> int:
        """Compaction and retention; other writes are let in between its pieces."""
        removed = pieces = 0
        while pieces < PIECES_MAX:
            tables = await self._threads.read(
                lambda connection: due(connection, self._tables, now_ms)
            )
            if not tables:
                break
            for table in tables:
                pieces += 1
                removed += await self._threads.write(
                    partial(clean_piece, table=table, now_ms=now_ms)
                )
        return removed

    async def purge(self, letter: Changing) -> int:
        """Compaction whatever the age, other values for dead letters, an empty WAL."""
        changed = 0
        while True:
            now_ms = self._write_side.now_ms() + COMPACTION_LAG_MS
            tables = await self._threads.read(
                partial(due_compacted, tables=self._tables, now_ms=now_ms)
            )
            if not tables:
                break
            for table in tables:
                changed += await self._threads.write(
                    partial(clean_piece, table=table, now_ms=now_ms)
                )
        for table in self._tables.values():
            if table.at.topic is Topic.DEAD_LETTER:
                changed += await self._threads.write(
                    partial(change_values, table=table, changing=letter)
                )
        await self._threads.write(truncate_wal)
        return changed

    async def close(self) -> None:
        """Close all connections, once what is under way is done."""
        await self._threads.close()


class SqliteWriter:
    """See `streams.log.Writer`."""

    def __init__(self, threads: SqliteThreads, write_side: WriteSide, taken: Taken) -> None:
        self._threads = threads
        self._write_side = write_side
        self._taken = taken
        self._ends = taken.ends
        self._spent = False

    async def commit(
        self, records: Sequence[Outgoing], closing: Closing | None = None
    ) -> Sequence[Offset]:
        """One transaction. `closing` is called in the writer thread: it must be a pure function."""
        if self._spent:
            raise WriterFenced(f"the writer id {self._taken.writer_id!r} was given up here")
        self._spent = True  # until this transaction is known to be done
        begun = False

        def job(connection: sqlite3.Connection) -> Written:
            nonlocal begun
            batch = self._write_side.batch(records)
            begun = True
            return self._write_side.commit(connection, batch, closing, self._taken, self._ends)

        try:
            written = await self._threads.write(job)
        except (OversizedBody, ValueError):
            self._spent = begun  # records that cannot be written spoil nothing
            raise
        self._ends = {**self._ends, **written.ends}
        self._spent = False
        return written.offsets

    async def close(self) -> None:
        """Give the id up."""
        self._spent = True


class SqliteReader:
    """See `streams.log.Reader`."""

    def __init__(
        self, threads: SqliteThreads, tables: Tables, positions: dict[TopicPartition, Offset]
    ) -> None:
        self._threads = threads
        self._tables = tables
        self._positions = positions
        self._first = 0  # which partition is served first, so that none starves

    def position(self, at: TopicPartition) -> Offset:
        """Next offset to read."""
        return self._positions[at]

    async def read(self, max_records: int, wait_seconds: float) -> list[Record]:
        """Up to `max_records` records, in the order of each partition."""

        def job(connection: sqlite3.Connection) -> Batch:
            return read_batch(connection, self._tables, self._positions, self._first, max_records)

        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_seconds
        with self._threads.bell.listening() as event:
            while True:
                event.clear()
                batch = await self._threads.read(job)
                self._positions.update(batch.positions)
                self._first = batch.first
                if batch.records:
                    return batch.records
                remaining = deadline - loop.time()
                if remaining > 0:
                    self._threads.watch()
                if not await heard_within(event, remaining):
                    return []

    async def close(self) -> None:
        """Connections belong to the log."""
