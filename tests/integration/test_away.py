"""Sinks that were away while tombstones came and went: no ghosts, and no rebuild for nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from schemas.compression import compress, decompress
from schemas.topics import COMPACTED, TOPICS, Offset, Topic
from sinks import feed as feed_module
from sinks import reading
from sinks.away import AWAY_MS_MAX, as_of_by_log
from sinks.duckdb.view import DuckDBView
from sinks.dump.frame_store import INDEX_FILE
from sinks.dump.sink import DumpSink
from sinks.feed import Feed
from sinks.sink import Batch, Sink, Standing
from streams.log import Log, TopicPartition
from streams.memory_log import MemoryLog
from tests.support.dump_world import cli_lines
from tests.support.feed_world import Clock, MemorySink, feeding, found, until, work
from tests.support.logs import EMBEDDED, cleaned, opened_log, read_all
from tests.support.new_view import new_view
from tests.support.view_records import document, entry, gone, metadata, query, releases, slim, state

HOUR_MS = 3_600_000
TOMBSTONE_MS = 30 * 24 * HOUR_MS
METADATA_0 = TopicPartition(Topic.METADATA, 0)
NAMES = [f"n{i}" for i in range(8)]
REMOVED = NAMES[:5]

Make = Callable[[Path], Sink]


def duckdb_sink(data: Path) -> Sink:
    return new_view(data)


def dump_sink(data: Path) -> Sink:
    return DumpSink(data / "dumps", data / "state" / "frames")


def shown(data: Path, sink: Sink) -> set[str]:
    """Names of the projects that users see."""
    if sink.name == "duckdb":
        return {row["name"] for row in query(data / "pypi.duckdb", "SELECT name FROM projects")}
    return {json.loads(line)["name"] for line in cli_lines(data / "dumps" / "packages.jsonl.zst")}


SINKS = pytest.mark.parametrize("make", [duckdb_sink, dump_sink])
ADAPTERS = pytest.mark.parametrize("adapter", EMBEDDED)


async def visit(log: Log, sink: Sink, clock: Clock) -> int:
    """Start the sink's feed, let it catch up and publish, end it; how often it was built anew."""
    async with Feed(log, sink, clock, publish_every_seconds=60, wall_ms=clock) as feed:
        assert await feed.finish() is not None
    return feed.counters.resets


async def publish(log: Log, *names: str) -> None:
    """A worker's transaction with these projects."""
    made = [metadata(name, document(name)) for name in names]
    made += [releases(name, slim(name, {"1.0": []}, "1.0")) for name in names]
    await work(log, 0, [*made, *(state(name) for name in names), entry(names[0], 5)])


async def remove(log: Log, *names: str) -> None:
    """A worker's transaction that removes them."""
    made = [gone(name, topic=topic) for name in names for topic in COMPACTED[:2]]
    await work(log, 0, [*made, *(state(name, gone=11) for name in names)])


async def let_pass(log: Log, clock: Clock, ms: int) -> None:
    """Time passes for a log that is in use and is cleaned."""
    clock.ms += ms
    await publish(log, "another")
    await cleaned(log, clock.ms)


async def tombstones(log: Log) -> set[str | None]:
    """Names whose tombstones can still be read."""
    return {record.key for record in await read_all(log, [METADATA_0]) if record.value is None}


async def tombstones_come_and_go(log: Log, sink: Sink, clock: Clock) -> None:
    """The sink sees projects; while it is away five of them go, and so do their tombstones."""
    await found(log)
    await publish(log, *NAMES)
    assert 0 == await visit(log, sink, clock)
    await go_for_good(log, clock)


async def go_for_good(log: Log, clock: Clock) -> None:
    """Five projects go, and so do their tombstones."""
    await let_pass(log, clock, HOUR_MS)
    await remove(log, *REMOVED)
    await let_pass(log, clock, HOUR_MS)
    assert set(REMOVED) == await tombstones(log)
    await let_pass(log, clock, TOMBSTONE_MS)
    await let_pass(log, clock, HOUR_MS)
    assert set() == await tombstones(log)


@SINKS
@ADAPTERS
async def test_a_sink_away_for_longer_than_tombstones_live_has_no_ghosts(
    adapter: str, make: Make, tmp_path: Path
) -> None:
    """It is built anew and then shows exactly what the topic holds."""
    clock = Clock()
    async with opened_log(adapter, 1, tmp_path, clock) as opened:
        await tombstones_come_and_go(opened.log, make(tmp_path), clock)
        assert 1 == await visit(opened.log, sink := make(tmp_path), clock)
        truth = set((await opened.log.table(METADATA_0)).rows)
        assert 0 == await visit(opened.log, make(tmp_path), clock)

    assert {*NAMES, "another"} - set(REMOVED) == truth == shown(tmp_path, sink)


