"""Every n-th call fails: a run of 30 events in which one call to file, socket or database breaks.

The real log (SQLite), client, producer, workers and dump sink work as one process in virtual time.
The n-th call they make raises, or the process is killed there; then it is begun anew with what it
left on the disk. What it must come to is what every simulated run must (`sim_check`).

`tests/support/every_call.py` plays every n in every way.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from enum import Enum
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import httpx

from producers.changelog import ChangelogProducer, ProducerSettings
from pypistream.restarts import first_of
from schemas.errors import PypistreamError
from streams import sqlite_threads
from streams.sqlite_log import SqliteLog
from tests.support import sim_actions, sim_rest, sim_schedule
from tests.support.faulty_disk import Disk
from tests.support.mortal_sink import InlineThreads, Killed
from tests.support.sim_edge import upstream_behind
from tests.support.sim_log import FaultyLog
from tests.support.sim_schedule import Event, Schedule
from tests.support.sim_sinks import BRISK, SimSink
from tests.support.simulation import Simulation

EVENTS = 30
FASTER = 5.0  # than other schedules: fewer calls between two events
BUSY_SECONDS = 25.0
AGAIN_SECONDS = 1.0  # until a process that ended is begun anew
POLL_SECONDS = 5.0  # nobody else commits here: to look for that is no work


class Way(Enum):
    """What becomes of the n-th call."""

    FULL = "no space, or a connection that is reset"
    BROKEN = "an I/O error, or a time-out"
    KILLED = "the process is killed there"


class Calls:
    """Counts the calls of one process, over its lives; breaks number `n` (0 = none)."""

    def __init__(self, n: int, way: Way) -> None:
        self.n = n
        self.way = way
        self.made: Counter[str] = Counter()
        self.counting = False
        self.dead = False
        self.root = Path()
        self._lives = 0

    @property
    def count(self) -> int:
        """Calls so far."""
        return self.made.total()

    def touch(self, kind: str) -> None:
        """One call is about to be made: `file`, `database` or `socket`."""
        if self.dead:
            raise Killed
        if not self.counting:
            return
        self.made[kind] += 1
        if self.count == self.n:
            if self.way is Way.KILLED:
                self._kill()
            raise _ERRORS[kind](self.way)

    def _kill(self) -> None:
        self._lives += 1
        self.counting = False
        left = self.root.with_name(f"process-{self._lives}")
        shutil.copytree(self.root, left, ignore=shutil.ignore_patterns("*-shm"))
        self.counting = self.dead = True
        self.root = left
        raise Killed

    @contextlib.contextmanager
    def unseen(self) -> Iterator[None]:
        """What the harness itself asks for."""
        before, self.counting = self.counting, False
        try:
            yield
        finally:
            self.counting = before

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Have every call counted."""
        real = sqlite3.connect
        touch = self.touch

        class Counted(sqlite3.Connection):
            def execute(self, *given: Any) -> Any:
                touch("database")
                return super().execute(*given)

            def executemany(self, *given: Any) -> Any:
                touch("database")
                return super().executemany(*given)

        def connect(*given: Any, **named: Any) -> sqlite3.Connection:
            touch("database")
            return real(*given, **named, factory=Counted)

        disk = Disk(0, lambda: touch("file"))
        with ExitStack() as stack:
            stack.enter_context(patch.object(sqlite3, "connect", connect))
            stack.enter_context(disk.watched())
            yield


