"""What the embedded adapters promise beyond the contract; Kafka does these in its own way.

Cleaning by a clock, exact offsets and ends, positions that are checked when a reader is made.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from schemas.errors import LogTruncated
from schemas.topics import TOPICS, Offset, Topic
from streams.cleaning import COMPACTION_LAG_MS
from streams.log import Outgoing, TopicPartition
from tests.support.logs import (
    CHANGELOG_0,
    EMBEDDED,
    STATE_0,
    OpenedLog,
    cleaned,
    drained,
    event,
    opened_log,
    read_all,
    state,
)

REFETCH_0 = TopicPartition(Topic.REFETCH, 0)
REFETCH_MS = TOPICS[Topic.REFETCH].retention_ms or 0
TOMBSTONE_MS = TOPICS[Topic.STATE].tombstone_ms or 0


@pytest_asyncio.fixture(params=itertools.product(EMBEDDED, (1, 4)), ids=str)
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenedLog]:
    adapter, partitions = request.param
    async with opened_log(adapter, partitions, tmp_path) as opened:
        yield opened


async def offsets_in(opened: OpenedLog, at: TopicPartition) -> list[int]:
    return [record.offset for record in await read_all(opened.log, [at])]


class TestCompaction:
    async def test_replaced_records_go(self, opened: OpenedLog) -> None:
        """Only the last record per key is left, at its old offset; a second call finds nothing."""
        log, clock = opened.log, opened.clock
        for n in range(5):
            await log.append([state("a", str(n)), state(f"k{n}", "v")])
        clock.ms += COMPACTION_LAG_MS

        assert 4 == await cleaned(log, clock.ms)
        assert [1, 3, 5, 7, 8, 9] == await offsets_in(opened, STATE_0)
        assert 0 == await log.clean(clock.ms)

    async def test_lag(self, opened: OpenedLog) -> None:
        """A record stays until the one that replaced it is old: a cut can be read in peace."""
        log, clock = opened.log, opened.clock
        await log.append([state("a", "1")])
        clock.ms += COMPACTION_LAG_MS * 3
        await log.append([state("a", "2"), state("b", "1")])
        cut = (await log.ends(Topic.STATE))[STATE_0]
        clock.ms += COMPACTION_LAG_MS - 1

        assert 0 == await cleaned(log, clock.ms)
        clock.ms += 1
        await log.append([state("b", "2")])
        assert 1 == await cleaned(log, clock.ms)
        reader = await log.reader({STATE_0: Offset(0)})
        upto = [r for r in await drained(reader) if r.offset < cut]
        assert [("a", b"2"), ("b", b"1")] == [(r.key, r.value) for r in upto]

    async def test_within_one_transaction(self, opened: OpenedLog) -> None:
        """Several records of a key in one transaction replace one another."""
        log, clock = opened.log, opened.clock
        await log.append([state("a", "0")])
        await log.append([state("a", "1"), state("b", "1"), state("a", "2"), state("a", "3")])
        clock.ms += COMPACTION_LAG_MS

        assert 3 == await cleaned(log, clock.ms)
        assert [2, 4] == await offsets_in(opened, STATE_0)

    async def test_tombstones(self, opened: OpenedLog) -> None:
        """A tombstone removes what it replaces at once, and goes itself after its time."""
        log, clock = opened.log, opened.clock
        await log.append([state("a", "1"), state("a", None), state("b", "1")])
        clock.ms += TOMBSTONE_MS - 1
        assert 1 == await cleaned(log, clock.ms)
        assert [1, 2] == await offsets_in(opened, STATE_0)
        clock.ms += 1
        assert 1 == await cleaned(log, clock.ms)
        assert [2] == await offsets_in(opened, STATE_0)

        await log.append([state("a", "2"), state("a", "3"), state("c", "1")])
        clock.ms += COMPACTION_LAG_MS
        assert 1 == await cleaned(log, clock.ms), "a key that comes back starts anew"
        assert [2, 4, 5] == await offsets_in(opened, STATE_0)

    async def test_last_record_stays(self, opened: OpenedLog) -> None:
        """The last record of a partition is never removed, so its offset is never given twice."""
        log, clock = opened.log, opened.clock
        [_, last] = await log.append([state("a", "1"), state("a", None)])
        clock.ms += TOMBSTONE_MS * 2
        await cleaned(log, clock.ms)

        assert [last] == await offsets_in(opened, STATE_0)
        other = await opened.another()
        assert [last + 1] == list(await other.append([state("b", "1")]))
        assert 1 == await cleaned(other, clock.ms)
        assert [last + 1] == await offsets_in(opened, STATE_0)

    async def test_starts_of_compacted_topics(self, opened: OpenedLog) -> None:
        """Compaction moves no start: any old position of a compacted topic can be read from."""
        log, clock = opened.log, opened.clock
        await log.append([state("a", str(n)) for n in range(5)])
        clock.ms += COMPACTION_LAG_MS
        await cleaned(log, clock.ms)

        assert 0 == (await log.starts(Topic.STATE))[STATE_0]
        reader = await log.reader({STATE_0: Offset(2)})
        assert [b"4"] == [record.value for record in await drained(reader)]

    async def test_every_topic_and_partition(self, opened: OpenedLog) -> None:
        """All partitions of all compacted topics are cleaned, and no key of another one is hurt."""
        log, clock = opened.log, opened.clock
        compacted = [spec.topic for spec in TOPICS.values() if spec.cleanup == "compact"]
        records = [
            Outgoing(topic, "k", str(n).encode(), (), partition)
            for topic in compacted
            for partition in range(log.partitions)
            for n in range(3)
        ]
        await log.append(records)
        clock.ms += COMPACTION_LAG_MS

        assert 2 * len(compacted) * log.partitions == await cleaned(log, clock.ms)
        for topic in compacted:
            for partition in range(log.partitions):
                rows = (await log.table(TopicPartition(topic, partition))).rows
                assert [b"2"] == [record.value for record in rows.values()]

    async def test_many(self, opened: OpenedLog) -> None:
        """More than one call may take: each is bounded, and in the end all is done."""
        log, clock = opened.log, opened.clock
        writer = await log.writer("a")
        for n in range(12):
            await writer.commit([state(f"k{k}", str(n)) for k in range(1000)])
        clock.ms += COMPACTION_LAG_MS

        assert 11_000 == await cleaned(log, clock.ms)
        assert list(range(11_000, 12_000)) == await offsets_in(opened, STATE_0)

    async def test_while_written_and_read(self, opened: OpenedLog) -> None:
        """Folds stay exact while records are written and removed at the same time."""
        log, clock = opened.log, opened.clock
        other = await opened.another()
        stop = asyncio.Event()

        async def write() -> None:
            writer = await log.writer("a")
            for n in itertools.count():
                if stop.is_set():
                    return
                clock.ms += COMPACTION_LAG_MS // 4
                await writer.commit([state(f"k{k}", str(n)) for k in range(20)])
                await log.clean(clock.ms)

        writing = asyncio.create_task(write())
        try:
            for _ in range(30):
                table = await other.table(STATE_0)
                assert len({record.value for record in table.rows.values()}) <= 1
                assert len(table.rows) in (0, 20)
                await asyncio.sleep(0)
        finally:
            stop.set()
            await writing


class TestRetention:
    async def test_old_records_go(self, opened: OpenedLog) -> None:
        """Records past the retention go from the start on, the last one stays; `starts` follows."""
        log, clock = opened.log, opened.clock
        await log.append([Outgoing(Topic.REFETCH, "a", b"1", (), 0)] * 3)
        clock.ms += 1000
        await log.append([Outgoing(Topic.REFETCH, "a", b"2", (), 0)] * 2)
        clock.ms += REFETCH_MS - 1000

        assert 3 == await cleaned(log, clock.ms)
        assert [3, 4] == await offsets_in(opened, REFETCH_0)
        assert 3 == (await log.starts(Topic.REFETCH))[REFETCH_0]
        clock.ms += REFETCH_MS
        assert 1 == await cleaned(log, clock.ms)
        assert [4] == await offsets_in(opened, REFETCH_0)
        assert 0 == await log.clean(clock.ms)
        assert [5] == list(await log.append([Outgoing(Topic.REFETCH, "a", b"3", (), 0)]))

    async def test_unlimited(self, opened: OpenedLog) -> None:
        """`changelog` is kept for ever."""
        log, clock = opened.log, opened.clock
        await log.append([event("k", str(n)) for n in range(5)])

        assert 0 == await cleaned(log, clock.ms + 100 * TOMBSTONE_MS)
        assert [0, 1, 2, 3, 4] == await offsets_in(opened, CHANGELOG_0)

    async def test_truncated(self, opened: OpenedLog) -> None:
        """A position below the start is refused, by a new reader and by one that was open."""
        log, clock = opened.log, opened.clock
        await log.append([Outgoing(Topic.REFETCH, "a", b"1", (), 0)] * 3)
        reader = await log.reader({REFETCH_0: Offset(1), STATE_0: Offset(0)})
        clock.ms += REFETCH_MS
        await cleaned(log, clock.ms)

        with pytest.raises(LogTruncated, match="refetch/0: position 1 "):
            await reader.read(10, 0)
        with pytest.raises(LogTruncated):
            await log.reader({REFETCH_0: Offset(1)})
        assert [b"1"] == [r.value for r in await drained(await log.reader({REFETCH_0: Offset(2)}))]


class TestPositions:
    async def test_beyond_the_end(self, opened: OpenedLog) -> None:
        """A position that this log has never had belongs to another one: it is refused."""
        await opened.log.append([state("a", "1")])
        with pytest.raises(LogTruncated, match="state/0: position 2 "):
            await opened.log.reader({STATE_0: Offset(2)})

    async def test_gaps_are_passed(self, opened: OpenedLog) -> None:
        """Having read all there is, a position is the partition's end, whatever was removed."""
        log, clock = opened.log, opened.clock
        await log.append([state("a", str(n)) for n in range(5)])
        clock.ms += COMPACTION_LAG_MS
        await cleaned(log, clock.ms)
        reader = await log.reader({STATE_0: Offset(0)})

        assert [4] == [record.offset for record in await reader.read(10, 0)]
        assert 5 == reader.position(STATE_0)

    async def test_no_key_no_table(self, opened: OpenedLog) -> None:
        """A topic that is not compacted is no table."""
        with pytest.raises(ValueError, match="changelog is no table"):
            await opened.log.table(CHANGELOG_0)
