"""A log that hands everything to another one: what a test's own log differs in, it overrides."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from schemas.topics import Offset, Topic
from streams.log import Changing, Log, Outgoing, Reader, Table, TopicPartition, Writer


class PassingLog:
    """See the module's text."""

    def __init__(self, inner: Log) -> None:
        self.inner = inner

    @property
    def partitions(self) -> int:
        """N."""
        return self.inner.partitions

    async def writer(self, writer_id: str) -> Writer:
        """As the log below, like all of these."""
        return await self.inner.writer(writer_id)

    async def append(self, records: Sequence[Outgoing]) -> Sequence[Offset]:
        return await self.inner.append(records)

    async def reader(self, positions: Mapping[TopicPartition, Offset]) -> Reader:
        return await self.inner.reader(positions)

    async def table(self, at: TopicPartition) -> Table:
        return await self.inner.table(at)

    def ends(self, topic: Topic) -> Coroutine[Any, Any, Mapping[TopicPartition, Offset]]:
        return self.inner.ends(topic)  # asked for at each look: one coroutine less

    async def starts(self, topic: Topic) -> Mapping[TopicPartition, Offset]:
        return await self.inner.starts(topic)

    async def clean(self, now_ms: int) -> int:
        return await self.inner.clean(now_ms)

    async def purge(self, letter: Changing) -> int:
        return await self.inner.purge(letter)

    async def close(self) -> None:
        await self.inner.close()
