"""Compare upstream's serial map with what is known, and ask for the difference.

Backfill is a reconcile from empty, between two markers that say when a partition is complete.

Nothing here fetches a document: asks go into `refetch`, and workers serve them after live events.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from msgspec.structs import replace

from producers.difference import Difference, Plan, Scope, ask_for
from schemas import codec
from schemas.codec import Envelope
from schemas.names import NormalizedName
from schemas.records import Ask, BackfillMarker, Config, Reason
from schemas.topics import Topic
from streams.asks import ask_record
from streams.clock import Clock
from streams.log import Log, Outgoing
from streams.progress import Progress, ProgressWatch, unread_asks
from streams.watching import up_to_now
from upstream.source import SerialMap

T = TypeVar("T")

UNREAD_ASKS_MAX = 5_000  # per partition: a backfill of PyPI is not written into the log all at once
CHUNK_ASKS_MAX = 1_000  # of one append, per partition
IN_THREAD_NAMES = 20_000  # about 50 ms of work: more would delay the rest of this process
ROOM_SECONDS = 0.2  # how often to look whether the workers have read on


@dataclass
class Reconciler:
    """Writes the asks of one run; several runs may go on at once. `asked` counts, for displays."""

    log: Log
    clock: Clock
    config: Config
    asked: int = 0

    async def run(self, serial_map: SerialMap, reason: Reason) -> int:
        """Ask for the difference to `serial_map`, a backfill between markers; how many asks.

        With reason BACKFILL the map's serial must reach the log's base.
        """
        scope = Scope(reason)
        return await self.ask(await self.plans(serial_map, scope), serial_map.last_serial, scope)

    async def plans(self, serial_map: SerialMap, scope: Scope) -> list[Plan]:
        """The difference per partition. Raises LogUnavailable, LogCorrupt."""
        found = await difference(self.log, self.config, serial_map, scope)
        return await made(found.plans, len(serial_map.projects))

    async def ask(self, plans: Sequence[Plan], map_serial: int, scope: Scope) -> int:
        """Write what `plans` ask for as fast as the workers read; the number of asks.

        These are plain writes, which any process may make: of two asks for a name the second is
        served without a fetch, and a run's markers count for that run only.
        """
        rule = self.config.filter if scope.rule is None else scope.rule
        run = BackfillMarker(
            uuid.uuid4().hex, map_serial, 0, filter=rule, changed_since=scope.changed_since
        )
        framed = scope.reason is Reason.BACKFILL
        open_ = [_Asking(at, todo, scope.reason, map_serial) for at, todo in enumerate(plans)]
        if framed:
            await self.log.append([self._marker(run, each, closing=False) for each in open_])
        async with ProgressWatch(self.log) as watch:
            while open_:
                written = await self._write(open_, await watch.look())
                done = [each for each in open_ if not each.left]
                if done and framed:
                    await self.log.append([self._marker(run, each, closing=True) for each in done])
                open_ = [each for each in open_ if each.left]
                if open_ and not written:
                    await asyncio.sleep(ROOM_SECONDS)
        return sum(len(todo.wanted) for todo in plans)

    async def _write(self, open_: Sequence[_Asking], progress: Progress) -> int:
        """A chunk of each partition whose worker has room for it; how many asks."""
        unread = await unread_asks(self.log, progress)
        records: list[Outgoing] = []
        for each in open_:
            if unread[each.partition] + CHUNK_ASKS_MAX <= UNREAD_ASKS_MAX:
                now_ms = self.clock.now_ms()
                records += [ask_record(name, ask, now_ms) for name, ask in each.take()]
        if records:
            await self.log.append(records)
        self.asked += len(records)
        return len(records)

    def _marker(self, run: BackfillMarker, of: _Asking, *, closing: bool) -> Outgoing:
        now_ms = self.clock.now_ms()
        marker = replace(run, names=of.plan.names, known=of.plan.known, closing=closing)
        envelope = Envelope(
            id=f"{marker.run}:{of.partition}:{'close' if closing else 'open'}",
            type=codec.BACKFILL_TYPE,
            subject="",
            time=now_ms / 1000,
            dataschema="backfill.v1.schema.json",
        )
        value = codec.encode(marker)
        return Outgoing(Topic.REFETCH, None, value, codec.headers(envelope), of.partition)


@dataclass
class _Asking:
    """A partition's plan and how many of its asks were taken out."""

    partition: int
    plan: Plan
    reason: Reason
    map_serial: int
    taken: int = 0

    @property
    def left(self) -> int:
        """Asks not taken yet."""
        return len(self.plan.wanted) - self.taken

    def take(self) -> Sequence[tuple[NormalizedName, Ask]]:
        """The next chunk."""
        start, self.taken = self.taken, min(len(self.plan.wanted), self.taken + CHUNK_ASKS_MAX)
        chunk = self.plan.wanted[start : self.taken]
        return [ask_for(wanted, self.reason, self.map_serial) for wanted in chunk]


async def made(make: Callable[[], T], names: int) -> T:
    """The result of `make`, called in a thread if `names` are so many that it takes long."""
    return await asyncio.to_thread(make) if names >= IN_THREAD_NAMES else make()


async def difference(log: Log, config: Config, serial_map: SerialMap, scope: Scope) -> Difference:
    """The map against all states. Raises LogUnavailable, LogCorrupt.

    States are read as a stream: a table of 900 000 of them would take half a gigabyte.
    """
    names, own, partitions = len(serial_map.projects), config.filter, config.partitions
    found = await made(lambda: Difference(serial_map, own, partitions, scope), names)
    places = await log.starts(Topic.STATE)
    reader = await log.reader(places)
    try:
        async for records in up_to_now(log, reader, places):
            for record in records:
                found.put(record.partition, record.key or "", record.value)
            await asyncio.sleep(0)  # other tasks wait for one batch at most
    finally:
        await reader.close()
    return found
