"""Reads topics up to their present end, and keeps compacted partitions folded.

On Kafka a reader is a client of its own, which has to connect first: to open one per look is
expensive, and an empty read does not mean the end. So readers are kept, and their positions
compared with the ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from typing import Self

from schemas.topics import Topic
from streams.log import Log, LogUnavailable, Reader, Record, Table, TopicPartition

READ_RECORDS_MAX = 5_000  # of one batch of small records; a busy worker writes 20 cuts a second
READ_WAIT_SECONDS = 0.5  # of one read; what lies below an end has been committed
STALL_SECONDS = 30.0  # without a record or any movement of a position, though there is more


async def up_to_now(
    log: Log,
    reader: Reader,
    places: Collection[TopicPartition],
    batch_records_max: int = READ_RECORDS_MAX,
) -> AsyncIterator[list[Record]]:
    """Everything committed up to now in `places`, and the reader's other places, too.

    It is done when the reader stands at ends that were asked for after the last batch. The ends of
    the beginning would not do for a fold: a record below them may be compacted away meanwhile, and
    the one that replaced it lies above. Raises LogUnavailable, LogCorrupt.
    """
    while missing := await _missing(log, reader, places):
        async for records in up_to(reader, missing, batch_records_max):
            yield records


async def up_to(
    reader: Reader, ends: Mapping[TopicPartition, int], batch_records_max: int
) -> AsyncGenerator[list[Record], None]:
    """Records, none of them an empty list, until the reader stands at or beyond all of `ends`.

    Later records may be among them. Everything before `ends` must be committed. Raises
    LogUnavailable, LogCorrupt.
    """
    loop = asyncio.get_running_loop()
    patience = loop.time() + STALL_SECONDS
    while missing := [at for at, end in ends.items() if reader.position(at) < end]:
        before = [reader.position(at) for at in missing]
        records = await reader.read(batch_records_max, READ_WAIT_SECONDS)
        if records:
            yield records
        if records or before != [reader.position(at) for at in missing]:
            patience = loop.time() + STALL_SECONDS
        elif loop.time() > patience:
            raise LogUnavailable("records below the log's ends do not arrive")


async def _missing(
    log: Log, reader: Reader, places: Collection[TopicPartition]
) -> dict[TopicPartition, int]:
    """The ends that the reader has not reached."""
    missing: dict[TopicPartition, int] = {}
    for topic in {at.topic for at in places}:
        ends = await log.ends(topic)
        missing.update({at: ends[at] for at in places if at.topic is topic})
    return {at: end for at, end in missing.items() if reader.position(at) < end}


class TableWatch:
    """Compacted partitions folded, then followed by one reader; used as `async with`.

    After an error or a cancel the next look folds anew. Raises LogUnavailable, LogCorrupt.
    """

    def __init__(self, log: Log, places: Collection[TopicPartition]) -> None:
        self._log = log
        self._reader: Reader | None = None
        self._rows: dict[TopicPartition, dict[str, Record]] = {at: {} for at in places}

    async def __aenter__(self) -> Self:
        self._reader = await self._fold()
        return self

    async def __aexit__(self, *raised: object) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()

    @property
    def rows(self) -> Mapping[TopicPartition, Mapping[str, Record]]:
        """The last record per key as of the last look, tombstones left out."""
        return self._rows

    async def look(self, wait_seconds: float = 0.0) -> Sequence[Record]:
        """Read everything committed up to now; the new records, in the order of each partition.

        If there is nothing new it waits at most so many seconds. After an error known records come
        again.
        """
        reader, self._reader = self._reader, None  # until this look is complete
        if reader is None:
            self._reader = await self._fold()
            return [record for rows in self._rows.values() for record in rows.values()]
        news: list[Record] = []
        try:
            async for records in up_to_now(self._log, reader, self._rows):
                news += records
            if not news and wait_seconds > 0:
                news = await reader.read(READ_RECORDS_MAX, wait_seconds)
        except BaseException:
            await reader.close()
            raise
        for record in news:
            self._apply(record)
        self._reader = reader
        return news

    async def _fold(self) -> Reader:
        tables = await tables_of(self._log, self._rows)
        reader = await self._log.reader({at: table.next_offset for at, table in tables.items()})
        self._rows = {at: dict(table.rows) for at, table in tables.items()}
        return reader

    def _apply(self, record: Record) -> None:
        rows = self._rows[TopicPartition(record.topic, record.partition)]
        key = record.key or ""  # never without one: the topic is compacted
        if record.value is None:
            rows.pop(key, None)
        else:
            rows[key] = record


async def tables_of(log: Log, places: Collection[TopicPartition]) -> dict[TopicPartition, Table]:
    """Fold small compacted partitions, all at once: each may take a connection and an answer."""
    wanted = list(places)
    found = await asyncio.gather(*(log.table(at) for at in wanted), return_exceptions=True)
    tables: dict[TopicPartition, Table] = {}
    for at, table in zip(wanted, found, strict=True):
        if isinstance(table, BaseException):
            raise table  # the first error once all have ended, as if only one had been read
        tables[at] = table
    return tables


def plain_place(log: Log) -> TopicPartition:
    """The partition of `progress` for plain writes of any process: holds and requests."""
    return TopicPartition(Topic.PROGRESS, log.partitions + 1)
