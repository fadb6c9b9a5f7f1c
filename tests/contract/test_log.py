"""The log port's contract, on every adapter.

Nothing here may rest on what Kafka cannot do: offsets have gaps, an end may lie beyond the last
record, cleaning goes its own way. What only the embedded adapters promise is in
`test_log_embedded.py`.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from schemas.errors import OversizedBody
from schemas.topics import (
    COMPACTED,
    RECORD_BYTES_MAX,
    Offset,
    Topic,
    partition_count,
    partition_of,
)
from streams.log import Log, LogUnavailable, Outgoing, Record, TopicPartition
from tests.support.logs import (
    CHANGELOG_0,
    STATE_0,
    OpenedLog,
    drained,
    event,
    read_all,
    state,
)

WAIT = 60.0  # seconds: longer than any of it takes, a test does not wait for it if all is well


def values(records: list[Record]) -> list[bytes | None]:
    return [record.value for record in records]


class TestRecords:
    async def test_order(self, log: Log) -> None:
        """Each partition's records are read in the order written, with rising offsets."""
        writer = await log.writer("a")
        written: dict[int, list[bytes]] = {p: [] for p in range(log.partitions)}
        for batch in range(5):
            records = []
            for number in range(20):
                partition = (number * 7) % log.partitions
                value = f"{batch}/{number}"
                written[partition].append(value.encode())
                records.append(event("k", value, partition))
            await writer.commit(records)

        for partition, expected in written.items():
            found = await read_all(log, [TopicPartition(Topic.CHANGELOG, partition)])

            assert expected == values(found)
            offsets = [record.offset for record in found]
            assert sorted(set(offsets)) == offsets

    async def test_round_trip(self, log: Log) -> None:
        """Key, value and headers come back as they were, and null is not the same as empty."""
        before_ms = time.time_ns() // 1_000_000
        headers = (
            ("ce_specversion", b"1.0"),
            ("ce_id", b"1-ok"),
            ("stale", b"true"),
            ("x", b""),
            ("x", b"\xff\x00"),
            ("serial", b"12345678901"),
        )
        records = [
            Outgoing(Topic.CHANGELOG, None, b"a marker", headers, 0),
            Outgoing(Topic.CHANGELOG, "", b"", (), 0),
            Outgoing(Topic.CHANGELOG, "zope.interface", None, headers[:1], 0),
            Outgoing(Topic.CHANGELOG, "k\u00fc\u6f22\U0001f600", b"\x00\xff" * 5000, (), 0),
            Outgoing(Topic.CHANGELOG, "long", bytes(range(256)) * 400, (), 0),
        ]
        offsets = await log.append(records)
        found = await read_all(log, [CHANGELOG_0])

        assert [(r.key, r.value, r.headers) for r in records] == [
            (r.key, r.value, r.headers) for r in found
        ]
        assert list(offsets) == [record.offset for record in found]
        assert {(Topic.CHANGELOG, 0)} == {(r.topic, r.partition) for r in found}
        assert all(0 < record.timestamp_ms <= before_ms + 60_000 for record in found)
        assert found[0].header("serial") == "12345678901"
        assert found[0].header("absent") is None

    async def test_partition_by_key(self, log: Log) -> None:
        """A record without a partition goes where Kafka's own partitioner puts its key."""
        keys = ["requests", "numpy", "zope-interface", "a", "pip"]
        await log.append([state(key, "v", None) for key in keys])

        for key in keys:
            at = TopicPartition(Topic.STATE, partition_of(key, log.partitions))
            assert key in [record.key for record in await read_all(log, [at])]

    async def test_partitions_of_topics(self, log: Log) -> None:
        """Every topic has N partitions, `progress` two more; all are empty at first."""
        for topic in Topic:
            expected = {
                TopicPartition(topic, p) for p in range(partition_count(topic, log.partitions))
            }
            starts, ends = await log.starts(topic), await log.ends(topic)

            assert expected == set(starts) == set(ends)
            assert starts == ends
            assert [] == await read_all(log, expected)

    async def test_mistakes_of_the_caller(self, log: Log) -> None:
        """No such partition, or no key where one is needed: ValueError, and nothing is written."""
        bad = [
            Outgoing(Topic.STATE, None, b"v", (), 0),
            Outgoing(Topic.CHANGELOG, None, b"v"),
            event("k", "v", log.partitions),
            event("k", "v", -1),
        ]
        writer = await log.writer("a")
        for record in bad:
            with pytest.raises(ValueError, match=record.topic):
                await log.append([event("k", "good"), record])
            with pytest.raises(ValueError, match=record.topic):
                await writer.commit([event("k", "good"), record])

        assert [] == await read_all(log, [CHANGELOG_0])
        await writer.commit([event("k", "the writer is none the worse")])

    async def test_largest_record(self, log: Log) -> None:
        """A record of the largest size goes through; one byte more is refused, nothing written."""
        writer = await log.writer("a")
        headers = (("ce_id", b"12"),)
        largest = RECORD_BYTES_MAX - len("k") - len("ce_id") - 2
        too_large = Outgoing(Topic.METADATA, "k", b" " * (largest + 1), headers, 0)
        with pytest.raises(OversizedBody) as caught:
            await writer.commit([event("k", "v"), too_large])

        assert RECORD_BYTES_MAX + 1 == caught.value.bytes_seen
        assert [] == await read_all(log, [CHANGELOG_0])
        await writer.commit([Outgoing(Topic.METADATA, "k", b" " * largest, headers, 0)])
        [record] = await read_all(log, [TopicPartition(Topic.METADATA, 0)])
        assert record.value == b" " * largest


