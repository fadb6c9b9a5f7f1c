"""The processes that make rows: what they made arrives, why they ended is told, none stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypistream.children import rows_children
from pypistream.children.rows_children import Helper, RowsChildren, start
from pypistream.children.rows_said import Order, places
from pypistream.data_dir import DataDir
from pypistream.settings import Settings
from schemas.codec import encode
from schemas.errors import LogTruncated
from schemas.topics import Offset, Topic
from sinks import ahead
from sinks.ahead import HelpersGone
from sinks.duckdb.view import DuckDBView
from sinks.feed import Feed
from sinks.sink import Positions
from streams.log import TopicPartition
from streams.sqlite_log import SqliteLog
from tests.support.feed_world import Clock, found, work
from tests.support.view_records import CONFIG, document, live, metadata, query, releases, slim

NAMES = [f"p{number}" for number in range(5)]
AT = TopicPartition(Topic.METADATA, 0)
NEVER = Offset(len(NAMES) + 1)  # a place that the log has not reached: a process waits for it


@pytest.fixture
async def log(tmp_path: Path) -> SqliteLog:
    """Five projects, in a data directory."""
    data = DataDir(tmp_path / "data")
    data.create()
    made = await SqliteLog.open(data.log, 1)
    await found(made)
    shown = [releases(name, slim(name, {"1.0": []}, "1.0")) for name in NAMES]
    await work(made, 0, [*(metadata(name, document(name)) for name in NAMES), *shown])
    await made.close()
    return await SqliteLog.open(data.log, create=False)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


def at(offset: int) -> Positions:
    return {AT: Offset(offset)}


async def test_a_view_is_filled_by_them(
    log: SqliteLog, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both topics arrive; no process is left."""
    monkeypatch.setattr(ahead, "FAR_RECORDS_MIN", 1)
    started: list[Helper] = []

    async def noted(given: Settings) -> Helper:
        started.append(await start(given))
        return started[-1]

    monkeypatch.setattr(rows_children, "start", noted)
    view = DuckDBView.in_directory(settings.data)
    fed = Feed(log, view, Clock(), publish_every_seconds=60)
    async with fed.helped_by(RowsChildren(settings)) as feed:
        await feed.finish()
    await log.close()

    for table in ("project", "releases_of"):
        rows = query(live(settings.data), f"SELECT name FROM base.{table} ORDER BY name")
        assert NAMES == [row["name"] for row in rows]
    assert 2 == len(started)
    assert all(helper.process.returncode is not None for helper in started)


async def test_one_that_is_killed_amid_its_work_is_missed(
    log: SqliteLog, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.close()
    helper = await start(settings)

    async def that_one(_: Settings) -> Helper:
        return helper

    monkeypatch.setattr(rows_children, "start", that_one)
    helpers = RowsChildren(settings)
    await helpers.begin(CONFIG, at(NEVER), at(0))
    helper.process.kill()
    with pytest.raises(HelpersGone):
        await helpers.following()
    await helpers.end()


async def test_what_was_made_and_not_taken_in_is_removed(
    log: SqliteLog, settings: Settings
) -> None:
    """A batch says where it lies and what it is of; its file stays until it is forgotten."""
    await log.close()
    aside = DataDir(settings.data).rows
    helpers = RowsChildren(settings)
    await helpers.begin(CONFIG, at(len(NAMES)), at(0))
    made = await helpers.following()
    assert made is not None
    assert (at(0), at(5), 5) == (made.before, made.after, made.number)
    assert await helpers.following() is None
    left = [file.name for file in (aside / "metadata").iterdir()]
    await helpers.forget()

    assert ["project-0.jsonl"] == left
    assert not aside.exists()


async def test_the_error_it_ends_with_is_raised_here(log: SqliteLog, settings: Settings) -> None:
    """With its words and its hint: a place beyond the log's end."""
    await log.close()
    helpers = RowsChildren(settings)
    await helpers.begin(CONFIG, at(NEVER + 1), at(NEVER))
    with pytest.raises(LogTruncated, match=f"position {NEVER} is not within") as caught:
        await helpers.following()
    assert caught.value.hint
    await helpers.end()


async def test_it_ends_with_its_parent(log: SqliteLog, settings: Settings) -> None:
    """Whose death closes its stdin, whatever it does: here it reads, or waits for records."""
    await log.close()
    process, source = await start(settings)
    assert process.stdin is not None
    order = Order(CONFIG, places(at(0)), places(at(NEVER)), str(settings.data))
    process.stdin.write(encode(order) + b"\n")
    process.stdin.close()

    assert 0 == await process.wait()
    source.close()
