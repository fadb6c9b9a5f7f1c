"""A log whose storage fails by chance: before a write, or after it with the answer lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TypeVar

from schemas.topics import Offset
from streams.log import Closing, Log, LogUnavailable, Outgoing, Writer
from tests.support.passing_log import PassingLog

T = TypeVar("T")


class FaultyLog(PassingLog):
    """See the module's text. `share` of the writes fail; 0 = healed."""

    def __init__(self, inner: Log, rng: Random) -> None:
        super().__init__(inner)
        self.share = 0.0
        self._rng = rng

    async def writer(self, writer_id: str) -> Writer:
        """Take the id."""
        return _FaultyWriter(await self.inner.writer(writer_id), self.faulty)

    async def append(self, records: Sequence[Outgoing]) -> Sequence[Offset]:
        """Plain write."""
        return await self.faulty(lambda: self.inner.append(records))

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
