"""Upstream's requests to wait, shared among all processes through the topic `progress`."""

from __future__ import annotations

import asyncio

from pypistream.leasing import LeasedAssignment
from schemas import codec
from schemas.errors import LogCorrupt
from schemas.records import Hold
from streams.bell import heard_within
from streams.clock import Clock
from streams.log import Log, Outgoing, Record, TopicPartition
from streams.progress import progress_record
from streams.watching import TableWatch, plain_place
from upstream.source import Upstream

HOLD_KEY = "hold"
LOOK_SECONDS = 1.0  # the longest time until another process learns that it must wait


def hold_of(row: Record | None) -> Hold | None:
    """The hold that a row of `progress` states, None if it states none. Pure."""
    if row is None or row.value is None:
        return None
    try:
        return codec.decode(row.value, Hold)
    except LogCorrupt:
        return None  # any process may write there, so what cannot be decoded is ignored


class SharedHold:
    """Publishes this process's holds and applies those of others: the longest wait wins.

    `leased` is set if the rate is shared: its signs of life lie in `progress`, too, so this loop
    renews them.
    """

    def __init__(self, log: Log, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._news = asyncio.Event()
        self._told_ms = 0  # until when, as far as the log says
        self.present: Hold | None = None  # until when, as far as this process knows
        self.leased: LeasedAssignment | None = None

    def is_on(self) -> bool:
        """Whether upstream has asked for a wait that is not over, as far as this process knows."""
        return self.present is not None and self.present.until_ms > self._clock.now_ms()

    def wake(self) -> None:
        """Publish and look at once instead of at the next round."""
        self._news.set()

    def asked(self, until_unix_seconds: float, reason: str) -> None:
        """Upstream asked this process to wait."""
        hold = Hold(int(until_unix_seconds * 1000), reason)
        if self._is_later(hold):
            self.present = hold
        self._news.set()

    async def load(self, upstream: Upstream) -> None:
        """Apply what the log says, so that a process restarted during a wait goes on waiting."""
        self._apply((await self._log.table(self._at)).rows.get(HOLD_KEY), upstream)

    def _apply(self, row: Record | None, upstream: Upstream) -> None:
        hold = hold_of(row)
        self._told_ms = 0 if hold is None else hold.until_ms
        if hold is not None and self._is_later(hold):
            self.present = hold
            if hold.until_ms > self._clock.now_ms():
                upstream.hold(hold.until_ms / 1000, hold.reason)

    def _is_later(self, hold: Hold) -> bool:
        return self.present is None or hold.until_ms > self.present.until_ms

    async def run(self, upstream: Upstream) -> None:
        """Publish and apply until cancelled; after LogUnavailable it may be run again."""
        async with TableWatch(self._log, [self._at]) as watch:
            if self.leased is not None:
                self.leased.watching()
            while True:
                self._news.clear()
                await self._publish()
                wait = await self._look(watch)
                self._apply(watch.rows[self._at].get(HOLD_KEY), upstream)
                await heard_within(self._news, wait)

    async def _look(self, watch: TableWatch) -> float:
        """Read what is new; seconds until the next look."""
        if self.leased is None:
            await watch.look()
            return LOOK_SECONDS
        await self.leased.sign(self._log, self._clock.now_ms())
        return await self.leased.look(watch)

    async def _publish(self) -> None:
        """Write what is known here if the log has a shorter wait.

        Of two processes that were told to wait at the same moment, the one with the shorter wait
        may have written last.
        """
        hold = self.present
        if hold is not None and hold.until_ms > max(self._told_ms, self._clock.now_ms()):
            await self._log.append([self._record(hold)])
            self._told_ms = hold.until_ms

    @property
    def _at(self) -> TopicPartition:
        return plain_place(self._log)

    def _record(self, hold: Hold) -> Outgoing:
        now_ms, of = self._clock.now_ms(), f"{HOLD_KEY}:{hold.until_ms}"
        return progress_record(self._at.partition, HOLD_KEY, hold, now_ms, of=of)
