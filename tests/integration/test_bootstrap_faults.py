"""Dumps and deltas that are not what they should be, kills, and logs that go their own way."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from producers.changelog import ChangelogProducer, ProducerSettings
from producers.founding import PRODUCE_ID, found
from pypistream.data_dir import DataDir
from pypistream.health.status_report import StatusReader
from schemas.errors import DumpCorrupt, LogMismatch
from schemas.records import Config, Head
from schemas.topics import Offset, Topic, partition_of
from sinks.dump.sink import DumpSink
from sinks.feed import Feed
from streams.log import TopicPartition
from streams.memory_log import MemoryLog
from streams.progress import CONFIG_KEY, CUT_KEY, HEAD_KEY, progress_record, read_progress
from streams.sqlite_log import SqliteLog
from tests.support.bootstrap_world import Clock, Other, Own, files, marker, rows_of
from tests.support.scripted_upstream import ScriptedUpstream
from tests.support.view_records import entry

ROOT = Path(__file__).parents[2]


@dataclass
class Pair:
    """Both instances, and ways to spoil what the other has published."""

    other: Other
    own: Own

    @property
    def deltas(self) -> Path:
        return self.other.dumps / "deltas"

    def entry(self, number: int = -1) -> dict[str, Any]:
        """An entry of the list of deltas."""
        found: dict[str, Any] = json.loads((self.deltas / "manifest.json").read_bytes())
        entry: dict[str, Any] = found["deltas"][number]
        return entry

    def rewrite(self, path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
        """Replace a manifest by a changed one, hard links left alone."""
        manifest = json.loads(path.read_bytes())
        change(manifest)
        path.unlink()
        path.write_text(json.dumps(manifest))


@pytest_asyncio.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    clock = Clock()
    other = Other(tmp_path / "other", clock=clock)
    await other.found()
    for number in range(40):
        await other.publish_project(f"p{number:02}")
    await other.remove("p02")
    await other.publish()
    yield Pair(other, Own(tmp_path / "own", MemoryLog(4, now_ms=clock), clock))
    other.sink.close()


def spoil(path: Path, how: str) -> None:
    """Damage a file, in a copy of its own."""
    raw = path.read_bytes()
    path.unlink()
    if how == "cut":
        path.write_bytes(raw[: len(raw) // 2])
    elif how == "flipped":
        middle = len(raw) // 2
        path.write_bytes(raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :])
    elif how == "longer":
        path.write_bytes(raw + raw)
    else:
        assert how == "gone"


@pytest.mark.parametrize("how", ["cut", "flipped", "longer", "gone"])
@pytest.mark.parametrize("file", ["packages", "releases", "state"])
async def test_a_damaged_dump_leaves_no_log(pair: Pair, file: str, how: str) -> None:
    """Whatever was written of it by then, nobody takes it for a log; a whole one mends it."""
    copy = pair.own.root / "copy"
    shutil.copytree(pair.other.dumps, copy, ignore=shutil.ignore_patterns(".versions"))
    spoil(copy / f"{file}.jsonl.zst", how)
    with pytest.raises(DumpCorrupt):
        await pair.own.load(copy)

    progress = await read_progress(pair.own.log)
    assert progress.loading
    assert not any(progress.cuts)
    await pair.own.load(pair.other.dumps)
    assert files(pair.other.dumps) == await pair.own.dumped()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"schema": 2}, "schema version 2"),
        ({"format": 2}, "format 2"),
        ({"filter": None}, "which projects"),
        ({"reached": 0, "watermark": None}, "claims nothing"),
    ],
)
async def test_a_dump_no_log_can_be_made_of(pair: Pair, change: dict[str, Any], why: str) -> None:
    """It is refused before anything is touched."""
    copy = pair.own.root / "copy"
    shutil.copytree(pair.other.dumps, copy, ignore=shutil.ignore_patterns(".versions"))
    pair.rewrite(copy / "manifest.json", lambda manifest: manifest.update(change))
    with pytest.raises(DumpCorrupt, match=why):
        await pair.own.load(copy)
    assert None is (await read_progress(pair.own.log)).bootstrap


@pytest.mark.parametrize("how", ["cut", "flipped", "longer", "gone"])
async def test_a_damaged_delta_is_not_taken(pair: Pair, how: str) -> None:
    """Nothing of it is written, and the same one, whole again, is taken at the next look."""
    async with pair.own.loading(pair.other.dumps) as follower:
        await follower.load(replace_all=False)
        before = await rows_of(pair.own.log), await read_progress(pair.own.log)
        await pair.other.remove("p03")
        await pair.other.publish_project("new")
        await pair.other.publish()
        path = pair.deltas / pair.entry()["file"]
        shutil.copy(path, pair.own.root / "whole")
        spoil(path, how)
        with pytest.raises(DumpCorrupt):
            await follower.look()
        assert before == (await rows_of(pair.own.log), await read_progress(pair.own.log))

        shutil.copy(pair.own.root / "whole", path)
        await follower.look()
    assert files(pair.other.dumps) == await pair.own.dumped()


async def test_an_older_dump_is_refused(pair: Pair) -> None:
    """A mirror that lags behind what was taken already: nothing goes back."""
    lagging = pair.own.root / "lagging"
    shutil.copytree(pair.other.dumps, lagging)
    async with pair.own.loading(pair.other.dumps) as follower:
        await follower.load(replace_all=False)
        await pair.other.remove("p03")
        await pair.other.publish()
        await follower.look()
        held = await rows_of(pair.own.log)
    async with pair.own.loading(lagging) as follower:
        await follower.go_on()
        with pytest.raises(DumpCorrupt, match="lies behind"):
            await follower.look()
        assert held == await rows_of(pair.own.log)


async def test_a_list_of_deltas_that_lags_is_waited_for(pair: Pair) -> None:
    """A proxy may serve the new dump beside the old list: no reason to load everything again."""
    async with pair.own.loading(pair.other.dumps) as follower:
        await follower.load(replace_all=False)
        written = follower.loader.written
        manifest = pair.deltas / "manifest.json"
        old = manifest.read_bytes()
        await pair.other.remove("p03")
        await pair.other.publish()
        new = manifest.read_bytes()
        manifest.write_bytes(old)
        await follower.look()
        await follower.look()
        assert written == follower.loader.written
        manifest.write_bytes(new)
        await follower.look()
        assert follower.loader.written > written
    assert files(pair.other.dumps) == await pair.own.dumped()


async def test_another_logs_dump_is_refused(pair: Pair) -> None:
    """An instance set up anew has other offsets: its deltas mean nothing here."""
    async with pair.own.loading(pair.other.dumps) as follower:
        await follower.load(replace_all=False)
        for path in (pair.other.dumps / "manifest.json", pair.deltas / "manifest.json"):
            pair.rewrite(path, lambda manifest: manifest.update(log="another"))
        with pytest.raises(LogMismatch, match="of log another"):
            await follower.look()


async def test_a_delta_of_many_transactions_that_is_killed(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is under way nobody works on the log; begun again it compares with the dump."""
    async with pair.own.loading(pair.other.dumps) as follower:
        await follower.load(replace_all=False)
    monkeypatch.setattr("producers.bootstrap.BATCH_RECORDS_MAX", 5)
    for number in range(20):
        await pair.other.publish_project(f"p{number:02}", "new")
    await pair.other.publish()

    async with pair.own.loading(pair.other.dumps) as follower:
        await follower.go_on()
        commit, calls = follower.loader._commit, 0

        async def killed(*given: Any, **named: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == 6:
                raise RuntimeError("killed")
            await commit(*given, **named)

        monkeypatch.setattr(follower.loader, "_commit", killed)
        with pytest.raises(RuntimeError, match="killed"):
            await follower.look()

    assert (await read_progress(pair.own.log)).loading
    report = await StatusReader(DataDir(pair.own.root), pair.own.log, brief=True).report()
    assert report.bootstrap is not None
    assert report.bootstrap.loading
    with pytest.raises(LogMismatch, match="has not ended"):
        await found(pair.own.log, await pair.own.log.writer(PRODUCE_ID), 1, None, None)
    sink = DumpSink(pair.own.root / "half", pair.own.root / "half-frames")
    async with Feed(pair.own.log, sink, pair.own.clock, publish_every_seconds=0) as feed:
        assert await feed.finish() is None, "half of a log was published"

    async with pair.own.loading(pair.other.dumps) as follower:
        with pytest.raises(LogMismatch, match="has not ended"):
            await follower.go_on()
    writer = await pair.own.log.writer(PRODUCE_ID)
    producer = ChangelogProducer(
        pair.own.log, ScriptedUpstream(), pair.own.clock, ProducerSettings(base=1)
    )
    with pytest.raises(LogMismatch, match="has not ended"):
        await producer.begin()
    await writer.commit([])  # a `produce` that was started has not thrown the loader out
    await pair.own.load(pair.other.dumps)
    assert files(pair.other.dumps) == await pair.own.dumped()
    assert pair.other.serial == (await pair.own.watermark()).serial


@pytest.mark.timeout(600)
async def test_a_kill_at_any_transaction(pair: Pair, tmp_path: Path) -> None:
    """SIGKILL before or after each: nothing looks whole that is not, and again makes it whole."""
    folder = tmp_path / "killed"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.support.bootstrap_killed"]
    done = await asyncio.to_thread(
        subprocess.run, [*command, str(pair.other.dumps), str(folder)],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    points = int(done.stdout.split()[-1])  # what the last load says comes before
    assert points > 10
    seen = set()
    for point in range(1, points):
        log = await SqliteLog.open(DataDir(folder / str(point)).log)
        own = Own(folder / str(point), log, pair.own.clock)
        progress = await read_progress(log)
        whole = progress.config is not None
        seen.add(("whole" if whole else "half", progress.loading, any(progress.cuts)))
        if not whole:
            await own.load(pair.other.dumps)
        assert files(pair.other.dumps) == await own.dumped()
        await log.close()
    # Not begun; half; and whole where the kill came after the last transaction.
    assert {("half", False, False), ("half", True, False), ("whole", False, True)} == seen


async def test_a_log_that_went_its_own_way(pair: Pair) -> None:
    """What a worker of ours has written since would be put back by a delta."""
    await pair.own.load(pair.other.dumps)
    progress = await read_progress(pair.own.log)
    cut = progress.cuts[2]
    assert cut is not None
    writer = await pair.own.log.writer("worker-2")
    moved = replace(cut, changelog=cut.changelog + 1)
    await writer.commit([progress_record(2, CUT_KEY, moved, 1)])
    async with pair.own.loading(pair.other.dumps) as follower:
        with pytest.raises(LogMismatch, match="followed upstream by itself"):
            await follower.go_on()


@pytest.mark.parametrize("ahead", [True, False])
async def test_replace_and_the_journal_of_our_own(pair: Pair, *, ahead: bool) -> None:
    """Rows that we hold and the dump does not reflect are decided again; none is read twice."""
    other, own = pair.other, pair.own
    last = other.serial + 5 if ahead else other.serial - 5
    place = own.log.partitions
    rows = [entry(f"p{serial % 40:02}", serial) for serial in range(last - 9, last + 1)]
    writer = await own.log.writer(PRODUCE_ID)
    await writer.commit(
        [
            progress_record(place, CONFIG_KEY, Config("own-log", place, 1), 1),
            *rows,
            marker(last - 20, last),
        ]
    )
    ends = await own.log.ends(Topic.CHANGELOG)
    read = tuple(ends[at] for at in sorted(ends))
    head = Head(last, last - 20, 1, read)
    await writer.commit([progress_record(place, HEAD_KEY, head, 1)])
    await own.load(other.dumps, replace_all=True)

    progress = await read_progress(own.log)
    assert progress.head is not None
    assert other.serial == progress.watermark.serial
    if not ahead:
        assert (other.serial, other.serial) == (progress.head.serial, progress.head.base)
        assert read == tuple(cut.changelog for cut in progress.cuts if cut)
        return
    assert head == progress.head
    for partition, cut in enumerate(progress.cuts):
        assert cut is not None
        at = TopicPartition(Topic.CHANGELOG, partition)
        reader = await own.log.reader({at: Offset(cut.changelog)})
        left = [record for record in await reader.read(100, 0.01) if record.key is not None]
        await reader.close()
        due = [each.value for each in rows[5:] if partition_of(each.key or "", place) == partition]
        assert due == [record.value for record in left]


async def test_a_dump_without_a_watermark(pair: Pair) -> None:
    """Its instance owes a backfill; so does whoever loads it."""
    pair.other.base = 900
    await pair.other.mark()
    await pair.other.publish()
    await pair.own.load(pair.other.dumps)
    claim = await pair.own.watermark()
    assert (None, 900, pair.other.serial) == (claim.serial, claim.base, claim.reached)
    progress = await read_progress(pair.own.log)
    assert all(cut is not None and cut.low == 0 for cut in progress.cuts)
