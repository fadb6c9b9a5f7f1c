"""A log whose storage fails by chance, and at whose writes roles can be caught.

`share` of all writes fail: before the write, or after it with the answer lost. A trap waits for one
write of one writer id: what happens there is the trap's own (see `Catch`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import TypeVar

from schemas.topics import Offset
from streams.log import (
    Closing,
    Log,
    LogUnavailable,
    Outgoing,
    Reader,
    TopicPartition,
    Writer,
)
from tests.support.passing_log import PassingLog

T = TypeVar("T")
FOR_EVER = 1e9


class Catch(Enum):
    """What happens at the write a trap waits for."""

    KILLED_BEFORE = "the role ends, nothing is written"
    KILLED_AFTER = "it is written, and the role ends before it knows"
    REFUSED = "nothing is written, and the role is told so"
    ANSWER_LOST = "it is written, and the role is told that it may not be"
    STALLED = "the role stands still for `seconds`, then writes"


@dataclass
class Trap:
    """`skip` writes of `writer_id` go by before it catches one; `caught` is called then."""

    writer_id: str
    skip: int
    catch: Catch
    caught: Callable[[], object]
    seconds: float = FOR_EVER


class FaultyLog(PassingLog):
    """See the module's text."""

    def __init__(self, inner: Log, rng: Random) -> None:
        super().__init__(inner)
        self.share = 0.0
        self.traps: list[Trap] = []
        self.caught: Counter[Catch] = Counter()
        self.readers_open = 0
        self.readers_most = 0
        self._rng = rng

    async def writer(self, writer_id: str) -> Writer:
        """Take the id."""
        return _FaultyWriter(await self.inner.writer(writer_id), writer_id, self)

    async def reader(self, positions: Mapping[TopicPartition, Offset]) -> Reader:
        """One that is counted until it is closed."""
        reader = _CountedReader(await self.inner.reader(positions), self)
        self.readers_most = max(self.readers_most, self.readers_open)
        return reader

    async def append(self, records: Sequence[Outgoing]) -> Sequence[Offset]:
        """Plain write."""
        return await self.faulty(lambda: self.inner.append(records))

    async def faulty(self, write: Callable[[], Awaitable[T]], writer_id: str = "") -> T:
        """Write, or fail before or after it, or be caught."""
        if trap := self._trap(writer_id):
            return await _caught(trap, write)
        fails = self._rng.random() < self.share
        before = self._rng.random() < 0.5
        if fails and before:
            raise LogUnavailable("failed before the write")
        written = await write()
        if fails:
            raise LogUnavailable("written, but the answer was lost")
        return written

    def _trap(self, writer_id: str) -> Trap | None:
        for trap in self.traps:
            if trap.writer_id == writer_id:
                trap.skip -= 1
                if trap.skip < 0:
                    self.traps.remove(trap)
                    self.caught[trap.catch] += 1
                    return trap
        return None


async def _caught(trap: Trap, write: Callable[[], Awaitable[T]]) -> T:
    if trap.catch is Catch.REFUSED:
        raise LogUnavailable("failed before the write")
    if trap.catch is Catch.ANSWER_LOST:
        await write()
        raise LogUnavailable("written, but the answer was lost")
    if trap.catch is Catch.KILLED_AFTER:
        await write()
    trap.caught()
    await asyncio.sleep(trap.seconds)  # who was killed is cancelled here
    return await write()


class _FaultyWriter:
    def __init__(self, inner: Writer, writer_id: str, log: FaultyLog) -> None:
        self._inner = inner
        self._id = writer_id
        self._log = log

    async def commit(
        self, records: Sequence[Outgoing], closing: Closing | None = None
    ) -> Sequence[Offset]:
        return await self._log.faulty(lambda: self._inner.commit(records, closing), self._id)

    async def close(self) -> None:
        await self._inner.close()


class _CountedReader:
    def __init__(self, inner: Reader, log: FaultyLog) -> None:
        self._inner = inner
        self._log = log
        self._open = True
        log.readers_open += 1
        self.read, self.position = inner.read, inner.position

    async def close(self) -> None:
        if self._open:
            self._open = False
            self._log.readers_open -= 1
        await self._inner.close()
