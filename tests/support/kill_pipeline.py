"""A real producer and a real worker on an SQLite log, for the kill loops.

Their upstream is a function of time: serial S is there once S / ROWS_PER_SECOND seconds have passed
since the data directory was begun, or never beyond what a file `frozen` says.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from processors.metadata import Worker, WorkerSettings
from processors.slots import Slots
from producers.changelog import ChangelogProducer, ProducerSettings
from pypistream import restarts
from schemas.errors import LogFull
from schemas.names import NormalizedName
from schemas.topics import Topic
from streams.clock import SystemClock
from streams.log import Log, Record
from streams.sqlite_log import SqliteLog
from tests.support.history import assert_history, records_of
from tests.support.scripted_upstream import ScriptedUpstream, document
from upstream.source import Answer, JournalPage, JournalRow, NotFound, NotModified

Say = Callable[[int], None]
FULL = -1
NAMES = 31
ROWS_PER_SECOND = 400
PAGE_ROWS_MAX = 50
POLL_SECONDS = 0.01
AGAIN_SECONDS = 0.02  # after a full disk; the program waits 5 s
DRAINED_SECONDS_MAX = 60.0
BASE = 0


def row(serial: int) -> JournalRow:
    """Each of NAMES consecutive serials is another project's."""
    return JournalRow(name_of(serial), f"1.{serial}", 1_700_000_000, "new release", serial)


def name_of(serial: int) -> NormalizedName:
    """Of the project that a row is about."""
    return NormalizedName(f"p{serial * 7 % NAMES}")


class Flowing(ScriptedUpstream):
    """See the module's text."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._frozen = root / "frozen"
        began = root / "began"
        with contextlib.suppress(FileExistsError), began.open("x") as file:
            file.write(f"{time.monotonic()}\n")
        # A life that was killed between the two left an empty one.
        self._began = float(began.read_text() or time.monotonic())

    @property
    def serial(self) -> int:
        """The newest one."""
        if self._frozen.exists():
            return int(self._frozen.read_text())
        return int((time.monotonic() - self._began) * ROWS_PER_SECOND)

    async def last_serial(self) -> int:
        return self.serial

    async def journal_since(self, serial: int) -> JournalPage:
        await asyncio.sleep(0)
        last = min(self.serial, serial + PAGE_ROWS_MAX)
        rows = [row(number) for number in range(serial + 1, last + 1)]
        return JournalPage(rows, (), len(rows) == PAGE_ROWS_MAX)

    async def project(self, name: NormalizedName, etag: str = "") -> Answer:
        await asyncio.sleep(0)
        newest = self.serial
        for serial in range(newest, max(0, newest - NAMES), -1):
            if name_of(serial) == name:
                found = document(name, serial, version=f"1.{serial}")
                return NotModified(serial) if etag == found.etag else found
        return NotFound()


def produce(root: Path, say: Say) -> None:
    """The producer alone, for ever; says the serial that the log has."""
    asyncio.run(_live(root, say, works=False))


def work(root: Path, say: Say) -> None:
    """Producer and worker; says how far into the changelog everything is decided."""
    asyncio.run(_live(root, say, works=True))


async def _live(root: Path, say: Say, *, works: bool) -> None:
    restarts.RESTART_SECONDS = AGAIN_SECONDS
    upstream, clock = Flowing(root), SystemClock()
    log = await _opened(root, say)
    producer = ChangelogProducer(
        log, upstream, clock, ProducerSettings(poll_seconds=POLL_SECONDS, base=BASE)
    )

    async def producing() -> None:
        await producer.begin()
        await producer.run()

    async def founded() -> None:
        config = await producer.begin()
        worker = Worker(log, upstream, Slots(4), clock, WorkerSettings(0, config, 0.0))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(restarts.restarting(_telling(producing, say)))
            tasks.create_task(restarts.restarting(_telling(worker.run, say)))
            tasks.create_task(_saying(lambda: worker.cut.changelog if worker.cut else 0, say))

    try:
        if works:
            await restarts.restarting(_telling(founded, say))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(restarts.restarting(_telling(producing, say)))
            tasks.create_task(_saying(lambda: producer.head.serial if producer.head else 0, say))
    finally:
        await log.close()


async def _opened(root: Path, say: Say) -> Log:
    while True:
        try:
            return await SqliteLog.open(root / "log.sqlite")
        except LogFull:
            say(FULL)
            await asyncio.sleep(AGAIN_SECONDS)


def _telling(role: Callable[[], Awaitable[None]], say: Say) -> Callable[[], Awaitable[None]]:
    async def told() -> None:
        try:
            await role()
        except* LogFull:
            say(FULL)
            raise

    return told


async def _saying(number: Callable[[], int], say: Say) -> None:
    said = 0
    while True:
        if number() > said:
            said = number()
            say(said)
        await asyncio.sleep(0.002)


def check_produced(root: Path, said: int) -> None:
    """I2 to I4, and the head is where it was said to be."""
    asyncio.run(_check(root, said, _head))


def check_worked(root: Path, said: int) -> None:
    """The same, and the worker's position is where it was said to be."""
    asyncio.run(_check(root, said, _decided))


async def _check(root: Path, said: int, place: Callable[[list[Record]], int]) -> None:
    log = await SqliteLog.open(root / "log.sqlite")
    progress = await records_of(log, Topic.PROGRESS)
    stored = place(progress)
    assert stored >= said, f"{said} was acknowledged, {stored} is there"
    if _head(progress):
        journal = [row(serial) for serial in range(1, _head(progress) + 1)]
        await assert_history(log, journal)
    await log.close()


def _head(progress: list[Record]) -> int:
    heads = [json.loads(r.value) for r in progress if r.key == "head" and r.value]
    return int(heads[-1]["serial"]) if heads else 0


def _decided(progress: list[Record]) -> int:
    cuts = [json.loads(r.value) for r in progress if r.key == "p" and r.value]
    return int(cuts[-1]["changelog"]) if cuts else 0


def drain(root: Path) -> None:
    """I1: with upstream quiet every project soon shows its newest document."""
    (root / "frozen").write_text(str(Flowing(root).serial))
    asyncio.run(_drain(root))


async def _drain(root: Path) -> None:
    living = asyncio.create_task(_live(root, lambda _: None, works=True))
    newest = Flowing(root).serial
    wanted = {name_of(serial): serial for serial in range(1, newest + 1)}
    log = await SqliteLog.open(root / "log.sqlite")
    shown: dict[str, int] = {}
    try:
        async with asyncio.timeout(DRAINED_SECONDS_MAX):
            while shown != wanted:
                assert not living.done(), living.exception()
                await asyncio.sleep(0.05)
                records = await records_of(log, Topic.METADATA)
                shown = {r.key: int(r.header("serial") or 0) for r in records if r.key}
    except TimeoutError:
        wrong = {n: (shown.get(n), s) for n, s in wanted.items() if shown.get(n) != s}
        raise AssertionError(f"not shown: {wrong}") from None
    finally:
        living.cancel()
        await asyncio.wait([living])
        await log.close()