class TestReading:
    async def test_resume(self, log: Log) -> None:
        """A position names the next record: a reader starting there misses and repeats none."""
        await log.append([event("k", str(n)) for n in range(10)])
        start = (await log.starts(Topic.CHANGELOG))[CHANGELOG_0]
        first = await log.reader({CHANGELOG_0: start})
        head = await first.read(4, WAIT)
        position = first.position(CHANGELOG_0)
        await first.close()
        second = await log.reader({CHANGELOG_0: position})
        tail = await drained(second, log, [CHANGELOG_0])

        assert head[-1].offset < position <= tail[0].offset
        assert [str(n).encode() for n in range(10)] == values(head + tail)
        assert (await log.ends(Topic.CHANGELOG))[CHANGELOG_0] == second.position(CHANGELOG_0)

    async def test_max_records(self, log: Log) -> None:
        """No batch is larger than asked for."""
        await log.append([event("k", str(n)) for n in range(10)])
        reader = await log.reader({CHANGELOG_0: Offset(0)})
        batches = [await reader.read(3, WAIT) for _ in range(4)]

        assert all(1 <= len(batch) <= 3 for batch in batches)

    async def test_no_partition_starves(self, log: Log) -> None:
        """A partition with much to read does not keep another's few records waiting."""
        quiet = TopicPartition(Topic.REFETCH, 0)
        await log.append([event("k", str(n)) for n in range(100)])
        await log.append([Outgoing(Topic.REFETCH, "k", b"quiet", (), 0)])
        reader = await log.reader({CHANGELOG_0: Offset(0), quiet: Offset(0)})
        read = [record for _ in range(3) for record in await reader.read(10, WAIT)]

        assert b"quiet" in values(read)
        assert len(read) == len({(record.topic, record.offset) for record in read})

    async def test_wait_is_kept(self, log: Log) -> None:
        """With nothing to read, `read` comes back empty after the wait, not before."""
        reader = await log.reader({STATE_0: Offset(0)})
        begin = time.monotonic()

        assert [] == await reader.read(10, 0.1)
        assert time.monotonic() - begin >= 0.09

    @pytest.mark.parametrize("other_process", [False, True])
    async def test_woken_by_a_write(self, opened: OpenedLog, *, other_process: bool) -> None:
        """A waiting reader gets what is written meanwhile, by this process or by another."""
        writing = await opened.another() if other_process else opened.log
        reader = await opened.log.reader({STATE_0: Offset(0)})
        assert [] == await reader.read(10, 0)
        waiting = asyncio.create_task(reader.read(10, WAIT))
        await asyncio.sleep(0.02)
        begin = time.monotonic()
        await writing.append([state("a", "1")])
        records = await waiting

        assert [b"1"] == values(records)
        assert time.monotonic() - begin < WAIT / 2

    async def test_cancelled_read_loses_nothing(self, log: Log) -> None:
        """A read that was cancelled can be repeated."""
        reader = await log.reader({STATE_0: Offset(0)})
        for turns in range(6):
            task = asyncio.create_task(reader.read(10, WAIT))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            result = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(result[0], asyncio.CancelledError)
        await log.append([state("a", "1"), state("b", "2")])

        assert [b"1", b"2"] == values(await drained(reader, log, [STATE_0]))

    async def test_readers_are_independent(self, opened: OpenedLog) -> None:
        """Each reader has its own positions, and reads only the partitions that it was given."""
        await opened.log.append([state("a", "1"), event("a", "e")])
        one = await opened.log.reader({STATE_0: Offset(0)})
        two = await (await opened.another()).reader({STATE_0: Offset(0), CHANGELOG_0: Offset(0)})

        assert [b"1"] == values(await drained(one, opened.log, [STATE_0]))
        assert {b"1", b"e"} == set(values(await drained(two, opened.log, [STATE_0, CHANGELOG_0])))


