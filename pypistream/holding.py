"""What upstream's "wait" means for every process: published in `progress`, read back from there."""

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
LOOK_SECONDS = 1.0  # how soon another process learns that it must wait, at the latest


def hold_of(row: Record | None) -> Hold | None:
    """What a row of `progress` says; None = nothing. Pure."""
    if row is None or row.value is None:
        return None
    try:
        return codec.decode(row.value, Hold)
    except LogCorrupt:
        return None  # any process may write there: what is no hold holds nobody


class SharedHold:
    """Writes our own holds, applies those of others. The latest wins, whoever wrote last.

    `leased`, if the rate is shared, is kept alive beside: its signs lie in the same place.
    """

    def __init__(self, log: Log, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._news = asyncio.Event()
        self._told_ms = 0  # until when the log says
        self.present: Hold | None = None  # the latest that is known here
        self.leased: LeasedAssignment | None = None

    def wake(self) -> None:
        """Write and look now: there is something to tell."""
        self._news.set()

    def asked(self, until_unix_seconds: float, reason: str) -> None:
        """Upstream asked this process to wait."""
        hold = Hold(int(until_unix_seconds * 1000), reason)
        if self._is_later(hold):
            self.present = hold
        self._news.set()

    async def load(self, upstream: Upstream) -> None:
        """Apply what the log says: a restart in the middle of a wait must not ask."""
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
        """Seconds until the next one."""
        if self.leased is None:
            await watch.look()
            return LOOK_SECONDS
        await self.leased.sign(self._log, self._clock.now_ms())
        return await self.leased.look(watch)

    async def _publish(self) -> None:
        """Write what is known here if the log says less: two who were told at once both wrote."""
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
