"""A changelog as `produce` writes it: pages, heads and markers, in any interleaving."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from producers.rows import entry_record, marker_records
from schemas.codec import encode
from schemas.records import Config, EventSource, Head
from schemas.topics import Topic
from streams.log import Log, NextOffsets, Outgoing, TopicPartition
from streams.progress import CONFIG_KEY, HEAD_KEY, progress_record
from upstream.source import JournalRow

LOG_ID = "0d9c7c1e6f0e4b619c8e6c1f3f0f6f35"
BEGIN = 1_700_000_000


class Page(NamedTuple):
    """One transaction: rows, then the head. `late` ones and `ahead` ones count for no head."""

    rows: Sequence[Outgoing] = ()
    head: int | None = None  # None = that of the last row
    marker: bool = False


def row(
    serial: int, name: str, action: str = "new release", version: str | None = "1.0", *,
    late: bool = False, by_index: bool = False,
) -> Outgoing:  # fmt: skip
    """A row that happened `serial` seconds after the beginning."""
    source = EventSource.INDEX if by_index else EventSource.JOURNAL
    given = JournalRow(name, version, BEGIN + serial, action, serial)
    return entry_record(given, 0, late=late, source=source)


def serial_of(record: Outgoing) -> int:
    return int(dict(record.headers)["event-serial"])


class Journal:
    """Holder of the `produce` id on a log of its own."""

    def __init__(self, log: Log, base: int = 0) -> None:
        self.log = log
        self.head = Head(base, base, BEGIN, (0,) * log.partitions)

    async def found(self, log_id: str = LOG_ID) -> None:
        """Config and head."""
        config = Config(log_id, self.log.partitions, 1)
        await self._commit([progress_record(self.log.partitions, CONFIG_KEY, config, 0)], self.head)

    async def write(self, page: Page) -> None:
        """A page with its head."""
        newest = max((serial_of(row) for row in page.rows), default=self.head.serial)
        serial = max(self.head.serial, newest if page.head is None else page.head)
        records = list(page.rows)
        if page.marker:
            none = [0] * self.log.partitions
            records += marker_records(self.head.base, serial, BEGIN * 1000, none)
        await self._commit(records, Head(serial, self.head.base, BEGIN, ()))

    async def rows(self, rows: Iterable[Outgoing]) -> None:
        """A page of rows."""
        await self.write(Page(list(rows)))

    async def _commit(self, records: Sequence[Outgoing], head: Head) -> None:
        writer = await self.log.writer("produce")

        def closing(ends: NextOffsets) -> list[Outgoing]:
            offsets = tuple(
                ends[TopicPartition(Topic.CHANGELOG, partition)]
                for partition in range(self.log.partitions)
            )
            self.head = Head(head.serial, head.base, head.time, offsets)
            value = encode(self.head)
            return [Outgoing(Topic.PROGRESS, HEAD_KEY, value, partition=self.log.partitions)]

        await writer.commit(records, closing)
        await writer.close()
