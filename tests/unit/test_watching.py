"""Reading up to now, and tables that are kept up to date by one reader."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from schemas.topics import Offset, Topic
from streams.log import LogUnavailable, Outgoing, Reader, Record, Table, TopicPartition
from streams.memory_log import MemoryLog
from streams.watching import TableWatch, plain_place, tables_of, up_to_now

AT = TopicPartition(Topic.PROGRESS, 0)


def row(key: str, value: bytes | None, partition: int = 0) -> Outgoing:
    """A record of a compacted topic."""
    return Outgoing(Topic.PROGRESS, key, value, partition=partition)


class SlowReader:
    """Of a broker: the first read has nothing at hand, and no read has more than two."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.reads = 0
        self.fails = 0
        self.closed = False

    async def read(self, max_records: int, wait_seconds: float) -> list[Record]:
        self.reads += 1
        if self.fails:
            self.fails -= 1
            raise LogUnavailable("no broker answers")
        if self.reads % 2:
            return []
        return await self.reader.read(min(2, max_records), wait_seconds)

    def position(self, at: TopicPartition) -> Offset:
        return self.reader.position(at)

    async def close(self) -> None:
        self.closed = True
        await self.reader.close()


class SlowLog(MemoryLog):
    """One whose readers are `SlowReader`s; counts tables folded."""

    def __init__(self, partitions: int = 1) -> None:
        super().__init__(partitions)
        self.readers: list[SlowReader] = []
        self.tables = 0

    async def reader(  # type: ignore[override]  # a reader all the same
        self, positions: Mapping[TopicPartition, Offset]
    ) -> SlowReader:
        self.readers.append(SlowReader(await super().reader(positions)))
        return self.readers[-1]

    async def table(self, at: TopicPartition) -> Table:
        self.tables += 1
        return await super().table(at)


async def _all(log: SlowLog, reader: Reader, places: Sequence[TopicPartition]) -> list[str]:
    return [str(record.key) async for batch in up_to_now(log, reader, places) for record in batch]


async def test_an_empty_read_is_no_end() -> None:
    """All records come, whatever a single read brings; a second look brings what is new only."""
    log = SlowLog()
    await log.append([row(str(number), b"x") for number in range(7)])
    reader = await log.reader({AT: Offset(0)})

    first = await _all(log, reader, [AT])
    await log.append([row("new", b"x")])
    second = await _all(log, reader, [AT])
    third = await _all(log, reader, [AT])

    assert (first, second, third) == ([str(number) for number in range(7)], ["new"], [])


async def test_what_comes_while_reading_is_read_too() -> None:
    """The record that replaced a compacted one may lie above the end of the beginning."""
    log = SlowLog()
    await log.append([row("a", b"1"), row("b", b"1")])
    reader = await log.reader({AT: Offset(0)})
    seen = []
    async for records in up_to_now(log, reader, [AT]):
        seen += [(record.key, record.value) for record in records]
        if len(seen) == 2:
            await log.append([row("a", b"2")])

    assert seen == [("a", b"1"), ("b", b"1"), ("a", b"2")]


async def test_records_that_never_come_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not an endless wait: whoever asked can say so."""
    log = SlowLog()
    await log.append([row("a", b"1")])
    reader = await log.reader({AT: Offset(0)})

    async def nothing(max_records: int, wait_seconds: float) -> list[Record]:
        await asyncio.sleep(0)
        return []

    monkeypatch.setattr(reader, "read", nothing)
    monkeypatch.setattr("streams.watching.STALL_SECONDS", 0.01)
    with pytest.raises(LogUnavailable, match="do not arrive"):
        await _all(log, reader, [AT])


async def test_a_watch_folds_once_and_reads_on() -> None:
    """The last record per key, tombstones left out; one reader however often it looks."""
    log = SlowLog(2)
    places = [AT, AT._replace(partition=1)]
    await log.append([row("a", b"1"), row("b", b"1"), row("c", b"1", 1)])
    async with TableWatch(log, places) as watch:
        before = {at: sorted(rows) for at, rows in watch.rows.items()}
        await log.append([row("a", None), row("c", b"2", 1)])
        news = await watch.look()
        nothing = await watch.look()

    assert before == {places[0]: ["a", "b"], places[1]: ["c"]}
    assert [(record.key, record.value) for record in news] == [("a", None), ("c", b"2")]
    assert nothing == []
    assert {at: {k: r.value for k, r in rows.items()} for at, rows in watch.rows.items()} == {
        places[0]: {"b": b"1"},
        places[1]: {"c": b"2"},
    }
    assert (log.tables, len(log.readers)) == (2, 1)
    assert log.readers[0].closed


async def test_after_an_error_the_next_look_knows_all_again() -> None:
    """What a failed look had read is not lost: it folds anew, with a new reader."""
    log = SlowLog()
    await log.append([row("a", b"1")])
    async with TableWatch(log, [AT]) as watch:
        await log.append([row("a", b"2"), row("b", b"2"), row("c", b"2")])
        log.readers[0].reads = 1  # the next read brings two, the one after that fails

        original = log.readers[0].read

        async def failing(max_records: int, wait_seconds: float) -> list[Record]:
            found = await original(max_records, wait_seconds)
            log.readers[0].fails = 1
            return found

        log.readers[0].read = failing  # type: ignore[method-assign]  # half of what there is
        with pytest.raises(LogUnavailable):
            await watch.look()
        again = await watch.look()

    assert log.readers[0].closed
    assert {record.key: record.value for record in again} == {"a": b"2", "b": b"2", "c": b"2"}


async def test_a_cancelled_look_loses_nothing() -> None:
    """As after an error."""
    log = SlowLog()
    async with TableWatch(log, [AT]) as watch:
        look = asyncio.create_task(watch.look(60))
        await asyncio.sleep(0.01)
        await log.append([row("a", b"1")])
        look.cancel()
        await asyncio.wait([look])
        news = await watch.look()

    assert [record.key for record in news] == ["a"]


async def test_a_look_waits_for_news() -> None:
    """At most so long, and no longer than it has to."""
    log = MemoryLog()
    async with TableWatch(log, [AT]) as watch:
        look = asyncio.create_task(watch.look(60))
        await asyncio.sleep(0.01)
        await log.append([row("a", b"1")])
        news = await look

    assert [record.key for record in news] == ["a"]


async def test_tables_at_once_raise_as_one_does() -> None:
    """No group of errors: callers handle the log's own."""
    log = MemoryLog()
    await log.close()

    with pytest.raises(LogUnavailable):
        await tables_of(log, [AT, plain_place(log)])