@SINKS
@ADAPTERS
async def test_without_the_check_there_would_be_ghosts(
    adapter: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the check is for: the same, read on from where the sink stood."""
    monkeypatch.setattr(feed_module, "away_too_long", lambda *_: False)
    clock = Clock()
    async with opened_log(adapter, 1, tmp_path, clock) as opened:
        await tombstones_come_and_go(opened.log, make(tmp_path), clock)
        assert 0 == await visit(opened.log, sink := make(tmp_path), clock)

    assert set(REMOVED) < shown(tmp_path, sink)


@SINKS
@ADAPTERS
async def test_a_sink_that_is_built_slowly_has_no_ghosts(
    adapter: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has read already is removed while it reads on, and the tombstones go, too."""
    monkeypatch.setattr(reading, "BATCH_RECORDS_MAX", len(NAMES))
    loop, clock = asyncio.get_running_loop(), Clock()
    async with opened_log(adapter, 1, tmp_path, clock) as opened:
        await found(opened.log)
        await publish(opened.log, *NAMES)
        sink = make(tmp_path)
        apply, steps = sink.apply, iter([go_for_good(opened.log, clock)])

        def slowly(batch: Batch) -> None:  # in the feed's thread: the loop is free
            apply(batch)
            if batch.records and (step := next(steps, None)):
                asyncio.run_coroutine_threadsafe(step, loop).result()

        monkeypatch.setattr(sink, "apply", slowly)
        assert 1 == await visit(opened.log, sink, clock)
        truth = set((await opened.log.table(METADATA_0)).rows)

    assert {*NAMES, "another"} - set(REMOVED) == truth == shown(tmp_path, sink)


@SINKS
@ADAPTERS
async def test_a_sink_away_for_less_reads_on(adapter: str, make: Make, tmp_path: Path) -> None:
    """The tombstones are still there: nothing is built anew for nothing."""
    clock = Clock()
    async with opened_log(adapter, 1, tmp_path, clock) as opened:
        await found(opened.log)
        await publish(opened.log, *NAMES)
        await visit(opened.log, make(tmp_path), clock)
        await remove(opened.log, *REMOVED)
        await let_pass(opened.log, clock, AWAY_MS_MAX)
        assert 0 == await visit(opened.log, sink := make(tmp_path), clock)

    assert {*NAMES, "another"} - set(REMOVED) == shown(tmp_path, sink)


@SINKS
async def test_the_time_is_stored_with_the_positions(make: Make, tmp_path: Path) -> None:
    """That of the last look at the log that brought a cut; a new process knows it."""
    log, clock = MemoryLog(), Clock()
    await found(log)
    await publish(log, "a")
    await visit(log, make(tmp_path), clock)
    clock.ms += HOUR_MS
    await work(log, 0, [])  # a cut, though no record of the sink's topics
    await visit(log, make(tmp_path), clock)
    again = make(tmp_path)
    standing = again.standing()
    again.close()

    assert clock.ms == standing.as_of_ms


def forget_time_duckdb(data: Path) -> None:
    """As a version that stored no time has left it."""
    view = DuckDBView.in_directory(data)
    view._run(
        lambda connection: connection.execute(
            "UPDATE base.memo SET value = regexp_replace(value, ',?\"as_of_ms\":[0-9]+', '')"
        )
    )
    view.close()


def forget_time_dump(data: Path) -> None:
    path = data / "state" / "frames" / INDEX_FILE
    index = json.loads(decompress(path.read_bytes()))
    del index["note"]["as_of_ms"]
    path.write_bytes(compress(msgspec.json.encode(index), 1))


@pytest.mark.parametrize(
    ("make", "forget_time"),
    [(duckdb_sink, forget_time_duckdb), (dump_sink, forget_time_dump)],
)
@pytest.mark.parametrize(("idle", "resets"), [(True, 0), (False, 1)])
async def test_a_state_without_a_time_is_built_anew_unless_the_log_shows_that_nothing_went(
    make: Make,
    forget_time: Callable[[Path], None],
    idle: bool,  # a parameter of the test
    resets: int,
    tmp_path: Path,
) -> None:
    """Files made before times were stored: the log is asked, once; then the time is known."""
    clock = Clock()
    log = MemoryLog(now_ms=clock)
    await found(log)
    await publish(log, "a", "b")
    await visit(log, make(tmp_path), clock)
    forget_time(tmp_path)
    sink = make(tmp_path)
    assert 0 == sink.standing().as_of_ms
    sink.close()
    if not idle:
        await remove(log, "a")
        await let_pass(log, clock, TOMBSTONE_MS)
        await let_pass(log, clock, HOUR_MS)

    assert resets == await visit(log, make(tmp_path), clock)
    assert 0 == await visit(log, make(tmp_path), clock)
    assert "a" in shown(tmp_path, sink) if idle else {"b", "another"} == shown(tmp_path, sink)


@ADAPTERS
async def test_a_log_that_stood_still_as_well_is_read_on(adapter: str, tmp_path: Path) -> None:
    """The machine was off for a year: nothing came, so nothing went; what comes now is read."""
    clock = Clock()
    sink = MemorySink()
    async with opened_log(adapter, 1, tmp_path, clock) as opened:
        await found(opened.log)
        await publish(opened.log, *NAMES)
        await visit(opened.log, sink, clock)
        clock.ms += 12 * TOMBSTONE_MS
        await remove(opened.log, *REMOVED)
        await publish(opened.log, *NAMES[5:])
        await cleaned(opened.log, clock.ms)
        assert 0 == await visit(opened.log, sink, clock)

    names = {name for topic, name in sink.rows if topic == Topic.METADATA}
    assert set(NAMES) - set(REMOVED) == names


async def test_the_log_vouches_only_for_records_that_follow_each_other() -> None:
    """Where the first record that is left does not lie at the position, others have gone."""
    clock = Clock()
    log = MemoryLog(now_ms=clock)
    before = clock.ms
    await log.append([metadata("a", document("a"))._replace(partition=0)])
    place = {METADATA_0: Offset(1)}
    assert clock.ms == await as_of_by_log(log, place, clock.ms)
    await log.append([gone("a")._replace(partition=0)])
    clock.ms += TOMBSTONE_MS
    assert before == await as_of_by_log(log, place, clock.ms)
    for _ in range(2):
        await log.append([metadata("b", document("b"))._replace(partition=0)])
        await cleaned(log, clock.ms)

    assert [2, 3] == [record.offset for record in await read_all(log, [METADATA_0])]
    assert 0 == await as_of_by_log(log, place, clock.ms)
    assert clock.ms == await as_of_by_log(log, {METADATA_0: Offset(2)}, clock.ms)


async def test_a_process_that_works_for_long_is_not_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cut renews the time in memory, too."""
    monkeypatch.delattr(feed_module, "as_of_by_log")  # not even the log is asked
    clock = Clock()
    log, sink = MemoryLog(now_ms=clock), MemorySink()
    await found(log)
    async with Feed(log, sink, clock, publish_every_seconds=60, wall_ms=clock) as feed:
        for _ in range(4):
            await publish(log, "another")
            clock.ms += AWAY_MS_MAX
            await feed.finish()

    assert (0, 4) == (sink.resets, feed.counters.cuts)


async def test_a_process_that_slept_is_away_as_well() -> None:
    """Stopped, or on a machine that was suspended: `run` goes on without a start."""
    clock = Clock()
    log, sink = MemoryLog(now_ms=clock), MemorySink()
    await found(log)
    await publish(log, *NAMES)
    async with feeding(log, sink, clock, wall_ms=clock) as feed:
        await until(lambda: feed.counters.cuts == 1)
        async with feed._turn:  # nothing is read meanwhile
            await remove(log, *REMOVED)
            await let_pass(log, clock, TOMBSTONE_MS)
            await let_pass(log, clock, HOUR_MS)
        await until(lambda: (Topic.METADATA, "another") in sink.rows)

    assert 1 == sink.resets
    assert not {(Topic.METADATA, name) for name in REMOVED} & set(sink.rows)


@pytest.mark.parametrize("step_ms", [-HOUR_MS, -AWAY_MS_MAX, AWAY_MS_MAX])
async def test_a_clock_that_is_set_builds_nothing_anew(step_ms: int) -> None:
    """Backwards or forwards, by less than the limit; the time stored then follows the clock."""
    clock = Clock()
    log, sink = MemoryLog(now_ms=clock), MemorySink()
    await found(log)
    await publish(log, *NAMES)
    await visit(log, sink, clock)
    clock.ms += step_ms
    await publish(log, "another")
    assert 0 == await visit(log, sink, clock)

    assert clock.ms == sink.at.as_of_ms


async def test_half_a_cut_does_not_renew_the_time() -> None:
    """A sink that was killed before it stood at the cut has missed as much as before."""
    clock = Clock()
    log, sink = MemoryLog(now_ms=clock), MemorySink()
    await found(log)
    await publish(log, *NAMES)
    await visit(log, sink, clock)
    before = sink.at
    clock.ms += HOUR_MS
    await publish(log, "another")
    sink.reached = killed  # type: ignore[method-assign, assignment]  # the sink is the test's own
    with pytest.raises(KeyboardInterrupt):
        await visit(log, sink, clock)

    assert before.positions != sink.at.positions
    assert before.as_of_ms == sink.at.as_of_ms == clock.ms - HOUR_MS


def killed(_: object) -> None:
    raise KeyboardInterrupt


async def test_a_new_sink_counts_from_when_it_began() -> None:
    """Killed while it is built, it is away from then on."""
    clock = Clock()
    log, sink = MemoryLog(now_ms=clock), MemorySink()
    await found(log)
    await publish(log, *NAMES)
    sink.reached = killed  # type: ignore[method-assign, assignment]  # the sink is the test's own
    with pytest.raises(KeyboardInterrupt):
        await visit(log, sink, clock)

    assert Standing("log-1", sink.at.positions, clock.ms) == sink.at


def test_half_of_the_tombstones_life() -> None:
    """The limit follows the topics' own."""
    assert {TOMBSTONE_MS} == {TOPICS[topic].tombstone_ms for topic in COMPACTED}
    assert TOMBSTONE_MS == 2 * AWAY_MS_MAX
