"""A log whose storage fails by chance: before a write, or after it with the answer lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import TypeVar

from schemas.topics import Offset, Topic
from streams.log import (
    Closing,
    Log,
    LogUnavailable,
    Outgoing,
    Reader,
    Table,
    TopicPartition,
    Writer,
)

T = TypeVar("T")


class FaultyLog:
    """See the module's text. `share` of the writes fail; 0 = healed."""

    def __init__(self, inner: Log, rng: Random) -> None:
        self.inner = inner
        self.share = 0.0
        self._rng = rng

    @property
    def partitions(self) -> int:
        """N."""
        return self.inner.partitions

    async def writer(self, writer_id: str) -> Writer:
        """Take the id."""
        return _FaultyWriter(await self.inner.writer(writer_id), self.faulty)

    async def append(self, records: Sequence[Outgoing]) -> Sequence[Offset]:
        """Plain write."""
        return await self.faulty(lambda: self.inner.append(records))

    async def reader(self, positions: Mapping[TopicPartition, Offset]) -> Reader:
        """As the log below."""
        return await self.inner.reader(positions)

    async def table(self, at: TopicPartition) -> Table:
        """As the log below."""
        return await self.inner.table(at)

    async def ends(self, topic: Topic) -> Mapping[TopicPartition, Offset]:
        """As the log below."""
        return await self.inner.ends(topic)

    async def starts(self, topic: Topic) -> Mapping[TopicPartition, Offset]:
        """As the log below."""
        return await self.inner.starts(topic)

    async def clean(self, now_ms: int) -> int:
        """As the log below."""
        return await self.inner.clean(now_ms)

    async def close(self) -> None:
        """As the log below."""
        await self.inner.close()

    async def faulty(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write, or fail before or after it."""
        fails = self._rng.random() < self.share
        before = self._rng.random() < 0.5
        if fails and before:
            raise LogUnavailable("failed before the write")
        written = await write()
        if fails:
            raise LogUnavailable("written, but the answer was lost")
        return written


class _FaultyWriter:
    def __init__(self, inner: Writer, faulty: Callable[..., Awaitable[Sequence[Offset]]]) -> None:
        self._inner = inner
        self._faulty = faulty

    async def commit(
        self, records: Sequence[Outgoing], closing: Closing | None = None
    ) -> Sequence[Offset]:
        return await self._faulty(lambda: self._inner.commit(records, closing))

    async def close(self) -> None:
        await self._inner.close()
