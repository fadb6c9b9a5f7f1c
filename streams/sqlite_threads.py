"""The threads and connections of one opened SQLite log; the event loop never touches the disk.

One thread with one connection writes, a few others read. While a reader waits for records, another
connection checks every POLL_SECONDS whether any process has committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from schemas.errors import LogBroken, PypistreamError
from streams.bell import Bell
from streams.log import LogUnavailable
from streams.sqlite_errors import storage_errors
from streams.sqlite_reader import data_version
from streams.sqlite_schema import READER_CACHE_KIB, WRITER_CACHE_KIB, connect

READ_THREADS = 2  # so that a long fold does not hold up the live readers
POLL_SECONDS = 0.05  # how late a reader sees another process's commit; a check costs 0.1 ms

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]


class SqliteThreads:
    """Runs blocking jobs, each on a connection that no other thread uses meanwhile."""

    def __init__(self, path: Path, *, loading: bool = False) -> None:
        self._path = path
        self._loading = loading
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="log-write")
        self._reading = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="log-read")
        self._writer: sqlite3.Connection | None = None  # opened by the first write
        self._readers: list[sqlite3.Connection] = []  # those that no read thread uses just now
        self._watcher: sqlite3.Connection | None = None
        self._seen_version = -1
        self._poller: asyncio.Task[None] | None = None
        self._broken: LogBroken | None = None
        self._open = True
        self.bell = Bell()

    async def write(self, job: Job[T]) -> T:
        """Run a job in the writer thread, then wake the readers.

        Raises what the job raises, sqlite3's errors translated; LogUnavailable once closed;
        LogBroken from the first I/O error on: after a failed fsync nobody knows what is on the
        disk, and trying again may seem to succeed.
        """
        future = self._submit(self._writing, lambda: self._on_writer(job))
        # by the future, not after it: if the caller is cancelled the job goes on all the same
        future.add_done_callback(lambda _: self.bell.ring())
        return await asyncio.wrap_future(future)

    async def read(self, job: Job[T]) -> T:
        """Run a job in a read thread. Raises as `write` does."""
        return await asyncio.wrap_future(self._submit(self._reading, lambda: self._on_reader(job)))

    def watch(self) -> None:
        """Ring the bell for other processes' commits, too, while anyone listens."""
        if self._poller is None or self._poller.done():
            self._poller = asyncio.get_running_loop().create_task(self._poll())

    async def close(self) -> None:
        """Finish current jobs and close all connections. Idempotent; never raises."""
        if not self._open:
            return
        self._open = False
        self.bell.ring()
        if self._poller is not None:
            self._poller.cancel()
        await asyncio.to_thread(self._shut)

    def _shut(self) -> None:
        self._writing.shutdown()
        self._reading.shutdown()
        for connection in (*self._readers, self._watcher, self._writer):
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):  # commits are safe without a checkpoint
                    connection.close()

    def _submit(self, threads: ThreadPoolExecutor, job: Callable[[], T]) -> Future[T]:
        if not self._open:
            raise LogUnavailable(f"{self._path}: the log has been closed")
        return threads.submit(job)

    def _on_writer(self, job: Job[T]) -> T:
        with self._guarded():
            connection = self._writer or connect(
                self._path, cache_kib=WRITER_CACHE_KIB, loading=self._loading
            )
            self._writer = None
            try:
                return job(connection)
            finally:
                if usable(connection):
                    self._writer = connection

    def _on_reader(self, job: Job[T]) -> T:
        with self._guarded():
            try:
                connection = self._readers.pop()
            except IndexError:
                connection = connect(self._path, cache_kib=READER_CACHE_KIB)
            try:
                return job(connection)
            finally:
                if usable(connection):
                    self._readers.append(connection)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        if self._broken is not None:
            raise LogBroken(str(self._broken), hint=self._broken.hint)
        try:
            with storage_errors(self._path):
                yield
        except LogBroken as error:
            self._broken = error
            raise

    async def _poll(self) -> None:
        try:
            while self.bell.heard:
                await asyncio.sleep(POLL_SECONDS)
                if await asyncio.wrap_future(self._submit(self._reading, self._changed)):
                    self.bell.ring()
        except PypistreamError:
            self.bell.ring()  # the readers look for themselves, and raise it where it is handled

    def _changed(self) -> bool:
        with self._guarded():
            if self._watcher is None:
                self._watcher = connect(self._path, cache_kib=READER_CACHE_KIB)
            version = data_version(self._watcher)
        changed = version != self._seen_version
        self._seen_version = version
        return changed


def usable(connection: sqlite3.Connection) -> bool:
    """Whether it can be used again; one whose transaction cannot be ended is closed."""
    if not connection.in_transaction:
        return True
    with contextlib.suppress(sqlite3.Error):
        connection.close()
    return False
