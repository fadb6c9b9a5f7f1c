"""Reads and prepares the next batches of a feed while the sink works on the present one.

Usually this process does that itself. Far behind the log other processes help (`Elsewhere`): one
Python process makes rows on one core only. They are merely faster: whatever they cannot do is done
here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import structlog

from schemas.records import Config
from sinks.reading import CutReader
from sinks.sink import Portable, Positions, Preparing, Sink
from streams.log import Log, Record

# Two processes take 0.6 s of CPU to start; records of 10 000 projects are 3 s of work.
FAR_RECORDS_MIN = 30_000

log_ = structlog.get_logger("sinks.ahead")


class Next(NamedTuple):
    """The contents of a batch: `records`, or what other processes made of `number` of them."""

    records: Sequence[Record]
    positions: Positions
    ready: object
    number: int


class Made(NamedTuple):
    """What other processes made of `number` records of some partitions, for `Portable.unpacked`.

    The records lie from `before` to `after`, which name the same partitions.
    """

    before: Positions
    after: Positions
    number: int
    data: bytes


class HelpersGone(Exception):
    """The other processes ended before their work did."""


class Elsewhere(Protocol):
    """Other processes that read the log and make batches ready.

    Order     Each partition's records come in order and without a gap; partitions in any order.
    Bounded   They are never more than a few batches ahead.
    Errors    What reading the log raises there is raised here; HelpersGone if they just ended.
    """

    async def begin(self, config: Config, due: Positions, positions: Positions) -> None:
        """Begin with everything from `positions` to `due`. Raises HelpersGone."""
        ...

    async def following(self) -> Made | None:
        """The batch that is ready first; None once all is done."""
        ...

    async def end(self) -> None:
        """End the processes. Idempotent; never raises."""
        ...

    async def forget(self) -> None:
        """Remove the files that were made; the caller has stopped taking them in."""
        ...


class Ahead:
    """Returns what follows, batch by batch. Not for use by several tasks at once.

    `elsewhere`: who helps, for a sink that is `Portable`.
    """

    def __init__(self, log: Log, sink: Sink) -> None:
        self.elsewhere: Elsewhere | None = None
        self._reader = CutReader(log)
        self._sink = sink
        self._helped = False  # other processes are at work
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"for-{sink.name}")

    async def begin(self, config: Config, due: Positions, positions: Positions) -> None:
        """Start helpers if they pay for so many records."""
        behind = sum(max(place - positions[at], 0) for at, place in due.items())
        if self.elsewhere is None or behind < FAR_RECORDS_MIN:
            return
        try:
            await self.elsewhere.begin(config, due, positions)
            self._helped = True
        except HelpersGone as error:
            await self._alone(error)

    async def following(self, config: Config, due: Positions, positions: Positions) -> Next | None:
        """The next batch before `due`; None if `positions` is there.

        Raises as `CutReader.piece`.
        """
        helped = await self._from_elsewhere(positions) if self._helped else None
        return helped or await self.read_here(config, due, positions)

    async def read_here(self, config: Config, due: Positions, positions: Positions) -> Next | None:
        """The next batch with the records themselves."""
        piece = await self._reader.piece(due, positions)
        if piece is None:
            return None
        ready = None
        if isinstance(self._sink, Preparing):
            work = self._thread.submit(self._sink.prepared, piece.records, config)
            ready = await asyncio.wrap_future(work)
        return Next(piece.records, piece.positions, ready, len(piece.records))

    async def start_afresh(self) -> None:
        """Forget everything prepared: what comes next need not follow it."""
        await self._end_help()
        if self.elsewhere is not None:
            await self.elsewhere.forget()
        await self._reader.close()

    async def close(self) -> None:
        """Release everything."""
        await self.start_afresh()
        self._thread.shutdown()

    async def _from_elsewhere(self, positions: Positions) -> Next | None:
        """The next batch of the helpers; None = they have no more."""
        assert self.elsewhere is not None
        assert isinstance(self._sink, Portable)
        try:
            made = await self.elsewhere.following()
        except HelpersGone as error:
            await self._alone(error)
            return None
        if made is None:
            self._helped = False
            return None
        assert all(positions[at] == place for at, place in made.before.items())
        ready = await asyncio.wrap_future(self._thread.submit(self._sink.unpacked, made.data))
        return Next([], {**positions, **made.after}, ready, made.number)

    async def _alone(self, error: HelpersGone) -> None:
        log_.warning("a sink goes on without help", sink=self._sink.name, why=str(error))
        await self._end_help()

    async def _end_help(self) -> None:
        self._helped = False
        if self.elsewhere is not None:
            await self.elsewhere.end()
