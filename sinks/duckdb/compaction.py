"""Rewrites the live DuckDB file beside the stream, and replaces it.

Updates leave unused space behind that DuckDB gives back in no other way. The snapshot just
published is rewritten, linked under another name: a consistent file with its position, which nobody
changes. A child process does it (`sinks.duckdb.rewriting`) while the live file goes on taking
batches in. Then the result replaces the live file, between two batches, and the sink stands where
that snapshot stood: what came since is read from the log again. Readers do not notice: what is
published next is a cut that has been reached, and those only grow.

All rows are right in the end, since the log returns each record that was not replaced. Only one
kind of row is made from replaced records: what is kept of a removed project is its last row before
that. So if the rewriting took longer than the log keeps replaced records, the file is used only if
nothing was removed meanwhile.

After a kill at any moment the live file is a complete one with its position: the old one before the
rename, the new one after it. What lies aside is removed before the next attempt.
"""

# ruff: noqa: S608  # what is put into SQL are names from this package

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from threading import Thread
from typing import NamedTuple

import duckdb
import structlog

from schemas.errors import DiskFull, PypistreamError, StorageFailed
from sinks.duckdb import memo
from sinks.duckdb.rewriting import mark_of, spill_of
from sinks.duckdb.schema import PROJECT
from sinks.duckdb.snapshot import wal_of
from sinks.durable import discard, storage, sync_directory
from sinks.publication import link
from streams.cleaning import COMPACTION_LAG_MS

COMPACT_ABOVE_BYTES = 32 * 1024 * 1024  # smaller files are not worth it
COMPACT_GROWTH = 1.25  # by project: what comes until the new file is there must stay below 1.5
WAITED_GROWTH = 2.0  # then the sink waits: one that publishes once has no other time
# Of the child's buffers: an index of 886 000 names has 45 MB. It takes 120 MB beside them. The sink
# keeps all of its own meanwhile: with less it could not take in a batch of a file that has grown.
MEMORY_MB, MEMORY_SHARE = 160, 64
AGAIN_SECONDS = 600.0  # after a failed attempt: a full disk stays full for a while
ATTEMPT_SECONDS_MAX = 3_600.0  # 886 000 projects take two minutes; what takes longer hangs
REPLAY_SECONDS_MAX = COMPACTION_LAG_MS / 1000 / 2  # half of it; the other half is for reading
WORDS_BYTES_MAX = 4_096  # of a child's error output
MODULE = "sinks.duckdb.rewriting"

log_ = structlog.get_logger("sinks.duckdb")


class Moment(NamedTuple):
    """When a snapshot was held, in seconds, and how many removals there had been until then."""

    seconds: float
    removals: int


def overgrown(size: int, projects: int, noted: float, growth: float) -> bool:
    """Whether a file has grown more than its projects; `noted`: a new file's bytes per project."""
    return size >= max(COMPACT_ABOVE_BYTES, growth * noted * projects)


class Child:
    """The process that writes the file; it ends when its stdin does. Raises OSError."""

    def __init__(self, source: Path, mark: str, target: Path, megabytes: int) -> None:
        command = (sys.executable, "-m", MODULE, str(source), mark, str(target), str(megabytes))
        self._words = TemporaryFile()  # noqa: SIM115  # closed by `stop`
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=self._words, stderr=subprocess.STDOUT
            )
        except BaseException:
            self._words.close()
            raise

    def ended(self) -> str | None:
        """None while it works, "" = the file is there, else why there is none."""
        code = self._process.poll()
        if not code:
            return None if code is None else ""
        self._words.seek(0)
        said = self._words.read(WORDS_BYTES_MAX).decode(errors="replace").strip()
        return said.rpartition("\n")[2] or f"the process ended with {code}"

    def wait(self) -> None:
        """Wait until it has ended, but no longer than it may take."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ATTEMPT_SECONDS_MAX)

    def stop(self) -> None:
        """Kill it. Idempotent."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._words.close()


