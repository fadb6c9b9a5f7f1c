"""A sink far behind has its batches made elsewhere: the same comes of it, whatever fails."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypistream.children.rows_children import SHARES, read_made
from pypistream.children.rows_process import messages
from pypistream.children.rows_said import Order, places
from schemas.records import Config
from sinks import ahead, reading
from sinks.ahead import HelpersGone, Made
from sinks.duckdb import packed, rows
from sinks.duckdb.lines import Lines
from sinks.duckdb.packed import Packer
from sinks.duckdb.schema import CHANGELOG
from sinks.duckdb.staged import unpacked
from sinks.feed import Feed
from sinks.sink import Positions
from streams.log import LogUnavailable, Outgoing
from streams.memory_log import MemoryLog
from tests.support.feed_world import Clock, found, work
from tests.support.new_view import new_view
from tests.support.view_records import (
    CONFIG,
    document,
    entry,
    gone,
    live,
    metadata,
    query,
    read,
    releases,
    slim,
    spoiling,
    state,
    tables,
)

BATCH_RECORDS = 7


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches, and help for whatever there is."""
    monkeypatch.setattr(reading, "BATCH_RECORDS_MAX", BATCH_RECORDS)
    monkeypatch.setattr(packed, "BATCH_ROWS_MAX", BATCH_RECORDS)
    monkeypatch.setattr(packed, "ROW_GROUP_ROWS", BATCH_RECORDS)
    monkeypatch.setattr(ahead, "FAR_RECORDS_MIN", 1)


class InThisProcess:
    """What the processes do, without them; `fails` by the number of the batch it comes before."""

    def __init__(
        self, log: MemoryLog, aside: Path, fails: dict[int, Exception] | None = None
    ) -> None:
        self._log = log
        self._aside = aside / "rows"
        self._fails = fails or {}
        self._made: Iterator[Made] = iter(())
        self.begun: list[Positions] = []
        self.given = 0
        self.ended = 0

    async def begin(self, config: Config, due: Positions, positions: Positions) -> None:
        self.begun.append(positions)
        shares = []
        for topics in SHARES:
            mine = [at for at in due if at.topic in topics]
            here = places({at: positions[at] for at in mine})
            there = places({at: due[at] for at in mine})
            aside = self._aside / topics[0].value
            aside.mkdir(parents=True)
            shares.append(await self._share(Order(config, here, there, str(aside))))
        self._made = iter([made for share in shares for made in share])

    async def _share(self, order: Order) -> list[Made]:
        said = [message async for message in messages(self._log, order)]
        source = io.BytesIO(b"".join(said))
        return [made for _ in said if (made := read_made(source)) is not None]

    async def following(self) -> Made | None:
        self.given += 1
        if self.given in self._fails:
            raise self._fails.pop(self.given)
        return next(self._made, None)

    async def end(self) -> None:
        self.ended += 1

    async def forget(self) -> None:
        shutil.rmtree(self._aside, ignore_errors=True)


def written() -> list[Outgoing]:
    """Projects that come, change and go, and documents that are none."""
    names = [f"p{number}" for number in range(12)]
    return [
        *(metadata(name, document(name)) for name in names),
        *(releases(name, slim(name, {"1.0": []}, "1.0")) for name in names),
        metadata("deep", b"[" * 5_000),
        metadata("cut", b'{"info": {"name": "cu'),
        metadata("nul", document("nul", info={"name": "nul", "summary": "\0 and \ud800"[:6]})),
        *(state(name) for name in names),
        *(metadata(name, document(name, version="2.0")) for name in names[:5]),
        *(gone(name) for name in names[3:6]),
        *(entry(name, serial) for serial, name in enumerate(names)),
    ]


async def a_log() -> MemoryLog:
    log = MemoryLog()
    await found(log)
    await work(log, 0, written())
    return log


async def taken_in(log: MemoryLog, root: Path, helpers: InThisProcess | None) -> Feed:
    """Feed a DuckDB view to the end, waiting for what may be waited for."""
    view = new_view(root)
    fed = Feed(log, view, Clock(), publish_every_seconds=60)
    async with fed if helpers is None else fed.helped_by(helpers) as feed:
        try:
            await feed.finish()
        except LogUnavailable:
            await feed.finish()
    return feed