def _database_error(way: Way) -> Exception:
    full = way is Way.FULL
    error = sqlite3.OperationalError("database or disk is full" if full else "disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL if full else sqlite3.SQLITE_IOERR
    error.sqlite_errorname = "SQLITE_FULL" if full else "SQLITE_IOERR"
    return error


def _file_error(way: Way) -> Exception:
    code = errno.ENOSPC if way is Way.FULL else errno.EIO
    return OSError(code, os.strerror(code))


def _socket_error(way: Way) -> Exception:
    return httpx.ReadError("reset") if way is Way.FULL else httpx.ReadTimeout("too slow")


_ERRORS: dict[str, Callable[[Way], Exception]] = {
    "database": _database_error,
    "file": _file_error,
    "socket": _socket_error,
}


def schedule_of(seed: int) -> Schedule:
    """30 events and no other fault."""
    rng = Random(seed)
    events = [
        Event(n, rng.uniform(0, 100) / FASTER, rng.choice(("change", "change", "ask")), n + seed)
        for n in range(EVENTS)
    ]
    return replace(sim_schedule.drawn(seed), events=tuple(events), faults=())


class NthRun(Simulation):
    """A simulation whose roles are one process with real storage; `calls` decides what breaks."""

    def __init__(self, seed: int, calls: Calls) -> None:
        super().__init__(schedule_of(seed))
        self.calls = calls
        self._backfilled = False
        self._living: asyncio.Task[None] | None = None

    async def _play(self, folder: Path) -> None:
        self._set_up(folder)
        self.edge, self.sinks = self.upstream, {}
        asyncio.get_running_loop().set_exception_handler(_not_of_the_dead)
        self.calls.root = folder / "process-0"
        self.calls.root.mkdir()
        self.history.add(
            "schedule", seed=self.seed, partitions=self.partitions, base=self.base, backfill=True,
            fetches=self.slots.capacity, sinks=["dump"], start_ms=1_700_000_000_000,
        )  # fmt: skip
        with ExitStack() as stack:
            stack.enter_context(self.calls.watched())
            stack.enter_context(patch.object(asyncio, "to_thread", _at_once))
            stack.enter_context(patch.object(sqlite_threads, "ThreadPoolExecutor", InlineThreads))
            stack.enter_context(patch.object(sqlite_threads, "POLL_SECONDS", POLL_SECONDS))
            self.calls.counting = True
            self._living = asyncio.create_task(self._lives())
            await self._busy()
            self.calls.counting = False
            await self._judged(self._living)

    async def _at_rest(self) -> bool:
        """Asked only when calls are not counted any more."""
        if self.calls.dead or not self._backfilled or self.roles.keys() != self.for_ever():
            return False  # it is being begun anew, or has not loaded what there is
        return await sim_rest.file_at_rest(self.memory, self.truth.serial)

    # --- the process --------------------------------------------------------------------------

    async def _lives(self) -> None:
        while True:
            try:
                await self._life()
            except BaseException as error:
                if not isinstance(first_of(error), (Killed, PypistreamError)):
                    raise
            await asyncio.sleep(AGAIN_SECONDS)

    async def _life(self) -> None:
        self.calls.dead = False
        await self._open()
        try:
            producer = self._producer()
            self.config = await producer.begin()
            await producer.close()
            self.start_all()
            if not self._backfilled:
                self.start("backfill", self._backfill_once())
            await self._until_one_fails()
        finally:
            await self._end()

    async def _open(self) -> None:
        root = self.calls.root
        path = root / "log.sqlite"
        log = await SqliteLog.open(path, self.partitions, now_ms=self.clock.now_ms)
        self.memory = log  # type: ignore[assignment]  # what is looked at is what is worked on
        self.log = FaultyLog(log, Random(0))
        self.upstream = upstream_behind(self.edge, lambda: self.calls.touch("socket"))  # type: ignore[assignment]
        with self.calls.unseen():
            sink = SimSink(*("dump", root / "dump", self.log, self.wall, self.history), pace=BRISK)
        self.sinks = {"dump": sink}

    async def _until_one_fails(self) -> None:
        while True:
            done, _ = await asyncio.wait(
                self.roles.values(), timeout=1.0, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()
            self.roles = {name: task for name, task in self.roles.items() if task not in done}
            if self.calls.dead:
                raise Killed

    async def _end(self) -> None:
        """Whatever it was doing; of one that was killed only the harness's own are let go."""
        tasks = set(self.roles.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()
        self.roles = {}
        for sink in self.sinks.values():
            sink.faults.root = self.calls.root / "dump"
        dead, self.calls.dead = self.calls.dead, False
        with self.calls.unseen():
            await self.log.close()
            await self.upstream.close()
        self.calls.dead = dead

    def _producer(self) -> ChangelogProducer:
        settings = ProducerSettings(poll_seconds=2.0, base=self.base)
        return ChangelogProducer(self.log, self.upstream, self.clock, settings)

    async def _backfill_once(self) -> None:
        await self._backfill()
        self._backfilled = True

    # --- the schedule and the end -------------------------------------------------------------

    async def _busy(self) -> None:
        loop = asyncio.get_running_loop()
        for item in sorted(self.schedule.events, key=lambda each: each.at):
            await asyncio.sleep(max(0.0, item.at - loop.time()))
            with self.calls.unseen(), contextlib.suppress(Killed, PypistreamError, AttributeError):
                await sim_actions.happen(self, item)
        await asyncio.sleep(max(0.0, BUSY_SECONDS - loop.time()))

    def _heal(self) -> None:
        self.truth.end()

    async def _stop(self, *others: asyncio.Task[None]) -> None:
        for task in others:
            task.cancel()
        await asyncio.wait(others)
        if self.slots.used:
            self.history.add("violation", text=f"{self.slots.used} slots were never given back")
        await self._open()

    async def _record(self) -> None:
        self.upstream = self.edge
        await super()._record()
        await self.memory.close()


def _not_of_the_dead(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if not isinstance(context.get("exception"), Killed):
        loop.default_exception_handler(context)


async def _at_once(function: Callable[..., Any], *given: Any, **named: Any) -> Any:
    return function(*given, **named)


def broken_at(seed: int, n: int, way: Way) -> tuple[list[str], Counter[str]]:
    """What is wrong after a run whose n-th call broke, and how many calls of each kind it made."""
    calls = Calls(n, way)
    outcome = NthRun(seed, calls).play()
    return outcome.problems, calls.made
