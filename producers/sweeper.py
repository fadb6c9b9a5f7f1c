"""Runs the sweep: writes asks into `refetch`, a few at a time, and stores its position.

These are plain writes, which any process may make: two sweepers merely ask twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from producers.sweep import (
    SWEEP_KEY,
    UNREAD_ASKS_MAX,
    Known,
    Round,
    credit,
    cursor_of,
    following,
    pace,
    tick,
)
from schemas.records import Sweep
from schemas.topics import Topic
from streams.asks import ask_record
from streams.clock import Clock
from streams.log import Log, TopicPartition
from streams.progress import Progress, ProgressWatch, progress_record, unread_asks
from streams.watching import plain_place, up_to_now

WAIT_SECONDS_MAX = 60.0  # of one sleep between two rounds, since the machine may be suspended
SERVED_SECONDS = 0.5  # of one wait for the workers' progress


@dataclass
class Sweeper:
    """`every`: seconds per round, 0 = as fast as it may; `rate`: of all fetches, 0 = unlimited.

    `cursor` is what was written last, for displays.
    """

    log: Log
    clock: Clock
    every: float
    rate: float
    cursor: Sweep | None = None

    async def run(self) -> None:
        """Round after round until cancelled. Raises LogUnavailable, LogFull: run it again."""
        while True:
            await self.round(wait=True)

    async def round(self, *, wait: bool = False) -> Sweep:
        """Finish the current round, else do the next one; with `wait`, once it is due.

        A round ends when its last ask is written. Raises LogUnavailable, LogFull, LogCorrupt.
        """
        cursor = await self._next(wait=wait)
        async with ProgressWatch(self.log) as watch:
            if not cursor.names:  # it begins now
                swept = sum(cut.swept for cut in watch.progress.cuts if cut is not None)
                cursor = replace(cursor, before=swept)
            present = Round(cursor, await self._known())
            await self._note(present.cursor)
            await self._ask(present, watch)
        return await self._note(replace(present.cursor, ended=self._now()))

    async def served(self) -> None:
        """Wait until the workers have decided everything in `refetch`."""
        ends = await self.log.ends(Topic.REFETCH)
        async with ProgressWatch(self.log) as watch:
            while any(
                ends[TopicPartition(Topic.REFETCH, partition)] > (cut.refetch if cut else 0)
                for partition, cut in enumerate(watch.progress.cuts)
            ):
                await watch.look(SERVED_SECONDS)

    async def _next(self, *, wait: bool) -> Sweep:
        """The round to work on. After each wait it checks what other processes have done."""
        while True:
            table = await self.log.table(plain_place(self.log))
            last = cursor_of(table.rows.get(SWEEP_KEY))
            cursor, seconds = following(last, self._now(), self.every)
            if not (wait and seconds):
                return cursor
            self.cursor = last
            await asyncio.sleep(min(seconds, WAIT_SECONDS_MAX))

    async def _known(self) -> Known:
        """Everything that `state` holds now."""
        known = Known()
        places = await self.log.starts(Topic.STATE)
        reader = await self.log.reader(places)
        try:
            async for records in up_to_now(self.log, reader, places):
                for record in records:
                    if record.key is not None:
                        known.put(record.key, record.value)
        finally:
            await reader.close()
        return known

    async def _ask(self, present: Round, watch: ProgressWatch) -> None:
        """Ask until nothing is left, at the pace that is due, as fast as the workers follow."""
        may, before_ms = 0.0, self.clock.now_ms()
        while present.left:
            end = present.cursor.started + self.every
            speed = pace(present.left, end - self.clock.now_ms() / 1000, self.rate)
            if may >= 1:
                room = await self._room(await watch.look())
                asks = present.take(int(may), room)
                if asks:
                    now_ms = self.clock.now_ms()
                    await self.log.append([ask_record(name, ask, now_ms) for name, ask in asks])
                    # After the asks: if we are killed in between they are written again.
                    await self._note(present.cursor)
                    may -= len(asks)
            if present.left:
                await asyncio.sleep(tick(speed))
            now_ms = self.clock.now_ms()
            may, before_ms = credit(may, (now_ms - before_ms) / 1000, speed), now_ms

    async def _room(self, progress: Progress) -> Sequence[int]:
        """How many asks each partition may take.

        Others' asks count, too, so a backfill goes first.
        """
        return [UNREAD_ASKS_MAX - unread for unread in await unread_asks(self.log, progress)]

    async def _note(self, cursor: Sweep) -> Sweep:
        """Store our position."""
        now_ms = self.clock.now_ms()
        self.cursor = replace(cursor, time=now_ms // 1000)
        partition = plain_place(self.log).partition
        of = f"{SWEEP_KEY}:{cursor.round}:{cursor.asked}:{now_ms}"
        await self.log.append([progress_record(partition, SWEEP_KEY, self.cursor, now_ms, of=of)])
        return self.cursor

    def _now(self) -> int:
        return self.clock.now_ms() // 1000