class TestTable:
    async def test_fold(self, log: Log) -> None:
        """The last record per key, without tombstones; reading on from it misses nothing."""
        await log.append([state("a", "1"), state("b", "1"), state("c", "1")])
        await log.append([state("a", "2"), state("b", None), state("d", None)])
        table = await log.table(STATE_0)
        await log.append([state("e", "3")])
        reader = await log.reader({STATE_0: table.next_offset})

        assert {"a": b"2", "c": b"1"} == {k: record.value for k, record in table.rows.items()}
        assert all(key == record.key for key, record in table.rows.items())
        assert ["e"] == [record.key for record in await drained(reader, log, [STATE_0])]

    async def test_empty(self, log: Log) -> None:
        """A partition without records is an empty table."""
        table = await log.table(STATE_0)

        assert {} == dict(table.rows)
        assert (await log.ends(Topic.STATE))[STATE_0] == table.next_offset

    async def test_every_compacted_topic(self, log: Log) -> None:
        """Each partition of each compacted topic can be folded."""
        for topic in (*COMPACTED, Topic.PROGRESS):
            last = TopicPartition(topic, partition_count(topic, log.partitions) - 1)
            await log.append([Outgoing(topic, "k", topic.encode(), (), last.partition)])

            assert [topic.encode()] == [r.value for r in (await log.table(last)).rows.values()]

    async def test_cleaning_changes_no_fold(self, log: Log) -> None:
        """Whatever an adapter removes, the table stays the same and offsets go on rising."""
        offsets: list[Offset] = []
        for n in range(30):
            offsets += await log.append([state(f"k{n % 4}", str(n)), state("gone", None)])
        before = await log.table(STATE_0)
        await log.clean(time.time_ns() // 1_000_000)
        after = await log.table(STATE_0)
        offsets += await log.append([state("later", "1")])

        assert dict(before.rows) == dict(after.rows)
        assert sorted(set(offsets)) == offsets


class TestOpenAgain:
    async def test_all_is_still_there(self, opened: OpenedLog) -> None:
        """Another handle finds what was acknowledged, the same N, and goes on after it."""
        offsets = list(await opened.log.append([state("a", "1"), state("b", "2")]))
        await opened.log.close()
        other = await opened.another()
        offsets += await other.append([state("c", "3")])

        assert opened.log.partitions == other.partitions
        assert sorted(set(offsets)) == offsets
        assert [b"1", b"2", b"3"] == values(await read_all(other, [STATE_0]))

    async def test_closed(self, log: Log) -> None:
        """A closed log refuses everything with LogUnavailable; closing it twice is fine."""
        writer = await log.writer("a")
        reader = await log.reader({STATE_0: Offset(0)})
        waiting = asyncio.create_task(reader.read(1, WAIT))
        await asyncio.sleep(0.02)
        await log.close()
        await log.close()

        with pytest.raises(LogUnavailable):
            await waiting
        with pytest.raises(LogUnavailable):
            await reader.read(1, 0)
        with pytest.raises(LogUnavailable):
            await writer.commit([state("a", "1")])
        with pytest.raises(LogUnavailable):
            await log.append([state("a", "1")])
        with pytest.raises(LogUnavailable):
            await log.table(STATE_0)
        with pytest.raises(LogUnavailable):
            await log.writer("a")
        await writer.close()
        await reader.close()
