"""How many changes each minute of the last hour had: counted on, never counted again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from sinks.http.library import PAGE_MAX, Library

MINUTES = 60
MINUTE_SECONDS = 60
PAGES_MAX = 50  # of rows read for one look: 50 000, some 100 ms; the next look goes on from there


class Minutes:
    """Counts of a library's journal."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._serial: int | None = None
        self._log = ""
        self._counts: Counter[int] = Counter()
        self._turn = asyncio.Lock()

    async def look(self, now: float) -> Sequence[int]:
        """Changes in each minute, the last of them the one that `now` (Unix seconds) is in."""
        last = int(now) // MINUTE_SECONDS
        first = last - MINUTES + 1
        async with self._turn:
            await self._count(first)
        return [self._counts[minute] for minute in range(first, last + 1)]

    async def _count(self, first: int) -> None:
        view = self._library.view()
        if view is None:
            return
        if self._serial is None or self._log != view.vector.log_id or self._serial > view.reached:
            self._log = view.vector.log_id
            self._counts.clear()
            self._serial = self._library.serial_at(first * MINUTE_SECONDS)
        for _ in range(PAGES_MAX):
            rows = self._library.changes(self._serial)
            for row in rows:
                self._counts[row.time // MINUTE_SECONDS] += 1
                self._serial = row.serial
            if len(rows) < PAGE_MAX:
                break
            await asyncio.sleep(0)
        for minute in [minute for minute in self._counts if minute < first]:
            del self._counts[minute]
