"""A sink far behind has its batches made elsewhere: the same comes of it, whatever fails."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypistream.children.rows_children import SHARES, read_made
from pypistream.children.rows_process import messages
from pypistream.children.rows_said import Order, places
from schemas.records import Config
from sinks import ahead, reading
from sinks.ahead import HelpersGone, Made
from sinks.duckdb import rows
from sinks.duckdb.lines import Lines
from sinks.duckdb.packed import packed, unpacked
from sinks.duckdb.schema import CHANGELOG
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
    state,
    tables,
)

BATCH_RECORDS = 7


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches, and help for whatever there is."""
    monkeypatch.setattr(reading, "BATCH_RECORDS_MAX", BATCH_RECORDS)
    monkeypatch.setattr(ahead, "FAR_RECORDS_MIN", 1)


class InThisProcess:
    """What the processes do, without them; `fails` by the number of the batch it comes before."""

    def __init__(self, log: MemoryLog, fails: dict[int, Exception] | None = None) -> None:
        self._log = log
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
            shares.append(await self._share(Order(config, here, places({m: due[m] for m in mine}))))
        self._made = iter([made for share in shares for made in share])

    async def _share(self, order: Order) -> list[Made]:
        said = [message async for message in messages(self._log, order)]
        source = io.BytesIO(b"".join(said))
        return [made for _ in said[::2] if (made := read_made(source)) is not None]

    async def following(self) -> Made | None:
        self.given += 1
        if self.given in self._fails:
            raise self._fails.pop(self.given)
        return next(self._made, None)

    async def end(self) -> None:
        self.ended += 1


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
    helpers = InThisProcess(log, dict(fails))
    helped = await taken_in(log, tmp_path / "helped", helpers)

    assert tables(live(tmp_path / "alone")) == tables(live(tmp_path / "helped"))
    assert alone.counters.records == helped.counters.records == len(written())
    assert helpers.ended
    assert not list((tmp_path / "helped").rglob("*.jsonl"))
    assert 0 == helped.counters.resets


async def test_work_goes_on_where_the_view_stood(tmp_path: Path) -> None:
    """After a log that did not answer the others begin behind the batches that are in the file."""
    log = await a_log()
    helpers = InThisProcess(log, {3: LogUnavailable("away")})
    await taken_in(log, tmp_path, helpers)

    first, second = helpers.begun
    assert 0 == sum(first.values())
    assert 0 < sum(second.values()) <= 2 * BATCH_RECORDS


async def test_few_records_are_worth_no_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "FAR_RECORDS_MIN", len(written()) + 1)
    helpers = InThisProcess(await a_log())
    await taken_in(helpers._log, tmp_path, helpers)

    assert not helpers.begun


async def test_a_batch_that_duckdb_refuses_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which row it was only the records say: a note for that one, rows for all others."""
    genuine = rows.staged

    def spoiling(*given: object) -> object:
        batch = genuine(*given)  # type: ignore[arg-type]  # passed on as it is
        for texts in batch.keyed.values():
            if texts.get("p8") is not None:
                texts["p8"] = b"{"
        return batch

    log = await a_log()
    for module in ("packed", "batches", "view"):
        monkeypatch.setattr(f"sinks.duckdb.{module}.staged", spoiling)
    feed = await taken_in(log, tmp_path, InThisProcess(log))

    kept = query(live(tmp_path), "SELECT name FROM base.project ORDER BY name")
    assert [f"p{each}" for each in (0, 1, 10, 11, 2, 6, 7, 9)] == [
        row["name"] for row in kept if row["name"] != "nul"
    ]
    noted = query(live(tmp_path), "SELECT name, topic FROM base.unreadable WHERE name = 'p8'")
    assert {"metadata", "releases", "state"} == {row["topic"] for row in noted}
    assert len(written()) == feed.counters.records


def test_rows_are_the_same_on_the_other_side() -> None:
    """Deleted keys, what is gone and what is only added: all of a batch."""
    records = read([*written(), gone("p7")])
    made = rows.staged(records, CONFIG)

    other = unpacked(packed(records, CONFIG))
    arrived = {table: _rows(lines) for table, lines in other.lines.items()}

    assert made.lost == other.lost
    assert {table: [*texts] for table, texts in made.keyed.items()} == {
        table: [*texts] for table, texts in other.keyed.items()
    }
    for table, texts in made.keyed.items():
        coming = [(key, json.loads(text)) for key, text in texts.items() if text is not None]
        assert [{table.key: key, **row} for key, row in coming] == arrived.get(table, [])
    assert [json.loads(text) for _, text in made.added] == arrived[CHANGELOG]
    assert any(made.lost.values())


def _rows(lines: Lines) -> list[object]:
    return [json.loads(line) for line in lines.text.tobytes().splitlines()]