@pytest.mark.parametrize(
    "fails",
    [
        {},
        {1: HelpersGone("killed")},
        {3: HelpersGone("killed")},
        {2: LogUnavailable("away")},
    ],
    ids=["well", "gone at once", "gone amid", "log away"],
)
async def test_the_same_comes_of_it(fails: dict[int, Exception], tmp_path: Path) -> None:
    """Row for row what one process makes; no record counts twice, nothing stays."""
    log = await a_log()
    alone = await taken_in(log, tmp_path / "alone", None)
    helpers = InThisProcess(log, tmp_path, dict(fails))
    helped = await taken_in(log, tmp_path / "helped", helpers)

    assert tables(live(tmp_path / "alone")) == tables(live(tmp_path / "helped"))
    assert alone.counters.records == helped.counters.records == len(written())
    assert helpers.ended
    assert not await asyncio.to_thread(lambda: list(tmp_path.rglob("*.jsonl")))
    assert 0 == helped.counters.resets


async def test_work_goes_on_where_the_view_stood(tmp_path: Path) -> None:
    """After a log that did not answer the others begin behind the batches that are in the file."""
    log = await a_log()
    helpers = InThisProcess(log, tmp_path, {3: LogUnavailable("away")})
    await taken_in(log, tmp_path, helpers)

    first, second = helpers.begun
    assert 0 == sum(first.values())
    assert 0 < sum(second.values()) <= 2 * BATCH_RECORDS


async def test_few_records_are_worth_no_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "FAR_RECORDS_MIN", len(written()) + 1)
    helpers = InThisProcess(await a_log(), tmp_path)
    await taken_in(helpers._log, tmp_path, helpers)

    assert not helpers.begun


async def test_a_batch_that_duckdb_refuses_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which row it was only the records say: a note for that one, rows for all others."""
    log = await a_log()
    for module in ("packed", "view"):
        monkeypatch.setattr(f"sinks.duckdb.{module}.staged", spoiling("p8"))
    feed = await taken_in(log, tmp_path, InThisProcess(log, tmp_path))

    kept = query(live(tmp_path), "SELECT name FROM base.project ORDER BY name")
    assert [f"p{each}" for each in (0, 1, 10, 11, 2, 6, 7, 9)] == [
        row["name"] for row in kept if row["name"] != "nul"
    ]
    noted = query(live(tmp_path), "SELECT name, topic FROM base.unreadable WHERE name = 'p8'")
    assert {"metadata", "releases", "state"} == {row["topic"] for row in noted}
    assert len(written()) == feed.counters.records


def test_rows_are_the_same_on_the_other_side(tmp_path: Path) -> None:
    """Deleted keys, what is gone and what is only added: all of a batch."""
    records = read([*written(), gone("p7")])
    made = rows.staged(records, CONFIG)
    packer = Packer(CONFIG, tmp_path)

    assert packer.add(records)
    other = unpacked(packer.packed())
    arrived = {table: _rows(lines) for table, lines in other.lines.items()}

    assert made.lost == other.lost
    going = {
        table: {key: text for key, text in texts.items() if text is None}
        for table, texts in made.keyed.items()
    }
    assert going == other.keyed
    for table, texts in made.keyed.items():
        coming = [(key, json.loads(text)) for key, text in texts.items() if text is not None]
        assert [{table.key: key, **row} for key, row in coming] == arrived.get(table, [])
    assert [json.loads(text) for _, text in made.added] == arrived[CHANGELOG]
    assert any(made.lost.values())


def test_a_name_that_comes_twice_begins_another_batch(tmp_path: Path) -> None:
    """Rows of a batch are in its file: none of them could be replaced there."""
    packer = Packer(CONFIG, tmp_path)
    first, again = (read([metadata("p1", document("p1", version=each))]) for each in ("1", "2"))

    assert packer.add(first)
    assert not packer.add(again)
    packer.packed()
    assert packer.add(again)


def test_a_batch_is_whole_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as its bytes allow; one that is much too long ends amid one."""
    packer = Packer(CONFIG, tmp_path)
    assert BATCH_RECORDS == packer.wanted
    packer.add(read([metadata(f"p{each}", document(f"p{each}")) for each in range(3)]))
    assert BATCH_RECORDS - 3 == packer.wanted
    monkeypatch.setattr(packed, "BATCH_BYTES_ENOUGH", 1)
    assert BATCH_RECORDS - 3 == packer.wanted
    monkeypatch.setattr(packed, "BATCH_BYTES_MAX", 1)
    assert 0 == packer.wanted


def _rows(lines: Lines) -> list[object]:
    written = Path(lines.path).read_bytes().splitlines(keepends=True)
    assert lines.longest == max(map(len, written))
    return [json.loads(line) for line in written]
