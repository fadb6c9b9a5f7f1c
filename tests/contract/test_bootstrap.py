"""A log loaded from another instance's dump is what that one was, on every adapter.

The other log and ours have different numbers of partitions.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from producers.carried import Journal
from producers.founding import PRODUCE_ID, found
from pypistream.jobs.carrying import Carried
from schemas.codec import decode
from schemas.errors import LogMismatch
from schemas.manifest import places
from schemas.records import ChangelogEntry, Config, Cut, Filter, Kind
from schemas.topics import COMPACTED, Topic, partition_of
from sinks.dump.reader import DumpReader
from sinks.dump.records import Project, of_dump
from sinks.removed import HELD, HeldFiles, HeldProject, Removed, held_of
from streams.log import Log, Outgoing
from streams.progress import CONFIG_KEY, CUT_KEY, history_since, progress_record, read_progress
from tests.support import deltas
from tests.support.bootstrap_world import RULE, Clock, Other, Own, files, rows_of
from tests.support.history import records_of
from tests.support.logs import opened_log
from tests.support.schema_check import assert_log_valid, validator

CASES = [
    ("memory", 1, 1),
    ("memory", 1, 4),
    ("memory", 12, 4),
    ("sqlite", 4, 1),
    ("sqlite", 1, 12),
    pytest.param(("kafka", 12, 4), marks=pytest.mark.kafka),
]


@pytest_asyncio.fixture(params=CASES, ids=str)
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Other, Own]]:
    """The other instance with some of everything, published once; ours, empty."""
    adapter, theirs, ours = request.param
    if adapter == "kafka":
        request.getfixturevalue("kafka_bootstrap")
    clock = Clock()
    other = Other(tmp_path / "other", theirs, clock=clock)
    await other.found()
    for number in range(30):
        await other.publish_project(f"p{number:02}")
    await other.publish_project("odd", classifiers="no list")  # leaves an anomaly
    await other.stale("p01")
    await other.remove("p02")
    await other.remove("p03")
    await other.publish_project("p03", "again")
    await other.fail("p04")
    await other.fail("never-seen")
    await other.publish()
    async with opened_log(adapter, ours, tmp_path, clock) as opened:
        yield other, Own(tmp_path / "own", opened.log, clock)
    other.sink.close()


async def test_round_trip(pair: tuple[Other, Own], monkeypatch: pytest.MonkeyPatch) -> None:
    """Dump, bootstrap, dump: the same files byte for byte, the same claim, the same headers.

    Whatever the tables have beside it is in the log as well.
    """
    other, own = pair
    tables = _Tables(other.serial)
    monkeypatch.setattr("pypistream.jobs.bootstrapping.carried_with", tables.carried)
    await own.load(other.dumps)
    await tables.check(own.log)

    assert files(other.dumps) == await own.dumped()
    theirs, ours = (DumpReader(each).manifest for each in (other.dumps, own.root / "dump"))
    claims = ("watermark", "base", "reached", "exceptions", "names", "coverage", "filter")
    assert [getattr(theirs, each) for each in claims] == [getattr(ours, each) for each in claims]
    assert theirs.files == ours.files
    assert theirs.log != ours.log
    assert 3 == sum(ours.exceptions.counts.values())

    their_rows, our_rows = await rows_of(other.log), await rows_of(own.log)
    assert their_rows.keys() == our_rows.keys()
    for (topic, name), (value, headers) in their_rows.items():
        assert (topic, name, value) == (topic, name, our_rows[topic, name][0])
        if topic is not Topic.STATE:  # whose headers say when it was written
            assert headers == our_rows[topic, name][1], name
    progress = await read_progress(own.log)
    assert progress.config is not None
    assert RULE == progress.config.filter
    assert progress.head is not None
    assert (other.serial, other.serial) == (progress.head.serial, progress.head.base)


async def test_follow(pair: tuple[Other, Own], seed: int) -> None:
    """Delta by delta it stays what the other is: removals, names used again, late settlements."""
    other, own = pair
    chance = Random(seed)
    names = [f"p{number:02}" for number in range(30)] + ["new-1", "new-2", "new-3"]
    changes = [
        other.publish_project, other.publish_project, other.remove, other.stale, other.fail,
    ]  # fmt: skip
    async with own.loading(other.dumps) as follower:
        await follower.load(replace_all=False)
        for _ in range(5):
            for name in chance.sample(names, 6):
                await chance.choice(changes)(name)
            await other.settle_late(chance.choice(list(other.states)))
            await other.publish()
            if chance.random() < 0.7:  # or two deltas come at once
                await follower.look()
                assert await rows_of_values(other) == await rows_of_values(own)
                assert other.serial == (await own.watermark()).serial
        await follower.look()
    assert files(other.dumps) == await own.dumped()

    # Begun again it goes on where it was.
    await other.remove("p05")
    await other.publish()
    async with own.loading(other.dumps) as follower:
        await follower.go_on()
        await follower.look()
    assert files(other.dumps) == await own.dumped("again")
    assert await assert_log_valid(own.log) > 90
    assert_deltas_valid(other.dumps)


def assert_deltas_valid(dumps: Path) -> None:
    """Manifests and lines keep to the published schemas."""
    for path, schema in ((dumps, "manifest"), (dumps / "deltas", "deltas")):
        manifest = json.loads((path / "manifest.json").read_bytes())
        validator(f"{schema}.v1.schema.json").validate(manifest)
    kinds = set()
    for entry in deltas.manifest_of(dumps)["deltas"]:
        for line in deltas.delta_lines(dumps, entry):
            validator("deltas.jsonl.v1.schema.json").validate(line)
            kinds.add((line["topic"], "deleted" in line))
    assert len(kinds) == 5, kinds


async def rows_of_values(of: Other | Own) -> dict[tuple[Topic, str], bytes]:
    """What the log of either holds."""
    return {key: value for key, (value, _) in (await rows_of(of.log)).items()}


async def test_a_delta_missed_for_good(pair: tuple[Other, Own]) -> None:
    """A rebuild of the other's dump leaves a gap: the follower compares with the dump instead."""
    other, own = pair
    async with own.loading(other.dumps) as follower:
        await follower.load(replace_all=False)
        await other.remove("p06")
        await other.publish_project("new-1")
        other.sink.reset()
        await other.publish()
        for _ in range(3):
            await follower.look()
        assert places(DumpReader(other.dumps).manifest.vector) == follower.at
        assert follower.loader.written < 10  # what differs, not everything
    assert files(other.dumps) == await own.dumped()


