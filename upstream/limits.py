"""Pace, hold and memory: when a request may be sent, and how many bytes may be read at once.

There are two gates. `permit` lets requests for documents through no faster than the rate.
`before_send`, right before the wire, spaces the requests themselves, so that permits kept for a
while cause no burst. It is the only gate for journal and index, and permits wait one turn for it:
so these two go first, but cannot take all of it. Both gates are shut during a hold.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, Self

from schemas.errors import UpstreamUnavailable

# Requests leave evenly but arrive a little unevenly (a new connection, a busy loop). At 4 % below
# the rate, a window of 10 s tolerates 400 ms of that before it has one request too many. (At 2 %,
# with five programs on two cores, windows with 99 % of the rate were seen.)
RATE_HEADROOM = 0.96
# A turn that is a little late (a busy loop) does not delay those after it: at 20 per second 10 ms
# each would cost a sixth. Delays beyond this, or beyond a turn, are lost: no burst is longer than
# 2.
LATE_SECONDS_MAX = 0.1
HOLD_SECONDS_MAX = 3_600.0  # whatever upstream or another process says
HOLD_MARGIN_SECONDS = 0.1  # upstream's clock and ours run apart
BARRED_LOOK_SECONDS = 0.1  # how soon a process that may fetch again notices that it may

RateNow = Callable[[], float | None]
"""Requests per second at this moment: 0 = unlimited, None = documents may not be asked for."""


class Clock(Protocol):
    """Time, passed in so that tests need not wait for it."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def wall(self) -> float:
        """Unix seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def wall(self) -> float:
        """Unix seconds."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class Gate:
    """One process's share of the rate, and the hold. Belongs to one event loop."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self._clock = clock
        self._rate_now: RateNow = lambda: rate
        self._permit_at = 0.0  # monotonic: the next permit not before
        self._send_at = 0.0  # monotonic: the next request not before
        self._patience_until = (
            0.0  # monotonic: until then the first in the queue lets others go first
        )
        self._hold_until = 0.0  # monotonic
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._closed = False

    def set_rate(self, rate: float) -> None:
        """Set this process's share of the rate, from the next permit on; 0 = unlimited."""
        self._rate_now = lambda: rate

    def follow(self, rate_now: RateNow) -> None:
        """Ask for the rate at every turn from now on: several processes share it."""
        self._rate_now = rate_now

    @property
    def barred(self) -> bool:
        """Whether no document may be asked for now, whatever the pace."""
        return self._rate_now() is None

    def hold(self, until_unix_seconds: float) -> float:
        """Shut both gates until then (the latest wins, an hour at most); returns until when."""
        # By the monotonic clock: setting the wall clock must neither end nor prolong a hold.
        seconds = min(until_unix_seconds - self._clock.wall(), HOLD_SECONDS_MAX)
        self._hold_until = max(
            self._hold_until, self._clock.monotonic() + seconds + HOLD_MARGIN_SECONDS
        )
        return self._clock.wall() + self.held_seconds()

    def held_seconds(self) -> float:
        """How long the hold still lasts; 0.0 if none is on."""
        return max(0.0, self._hold_until - self._clock.monotonic())

    async def permit(self) -> None:
        """Wait for one permit. Raises UpstreamUnavailable when closed."""
        if self._closed:
            raise UpstreamUnavailable("the upstream client is closed")
        now = self._clock.monotonic()
        if not self._waiting:
            if max(self._permit_at, self._send_at, self._hold_until) <= now and not self.barred:
                self._grant()
                return
            self._patience_until = max(self._permit_at, now) + self._interval()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._grant_in_turn())
        await future

    async def before_send(self, *, control: bool = False) -> None:
        """Wait until this request may be sent now. `control`: the journal or the index."""
        while True:
            while not control and self.barred:
                await self._clock.sleep(BARRED_LOOK_SECONDS)
            now = self._clock.monotonic()
            due = max(self._send_at, self._hold_until)
            self._send_at = self._after(due, now)
            if due > now:
                await self._clock.sleep(due - now)
            if self.open_to(control=control):  # nobody came before us while we slept
                return

    def open_to(self, *, control: bool) -> bool:
        """Whether a request may go out now, as far as holds and bars are concerned."""
        held = self._hold_until > self._clock.monotonic()
        return not held and (control or not self.barred)

    async def close(self) -> None:
        """Refuse everybody who waits, now and later. Idempotent."""
        self._closed = True
        for future in self._waiting:
            if not future.done():
                future.set_exception(UpstreamUnavailable("the upstream client is closed"))
        self._waiting.clear()
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])

    def _permit_due(self) -> float:
        # Not before the sending gate is free either, where the request would only wait; but at most
        # one turn later: a journal polled at the whole rate must leave something to documents.
        return max(self._permit_at, min(self._send_at, self._patience_until), self._hold_until)

    def _grant(self) -> None:
        self._permit_at = self._after(self._permit_due(), self._clock.monotonic())
        self._patience_until = self._permit_at + self._interval()

    async def _grant_in_turn(self) -> None:
        while self._waiting:
            wait = self._permit_due() - self._clock.monotonic()
            if self.barred:
                wait = max(wait, BARRED_LOOK_SECONDS)
            if wait > 0:
                await self._clock.sleep(wait)
                continue  # the hold may have been prolonged meanwhile
            future = self._waiting.popleft()
            if not future.done():  # the waiter may have been cancelled
                self._grant()
                future.set_result(None)

    def _after(self, due: float, now: float) -> float:
        """When the turn after one that is due then comes."""
        interval = self._interval()
        late = now - due
        return (due if late < min(interval, LATE_SECONDS_MAX) else now) + interval

    def _interval(self) -> float:
        """Seconds between two requests at the present rate; none while only control may ask."""
        rate = self._rate_now()
        return 1.0 / (rate * RATE_HEADROOM) if rate else 0.0


class ByteBudget:
    """A budget of bytes for all bodies that are being read.

    The oldest reader may always go on, beyond the budget if necessary: so nobody waits for ever,
    and the total never exceeds the budget plus one body.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._used = 0
        self._leases: dict[ByteLease, None] = {}  # in order of their first byte
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def used(self) -> int:
        """Bytes reserved now."""
        return self._used

    def lease(self) -> ByteLease:
        """For one body: `with budget.lease() as lease`, then `await lease.take(n)` as it grows."""
        return ByteLease(self)

    async def _take(self, lease: ByteLease, count: int) -> None:
        self._leases.setdefault(lease)
        while self._used + count > self._bytes_max and next(iter(self._leases)) is not lease:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
        self._used += count

    def _give_back(self, lease: ByteLease, count: int) -> None:
        self._used -= count
        self._leases.pop(lease, None)
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


class ByteLease:
    """What one body holds of the budget."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._held = 0

    async def take(self, count: int) -> None:
        """Reserve `count` more bytes, waiting while others hold too many."""
        await self._budget._take(self, count)  # noqa: SLF001 (two halves of one thing)
        self._held += count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._budget._give_back(self, self._held)  # noqa: SLF001
        self._held = 0


OnHold = Callable[[float, str], None]
"""Called when upstream asks us to wait: until when (Unix seconds), and why."""
