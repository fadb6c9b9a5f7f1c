"""Time that moves only when a test says so."""

from __future__ import annotations

import asyncio
import heapq
import itertools

SETTLE_TURNS = 20  # turns of the loop after which nothing that was woken is still on its way


class FakeClock:
    """Both clocks and `sleep`, for code that takes its time from outside."""

    def __init__(self, wall: float = 1_700_000_000.0) -> None:
        self._now = 0.0
        self.wall_offset = wall
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def monotonic(self) -> float:
        return self._now

    def wall(self) -> float:
        return self.wall_offset + self._now

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._numbers), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Let time pass; every sleeper wakes at its own moment, in order."""
        end = self._now + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, future = heapq.heappop(self._sleepers)
            self._now = max(self._now, at)
            if not future.done():
                future.set_result(None)
            await self._settle()
        self._now = end

    async def _settle(self) -> None:
        for _ in range(SETTLE_TURNS):
            await asyncio.sleep(0)
