"""Compare upstream's serial map with what is known, and ask for the difference.

Backfill is a reconcile from empty, between two markers that say when a partition is complete.

Nothing here fetches a document: asks go into `refetch`, the workers serve them after live events.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from schemas import codec
from schemas.codec import Envelope, dataschema
from schemas.errors import InvalidName
from schemas.filters import kept
from schemas.names import NormalizedName, normalize
from schemas.records import Ask, BackfillMarker, Config, Filter, Reason
from schemas.topics import Topic, partition_of
from streams.clock import Clock
from streams.log import Log, Outgoing, TopicPartition
from streams.progress import Progress, ProgressWatch
from streams.states import States
from upstream.source import ProjectSerial, SerialMap

UNREAD_ASKS_MAX = 5_000  # per partition: a backfill of all of PyPI is not put into the log at once
CHUNK_ASKS_MAX = 1_000  # of one append, per partition
ROOM_SECONDS = 0.2  # how often to look whether the workers have read on


class Plan(NamedTuple):
    """One partition's difference: asks in the order they are to be served.

    `names` is how many names the map has here; `known` of them need no ask.
    """

    asks: Sequence[tuple[NormalizedName, Ask]]
    names: int
    known: int


def index_of(
    projects: Iterable[ProjectSerial], rule: Filter
) -> dict[NormalizedName, ProjectSerial]:
    """The map by normalised name. Of two spellings of one name the higher serial counts."""
    index: dict[NormalizedName, ProjectSerial] = {}
    for project in projects:
        try:
            name = normalize(project.name)
        except InvalidName:
            continue  # the index itself refuses such names today; nothing could be asked for it
        if kept(name, rule) and (name not in index or index[name].serial < project.serial):
            index[name] = project
    return index


def plan(
    index: Mapping[NormalizedName, ProjectSerial], states: States, map_serial: int, reason: Reason
) -> Plan:
    """An ask for each name that is unknown or whose map serial is above what is known.

    And a check for each that is published here and not in a map as new as its event, and the map's
    word for each that it settles. Newest serial first.
    """
    asks: list[tuple[NormalizedName, Ask]] = []
    known = 0
    for name, project in index.items():
        state = states.get(name)
        ask = Ask(project.name, reason, project.serial, map_serial)
        if state is None or project.serial > max(state.event, state.body):
            asks.append((name, ask))
            continue
        known += 1
        if state.settled_by_map(project.serial, map_serial):
            asks.append((name, ask))
    for name, state in states.items():
        if name not in index and state.published and map_serial >= state.event:
            gone = Ask(state.name, reason, state.event, map_serial, gone=True)
            asks.append((name, gone))
    asks.sort(key=lambda pair: pair[1].serial, reverse=True)
    return Plan(asks, len(index), known)


@dataclass
class Reconciler:
    """Writes the asks of one run. Several may be at work at once; `asked` counts for displays."""

    log: Log
    clock: Clock
    config: Config
    asked: int = 0

    async def run(self, serial_map: SerialMap, reason: Reason) -> int:
        """Ask for the difference to `serial_map`; a backfill is framed by markers. How many asks.

        With reason BACKFILL the caller has a map whose serial reaches the log's base.
        """
        return await self.ask(await self.plans(serial_map, reason), serial_map, reason)

    async def plans(self, serial_map: SerialMap, reason: Reason) -> list[Plan]:
        """The difference per partition, one after the other: one partition's table at a time."""
        own: list[dict[NormalizedName, ProjectSerial]] = [{} for _ in range(self.config.partitions)]
        for name, project in index_of(serial_map.projects, self.config.filter).items():
            own[partition_of(name, self.config.partitions)][name] = project
        plans: list[Plan] = []
        for partition, index in enumerate(own):
            table = await self.log.table(TopicPartition(Topic.STATE, partition))
            plans.append(plan(index, States(table.rows), serial_map.last_serial, reason))
            del table
        return plans

    async def ask(self, plans: Sequence[Plan], serial_map: SerialMap, reason: Reason) -> int:
        """Write what `plans` ask for as fast as the workers read; how many asks.

        Plain writes, which any process may do beside any other: of two asks for a name the workers
        serve the second without a fetch, and each run's markers prove that run alone.
        """
        run = BackfillMarker(uuid.uuid4().hex, serial_map.last_serial, 0, filter=self.config.filter)
        open_ = [_Asking(partition, todo) for partition, todo in enumerate(plans)]
        if reason is Reason.BACKFILL:
            await self.log.append([self._marker(run, each, closing=False) for each in open_])
        async with ProgressWatch(self.log) as watch:
            while open_:
                written = await self._write(open_, await watch.look())
                done = [each for each in open_ if not each.left]
                if done and reason is Reason.BACKFILL:
                    await self.log.append([self._marker(run, each, closing=True) for each in done])
                open_ = [each for each in open_ if each.left]
                if open_ and not written:
                    await asyncio.sleep(ROOM_SECONDS)
        return sum(len(todo.asks) for todo in plans)

    async def _write(self, open_: Sequence[_Asking], progress: Progress) -> int:
        """A chunk of each partition whose worker has room for it; how many asks."""
        ends = await self.log.ends(Topic.REFETCH)
        records: list[Outgoing] = []
        for each in open_:
            cut = progress.cuts[each.partition]
            unread = ends[TopicPartition(Topic.REFETCH, each.partition)] - (
                cut.refetch if cut else 0
            )
            if unread + CHUNK_ASKS_MAX <= UNREAD_ASKS_MAX:
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
    taken: int = 0

    @property
    def left(self) -> int:
        """Asks not taken yet."""
        return len(self.plan.asks) - self.taken

    def take(self) -> Sequence[tuple[NormalizedName, Ask]]:
        """The next chunk."""
        start, self.taken = self.taken, min(len(self.plan.asks), self.taken + CHUNK_ASKS_MAX)
        return self.plan.asks[start : self.taken]


def ask_record(name: NormalizedName, ask: Ask, now_ms: int) -> Outgoing:
    """A record of `refetch`: plain writes, any process may ask."""
    envelope = Envelope(
        id=f"{name}:{ask.serial}:{now_ms}",
        type=f"pypistream.ask.{ask.reason.value}",
        subject=name,
        time=now_ms / 1000,
        dataschema=dataschema(Topic.REFETCH),
    )
    return Outgoing(Topic.REFETCH, name, codec.encode(ask), codec.headers(envelope))
