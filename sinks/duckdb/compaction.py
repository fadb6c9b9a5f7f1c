"""The live DuckDB file written anew beside the stream, and put in its place.

Updates leave room behind that DuckDB gives back only so. What is written anew is the snapshot just
published, linked under another name: a consistent file with its position, which nobody changes. A
child does it (`sinks.duckdb.rewriting`) while the live file goes on taking batches in. Then it
replaces the live file, between two batches, and the sink stands where that snapshot stood: what
came since is read from the log once more. Readers see nothing of it: what is published next is a
cut that has been reached, and those only grow.

Right for all rows, since the log gives back each record that nothing has replaced; of what was
replaced one row is made: what is kept of a project that is gone is its last row before that. So a
file that took longer than the log keeps such records is used only if none was removed meanwhile.

After a kill at any moment the live file is a whole one with its position: the old one until the
rename, after that the new one. What lies aside is removed before the next attempt.
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

COMPACT_ABOVE_BYTES = 32 * 1024 * 1024  # smaller files are worth no rewriting
COMPACT_GROWTH = 1.25  # by project: what comes until the new file is there must stay below 1.5
WAITED_GROWTH = 2.0  # then the sink waits: one that is begun for one publication has no other time
# Of the child's buffers: an index of 886 000 names has 45 MB. It takes 120 MB beside them. The sink
# keeps all of its own meanwhile: with less it could not take in a batch of a file that has grown.
MEMORY_MB, MEMORY_SHARE = 160, 64
AGAIN_SECONDS = 600.0  # after an attempt that failed: a full disk is full for a while
ATTEMPT_SECONDS_MAX = 3_600.0  # 886 000 projects take two minutes; what takes longer hangs
REPLAY_SECONDS_MAX = COMPACTION_LAG_MS / 1000 / 2  # the other half is there for reading the log
WORDS_BYTES_MAX = 4_096  # of what a child says
MODULE = "sinks.duckdb.rewriting"

log_ = structlog.get_logger("sinks.duckdb")


class Moment(NamedTuple):
    """When a snapshot was held: seconds, and how often projects had been removed until then."""

    seconds: float
    removals: int


def overgrown(size: int, projects: int, noted: float, growth: float) -> bool:
    """Whether a file has grown by more than projects, `noted` being its bytes of one when new."""
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
        """None while it is at work, "" = the file is there, else why there is none."""
        code = self._process.poll()
        if not code:
            return None if code is None else ""
        self._words.seek(0)
        said = self._words.read(WORDS_BYTES_MAX).decode(errors="replace").strip()
        return said.rpartition("\n")[2] or f"the process ended with {code}"

    def wait(self) -> None:
        """Until it has ended, but no longer than it may take."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ATTEMPT_SECONDS_MAX)

    def stop(self) -> None:
        """Have it gone. Idempotent."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._words.close()


class Compaction:
    """Of one live file: at most one attempt at a time. The sink's calls, in the sink's thread."""

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
        """What is published next is as the live file is now."""
        self._held = Moment(self._clock(), self.removals)

    def consider(self, connection: duckdb.DuckDBPyConnection, snapshot: Path) -> None:
        """Have the snapshot just published written anew if updates have made it too long.

        That is said by the bytes of a project after the last time, or when it was first looked at:
        a file that was filled from nothing, which more projects make longer by themselves.
        What refuses is told in the log. Raises duckdb.Error.
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
        """Whether there is a file to go on with. One that is of no use is let go of."""
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
        """Make the new file the live one, which nobody has open; False if it could not be done."""
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
        """The sink has closed the live file, and goes no further. Never raises."""
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
        """Leave nothing: no process, no file aside. Idempotent; never raises."""
        child, self._child = self._child, None
        if child is not None:
            child.stop()
        with _freed_later(self._source, self._target):
            discard(self._source, self._target, wal_of(self._target))
        shutil.rmtree(spill_of(self._target), ignore_errors=True)


@contextlib.contextmanager
def _freed_later(*paths: Path) -> Iterator[None]:
    """Who removes these names in the block need not wait for the room they had: 0.7 s for 3 GB."""
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
