"""What the kill loops kill: five components that work for ever, and what must hold of what is left.

Each lives in a data directory of its own, says a number whenever it has made something durable, and
goes on from what it finds there. What is written follows from that number alone, so that any moment
can be judged. `check` fails with AssertionError; it is run in another process than the work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import duckdb

from schemas.errors import PypistreamError
from schemas.topics import Topic
from sinks.duckdb.view import DuckDBView
from sinks.dump.reader import DumpReader
from streams.log import TopicPartition
from streams.sqlite_log import SqliteLog
from tests.support import view_left
from tests.support.copied_beside import copied_beside
from tests.support.dump_world import Change, World, expected, found, project, removed
from tests.support.kill_pipeline import check_produced, check_worked, drain, produce, work
from tests.support.log_child import EVENTS, KEYS, STATES, number_of, transaction
from tests.support.logs import read_all
from tests.support.view_killed import JOURNAL, PUBLISH_EVERY, ROWS, batches
from tests.support.view_records import reach, take

Say = Callable[[int], None]
AGAIN_SECONDS = 0.02  # after a full disk; the program waits 5 s
BUILT_ANEW = 10  # the exit code of a look at what is left
FULL = -1  # said when the disk was full
DUMP_NAMES = 40


class Part(NamedTuple):
    """`live` for ever; `check` what is left, given the last number said; `last` brings it to rest.

    `check` gives BUILT_ANEW if the part does not go on from what is left but begins with the log.
    `generation`: so many kills, then a new directory, because what is checked grows with each.
    """

    name: str
    live: Callable[[Path, Say], None]
    check: Callable[[Path, int], int | None]
    last: Callable[[Path], None]
    generation: int


def _forever(life: Callable[[], Awaitable[None]], say: Say) -> None:
    """Live again after a refusal that passes, as the program does."""
    while True:
        try:
            asyncio.run(life())  # type: ignore[arg-type]  # a coroutine is what is made
        except PypistreamError:
            say(FULL)
            time.sleep(AGAIN_SECONDS)


# --- the log ----------------------------------------------------------------------------------


def _log_lives(root: Path, say: Say) -> None:
    async def life() -> None:
        log = await SqliteLog.open(root / "log.sqlite")
        try:
            writer = await log.writer("child")
            number = (await log.ends(Topic.CHANGELOG))[EVENTS] // 2
            while True:
                number += 1
                await writer.commit(transaction(number))
                say(number)
        finally:
            await log.close()

    _forever(life, say)


def _log_is_whole(root: Path, said: int) -> None:
    async def look() -> None:
        log = await SqliteLog.open(root / "log.sqlite")
        events = [number_of(record) for record in await read_all(log, [EVENTS])]
        states = [number_of(record) for record in await read_all(log, [STATES])]
        table = await log.table(TopicPartition(Topic.STATE, 0))
        await log.close()
        count = len(states)
        assert count >= said, f"{said} were acknowledged, {count} are there"
        assert [n for n in range(1, count + 1) for _ in range(2)] == events
        assert list(range(1, count + 1)) == states
        newest = sorted(number_of(record) for record in table.rows.values())
        assert list(range(max(1, count - KEYS + 1), count + 1)) == newest

    asyncio.run(look())


# --- the DuckDB sink --------------------------------------------------------------------------


def _view_lives(root: Path, say: Say) -> None:
    view = DuckDBView.in_directory(root)
    while True:
        try:
            _view_life(view, say)
        except PypistreamError:
            say(FULL)
            time.sleep(AGAIN_SECONDS)


def _view_life(view: DuckDBView, say: Say) -> None:
    at = int(view.standing().positions.get(JOURNAL, 0))
    with copied_beside(view) as publish:
        for end, records in batches(at):
            take(view, records)
            reach(view, end)
            if end % PUBLISH_EVERY == 0:
                publish(end)
            say(end)


def _view_is_whole(root: Path, said: int) -> int:
    place, anew = view_left.opened(root, said)
    live, snapshot = root / "state" / "live.duckdb", root / "pypi.duckdb"
    assert place >= said, f"{said} rows were acknowledged, {place} are there"
    assert place % ROWS == 0
    _view_shows(live, place)
    if snapshot.exists():
        with duckdb.connect(str(snapshot), read_only=True) as connection:
            [(count,)] = connection.execute("SELECT count(*) FROM base.changelog").fetchall()
        assert count % PUBLISH_EVERY == 0
        _view_shows(snapshot, count)
    left = {path.name for path in root.iterdir()} - {"state", "pypi.duckdb", ".pypi.duckdb.new"}
    assert not left, left
    return BUILT_ANEW if anew else 0


def _view_shows(path: Path, place: int) -> None:
    with duckdb.connect(str(path), read_only=True) as connection:
        serials = connection.execute("SELECT serial FROM base.changelog ORDER BY 1").fetchall()
        versions = connection.execute("SELECT name, version FROM base.project").fetchall()
    assert [(serial,) for serial in range(1, place + 1)] == serials
    assert {f"p{n % 7}": str(n) for n in range(place)} == dict(versions)


# --- the dump ---------------------------------------------------------------------------------


def dump_batch(number: int) -> list[Change]:
    """The n-th: three projects come or change, one goes; always twelve records."""
    names = [f"p{(number * 3 + i) % DUMP_NAMES}" for i in range(3)]
    there = [change for name in names for change in project(name, str(number))]
    return [*there, *removed(f"p{(number * 7 + 5) % DUMP_NAMES}")]


BATCH_RECORDS = len(dump_batch(0))


def _dump_lives(root: Path, say: Say) -> None:
    world = World(root)
    while True:
        try:
            standing = world.sink.standing()
            world.offset = int(standing.positions.get(TopicPartition(Topic.METADATA, 0), 0))
            while True:
                world.apply(dump_batch(world.offset // BATCH_RECORDS))
                world.publish()
                say(world.offset)
        except PypistreamError:
            say(FULL)
            world.reopen()
            time.sleep(AGAIN_SECONDS)


def _dump_is_whole(root: Path, said: int) -> None:
    if not (root / "dumps" / "manifest.json").exists():
        assert said == 0, "what was published is gone"
        return
    reader = DumpReader(root / "dumps")
    reader.verify()
    cut = reader.manifest.vector[0]
    assert cut is not None
    assert cut.metadata >= said, f"{said} was published, {cut.metadata} is there"
    truth: dict[Topic, dict[str, bytes]] = {topic: {} for topic in World(root).topics}
    for number in range(cut.metadata // BATCH_RECORDS):
        for topic, name, value in dump_batch(number):
            if value is None:
                truth[topic].pop(name, None)
            else:
                truth[topic][name] = value
    assert expected(truth) == found(reader.directory)


def _nothing(_: Path) -> None:
    """It rests as it is."""


PARTS = {
    part.name: part
    for part in (
        Part("sqlite", _log_lives, _log_is_whole, _nothing, 50),
        Part("duckdb", _view_lives, _view_is_whole, _nothing, 25),
        Part("dump", _dump_lives, _dump_is_whole, _nothing, 50),
        Part("produce", produce, check_produced, drain, 25),
        Part("process", work, check_worked, drain, 25),
    )
}