class Compaction:
    """The rewriting of one live file, one attempt at a time. Called by the sink, in its thread."""

    def __init__(self, live: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._live = live
        self._source = live.with_name(f".{live.name}.old")
        self._target = live.with_name(f".{live.name}.new")
        self._clock = clock
        self._child: Child | None = None
        self._held = self._since = Moment(0.0, 0)
        self._begun = self._not_before = 0.0
        self.removals = 0  # batches by which something was removed, until now

    def hold(self) -> None:
        """Note the moment: what is published next is the live file as it is now."""
        self._held = Moment(self._clock(), self.removals)

    def consider(self, connection: duckdb.DuckDBPyConnection, snapshot: Path) -> None:
        """Begin to rewrite the snapshot just published if updates have made it too long.

        This is judged by the bytes per project after the last rewriting, or when the file was first
        looked at, so that growth by more projects does not count. Errors of the system are logged.
        Raises duckdb.Error.
        """
        [(projects,)] = connection.execute(f"SELECT count(*) FROM {PROJECT.path}").fetchall()
        noted = memo.recall(connection, memo.COMPACT_BYTES)
        when_new = float(noted or 0)
        try:
            with storage(snapshot):
                size = snapshot.stat().st_size
                if not projects or not overgrown(size, projects, when_new, COMPACT_GROWTH):
                    return
                if noted is None:
                    memo.remember(connection, {memo.COMPACT_BYTES: str(size / projects)})
                elif self._child is None and self._clock() >= self._not_before:
                    self._since, self._begun = self._held, self._clock()
                    self._child = self._begin(snapshot, size)
                    if overgrown(size, projects, when_new, WAITED_GROWTH):
                        self._child.wait()
        except (DiskFull, StorageFailed) as error:
            self.give_up(str(error))

    def _begin(self, snapshot: Path, size: int) -> Child:
        """Raises DiskFull, OSError."""
        self.clear()
        if shutil.disk_usage(self._live.parent).free < size:
            raise DiskFull(f"less than {size} bytes are free")
        link(snapshot, self._source)
        megabytes = MEMORY_MB + size // MEMORY_SHARE // 1_000_000
        mark = mark_of(self._source)
        child = Child(self._source, mark, self._target, megabytes)
        log_.info("the DuckDB file is written anew", bytes=size)
        return child

    def ready(self) -> bool:
        """Whether a new file is ready to be used. One that is of no use is removed."""
        if self._child is None:
            return False
        why, now = self._child.ended(), self._clock()
        if why is None and now - self._begun > ATTEMPT_SECONDS_MAX:
            why = f"it is not done after {ATTEMPT_SECONDS_MAX:g} seconds"
        elif why == "" and now - self._since.seconds > REPLAY_SECONDS_MAX:
            if self.removals == self._since.removals:
                return True
            why = "it took so long that the log may not know what was removed meanwhile"
        if why:
            self.give_up(why)
        return why == ""

    def put_in_place(self) -> bool:
        """Replace the live file, which nobody has open, by the new one; False if that failed."""
        folder = self._live.parent
        try:
            with storage(self._live):
                # What it holds is read from the log again. Beside another file it would be poison:
                # so it is gone, on the disk, before that file has its place.
                wal_of(self._live).unlink(missing_ok=True)
                sync_directory(folder)
                size = self._target.stat().st_size
                with _freed_later(self._live):
                    self._target.replace(self._live)
                sync_directory(folder)
        except PypistreamError as error:
            self.give_up(str(error))
            return False
        seconds = round(self._clock() - self._since.seconds, 1)
        log_.info("the DuckDB file was written anew", bytes=size, seconds=seconds)
        self.clear()
        return True

    def end(self) -> None:
        """The sink has closed the live file for good. Never raises."""
        if self.ready():
            self.put_in_place()
        self.clear()

    def give_up(self, why: str) -> None:
        """End an attempt that failed; the next one is begun later."""
        log_.warning(
            "the DuckDB file was not written anew", why=why, again_after_seconds=AGAIN_SECONDS
        )
        self._not_before = self._clock() + AGAIN_SECONDS
        self.clear()

    def clear(self) -> None:
        """End the process and remove its files. Idempotent; never raises."""
        child, self._child = self._child, None
        if child is not None:
            child.stop()
        with _freed_later(self._source, self._target):
            discard(self._source, self._target, wal_of(self._target))
        shutil.rmtree(spill_of(self._target), ignore_errors=True)


@contextlib.contextmanager
def _freed_later(*paths: Path) -> Iterator[None]:
    """Free the space of these files after the block, which would take 0.7 s for 3 GB."""
    held = []
    for path in paths:
        with contextlib.suppress(OSError):
            held.append(os.open(path, os.O_RDONLY))
    try:
        yield
    finally:
        if held:
            Thread(target=_close_all, args=(held,)).start()


def _close_all(descriptors: Iterable[int]) -> None:
    for each in descriptors:
        os.close(each)