async def test_replace(pair: tuple[Other, Own]) -> None:
    """What the other lacks gets tombstones; the log keeps its id; another filter comes with it."""
    other, own = pair
    config = Config("own-log", own.log.partitions, 1, filter=Filter(("a*",)))
    await _work(own, config, ["mine", "p02", "p07"])
    with pytest.raises(LogMismatch, match="holds something already"):
        await own.load(other.dumps)
    assert {"mine", "p02", "p07"} == {name for _, name in await rows_of(own.log)}
    await own.load(other.dumps, replace_all=True)

    assert files(other.dumps) == await own.dumped()
    progress = await read_progress(own.log)
    assert progress.config == Config("own-log", own.log.partitions, 1, filter=RULE)
    assert other.serial == progress.watermark.serial


class _Tables:
    """What a dump's tables say: a journal that is whole after serial 900, and of `p02`."""

    def __init__(self, reached: int) -> None:
        self._rows = [
            (ChangelogEntry(n, f"P{n % 20:02}", None, n, "new release", Kind.NEW_RELEASE), n < 950)
            for n in range(901, reached + 1)
        ]
        project = HeldProject("2023-01-02T03:04:05Z", held=True, version="1.0", serial=7)
        files = HeldFiles("1.0", 7, ("1.0",), ("p02-1.0.tar.gz",), ("ab",))
        self._gone = Removed("p02", "removed", reached, project, files)
        self._carried = Carried(Journal(self._rows, 900, reached), [self._gone], "")

    def carried(self, dump: DumpReader, **_: object) -> Carried:
        return self._carried

    async def check(self, log: Log) -> None:
        """All of it is in the log, before where workers read on, and is claimed."""
        progress = await read_progress(log)
        assert progress.head is not None
        assert 900 == history_since(progress.head, progress.cuts)
        assert progress.head.history is not None
        found = [each for each in await records_of(log, Topic.CHANGELOG) if each.key is not None]
        for each in found:
            assert each.partition == partition_of(each.key or "", log.partitions)
            assert each.offset < progress.head.history.changelog[each.partition]
        told = [(decode(each.value or b"", ChangelogEntry), each.header("seen") is None)
                for each in found]  # fmt: skip
        assert {each.header("late") for each in found} == {"true"}
        assert self._rows == sorted(told, key=lambda row: row[0].serial)
        texts = [each.header(HELD) for topic in (Topic.METADATA, Topic.RELEASES)
                 for each in await records_of(log, topic) if each.key == "p02"]  # fmt: skip
        assert held_of(texts[0], HeldProject) == self._gone.project
        assert held_of(texts[1], HeldFiles) == self._gone.files


async def _work(own: Own, config: Config, names: list[str]) -> None:
    """What a run of our own has left in the log."""
    place = own.log.partitions
    writer = await own.log.writer(PRODUCE_ID)
    await writer.commit([progress_record(place, CONFIG_KEY, config, 1)])
    records = [Outgoing(topic, name, b'{"status":"ok","event":1}')
               for name in names for topic in COMPACTED]  # fmt: skip
    cuts = [progress_record(p, CUT_KEY, Cut(0, 0, 0, 0, 0, swept=3), 1) for p in range(place)]
    await writer.commit([*records, *cuts])


async def test_half_of_it_is_nobodys(
    pair: tuple[Other, Own], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load that ended in the middle leaves no log: not to found, to work on, or to publish."""
    other, own = pair
    monkeypatch.setattr("producers.bootstrap.BATCH_RECORDS_MAX", 20)
    cut_short = _first(20)
    with monkeypatch.context() as patch:
        patch.setattr("pypistream.jobs.bootstrapping.of_dump", cut_short)
        with pytest.raises(RuntimeError, match="killed"):
            await own.load(other.dumps)

    assert 0 < len(await rows_of(own.log)) < 90
    progress = await read_progress(own.log)
    assert progress.loading
    assert None is progress.config
    assert not any(progress.cuts)
    with pytest.raises(LogMismatch, match="has not ended"):
        await found(own.log, await own.log.writer(PRODUCE_ID), 1, None, None)

    work = await own.load(other.dumps)
    assert work.loader.same > 0
    assert files(other.dumps) == await own.dumped()


def _first(count: int) -> Any:
    """`of_dump` that ends as by a kill after so many projects."""

    def cut_short(*given: Any) -> Iterator[Project]:
        for number, project in enumerate(of_dump(*given)):
            if number == count:
                raise RuntimeError("killed")
            yield project

    return cut_short
