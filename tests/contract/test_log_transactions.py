"""The contract of every log, continued: transactions, and who may write."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from schemas.errors import WriterFenced
from schemas.topics import (
    COMPACTED,
    Offset,
    Topic,
)
from streams.log import Log, NextOffsets, Outgoing, Record, TopicPartition
from tests.support.logs import (
    CHANGELOG_0,
    STATE_0,
    OpenedLog,
    drained,
    event,
    read_all,
    state,
)


def values(records: list[Record]) -> list[bytes | None]:
    return [record.value for record in records]


class TestTransactions:
    async def test_offsets_returned(self, log: Log) -> None:
        """`commit` returns the offsets of its records in their order."""
        writer = await log.writer("a")
        last = log.partitions - 1
        records = [event("a", "0", 0), event("b", "1", last), event("c", "2", 0)]
        offsets = await writer.commit(records, lambda _: [event("d", "closing", last)])

        assert len(offsets) == len(records)
        found = {
            (record.partition, record.offset): record.value
            for record in await read_all(log, {CHANGELOG_0, TopicPartition(Topic.CHANGELOG, last)})
        }
        for record, offset in zip(records, offsets, strict=True):
            assert record.value == found[record.partition or 0, offset]
        assert b"closing" in found.values()

    async def test_larger_than_a_batch(self, log: Log) -> None:
        """Two megabytes in one transaction: offsets in their order, and the end is after them."""
        writer = await log.writer("a")
        ends: list[Offset] = []

        def closing(ahead: NextOffsets) -> list[Outgoing]:
            ends.append(ahead[STATE_0])
            return []

        offsets = list(await writer.commit([state(k, k * 400_000) for k in "abcde"], closing))
        records = await read_all(log, [STATE_0])

        assert offsets == sorted(set(offsets)) == [record.offset for record in records]
        assert [offsets[-1] + 1] == ends
        assert [record.key for record in records] == list("abcde")
        assert all(record.value == (record.key or "").encode() * 400_000 for record in records)

    async def test_closing_sees_next_offsets(self, log: Log) -> None:
        """`closing` learns where its transaction ends; reading on there finds the next one."""
        writer = await log.writer("a")
        seen: list[dict[TopicPartition, Offset]] = []

        def closing(ahead: NextOffsets) -> list[Outgoing]:
            seen.append(dict(ahead))
            return [Outgoing(Topic.PROGRESS, "p", str(ahead[STATE_0]).encode(), (), 0)]

        first = await writer.commit([state("a", "1"), state("b", "1")], closing)
        second = await writer.commit([state("c", "2")], closing)

        assert first[-1] < seen[0][STATE_0] <= second[0] < seen[1][STATE_0]
        reader = await log.reader({STATE_0: seen[0][STATE_0]})
        assert ["c"] == [record.key for record in await drained(reader, log, [STATE_0])]
        progress = await read_all(log, [TopicPartition(Topic.PROGRESS, 0)])
        assert [str(s[STATE_0]).encode() for s in seen] == values(progress)

    async def test_closing_sees_partitions_not_written(self, log: Log) -> None:
        """For those, `closing` sees the ends as they were when the id was taken."""
        await log.append([state("a", "before")])
        before = {topic: dict(await log.ends(topic)) for topic in Topic}
        writer = await log.writer("a")
        seen: list[dict[TopicPartition, Offset]] = []

        def closing(ahead: NextOffsets) -> list[Outgoing]:
            seen.append(dict(ahead))
            return []

        await writer.commit([event("x", "1")], closing)
        await writer.commit([], closing)

        for ahead in seen:
            assert before[Topic.STATE][STATE_0] == ahead[STATE_0]
            for topic in COMPACTED:
                assert before[topic].items() <= ahead.items()
        assert before[Topic.CHANGELOG][CHANGELOG_0] < seen[0][CHANGELOG_0] == seen[1][CHANGELOG_0]

    async def test_all_or_nothing(self, log: Log) -> None:
        """If `closing` fails, nothing of the transaction is ever seen; the id can be taken anew."""
        writer = await log.writer("a")
        await writer.commit([state("a", "1")])

        def closing(_: NextOffsets) -> list[Outgoing]:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await writer.commit([state("a", "2"), event("a", "2")], closing)
        with pytest.raises(WriterFenced):
            await writer.commit([state("a", "2")])  # thrown away after an error
        writer = await log.writer("a")
        await writer.commit([state("a", "3")])

        assert [b"1", b"3"] == values(await read_all(log, [STATE_0]))
        assert [] == await read_all(log, [CHANGELOG_0])

    async def test_readers_see_whole_transactions(self, opened: OpenedLog) -> None:
        """While one process writes, another neither folds nor reads half a transaction."""
        log, other = opened.log, await opened.another()
        stop = asyncio.Event()
        rounds = 0

        async def write() -> None:
            nonlocal rounds
            writer = await log.writer("a")
            while not stop.is_set():
                rounds += 1
                value = str(rounds)
                await writer.commit(
                    [state("left", value), state("x", value), state("right", value)]
                )

        writing = asyncio.create_task(write())
        try:
            for _ in range(20):
                table = await other.table(STATE_0)
                found = {key: record.value for key, record in table.rows.items()}
                assert found.get("left") == found.get("right") == found.get("x")
                await asyncio.sleep(0)
        finally:
            stop.set()
            await writing
        records = await read_all(other, [STATE_0])
        assert [3] * rounds == [len(list(g)) for _, g in itertools.groupby(values(records))]

    async def test_commit_of_nothing(self, log: Log) -> None:
        """An empty transaction is none."""
        writer = await log.writer("a")

        assert [] == list(await writer.commit([]))
        assert [] == list(await log.append([]))

    async def test_cancelled_commit(self, log: Log) -> None:
        """After a cancel the writer is spent; who takes the id then sees all of it or nothing."""
        writer = await log.writer("a")
        task = asyncio.create_task(writer.commit([state("a", "1"), state("b", "1")]))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if task.cancelled():
            with pytest.raises(WriterFenced):
                await writer.commit([state("c", "1")])
        await log.writer("a")
        found = values(await read_all(log, [STATE_0]))

        assert found in ([], [b"1", b"1"])
        await asyncio.sleep(0.05)
        assert found == values(await read_all(log, [STATE_0])), "nothing comes after it"


class TestFencing:
    async def test_newer_fences_older(self, opened: OpenedLog) -> None:
        """Whoever takes an id last has it: the older writer's next commit writes nothing."""
        old = await opened.log.writer("a")
        await old.commit([state("a", "old")])
        new = await (await opened.another()).writer("a")
        with pytest.raises(WriterFenced):
            await old.commit([state("a", "too late")])
        await new.commit([state("a", "new")])
        with pytest.raises(WriterFenced):
            await old.commit([state("a", "still too late")])

        assert [b"old", b"new"] == values(await read_all(opened.log, [STATE_0]))

    async def test_other_ids_are_left_alone(self, log: Log) -> None:
        """Ids are independent, and plain writes need none."""
        one, two = await log.writer("one"), await log.writer("two")
        await one.commit([state("a", "1")])
        await two.commit([state("a", "2")])
        await log.append([state("a", "3")])
        await one.commit([state("a", "4")])

        assert [b"1", b"2", b"3", b"4"] == values(await read_all(log, [STATE_0]))

    async def test_closed_writer(self, log: Log) -> None:
        """A writer that gave its id up writes no more; closing twice is fine."""
        writer = await log.writer("a")
        await writer.close()
        await writer.close()
        with pytest.raises(WriterFenced):
            await writer.commit([state("a", "1")])
