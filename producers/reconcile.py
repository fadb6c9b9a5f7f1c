"""Compare upstream's serial map with what is known, and ask for the difference.

Backfill is a reconcile from empty, between two markers that say when a partition is complete.

Nothing here fetches a document: asks go into `refetch`, the workers serve them after live events.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from schemas import codec
from schemas.codec import Envelope, dataschema
from schemas.errors import InvalidName
from schemas.filters import kept
from schemas.names import NormalizedName, normalize
from schemas.records import Ask, BackfillMarker, Config, Filter, Reason
from schemas.topics import Topic, partition_of
from streams.clock import Clock
from streams.log import Log, Outgoing, TopicPartition
from streams.progress import read_progress
from streams.states import States
from upstream.source import ProjectSerial, SerialMap

UNREAD_ASKS_MAX = 5_000  # per partition: a backfill of all of PyPI is not put into the log at once
CHUNK_ASKS_MAX = 1_000  # of one append
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
        index = index_of(serial_map.projects, self.config.filter)
        run_id = uuid.uuid4().hex
        partitions = range(self.config.partitions)
        async with asyncio.TaskGroup() as tasks:
            runs = [
                tasks.create_task(self._run_partition(p, index, serial_map, reason, run_id))
                for p in partitions
            ]
        return sum(run.result() for run in runs)

    async def _run_partition(
        self,
        partition: int,
        index: Mapping[NormalizedName, ProjectSerial],
        serial_map: SerialMap,
        reason: Reason,
        run_id: str,
    ) -> int:
        count = self.config.partitions
        own = {n: project for n, project in index.items() if partition_of(n, count) == partition}
        table = await self.log.table(TopicPartition(Topic.STATE, partition))
        todo = plan(own, States(table.rows), serial_map.last_serial, reason)
        del table
        marker = BackfillMarker(
            run_id, serial_map.last_serial, todo.names, todo.known, filter=self.config.filter
        )
        if reason is Reason.BACKFILL:
            await self.log.append([self._marker(marker, partition)])
        for chunk in _chunks(todo.asks):
            await self._room(partition)
            await self.log.append([self._ask(name, ask) for name, ask in chunk])
            self.asked += len(chunk)
        if reason is Reason.BACKFILL:
            closing = BackfillMarker(
                run_id, marker.low, marker.names, marker.known, closing=True, filter=marker.filter
            )
            await self.log.append([self._marker(closing, partition)])
        return len(todo.asks)

    async def _room(self, partition: int) -> None:
        """Wait until the worker has fewer than UNREAD_ASKS_MAX asks ahead of it."""
        at = TopicPartition(Topic.REFETCH, partition)
        while True:
            end = (await self.log.ends(Topic.REFETCH))[at]
            cut = (await read_progress(self.log)).cuts[partition]
            read = cut.refetch if cut else 0
            if end - read + CHUNK_ASKS_MAX <= UNREAD_ASKS_MAX:
                return
            await asyncio.sleep(ROOM_SECONDS)

    def _ask(self, name: NormalizedName, ask: Ask) -> Outgoing:
        return ask_record(name, ask, self.clock.now_ms())

    def _marker(self, marker: BackfillMarker, partition: int) -> Outgoing:
        now_ms = self.clock.now_ms()
        envelope = Envelope(
            id=f"{marker.run}:{partition}:{'close' if marker.closing else 'open'}",
            type=codec.BACKFILL_TYPE,
            subject="",
            time=now_ms / 1000,
            dataschema="backfill.v1.schema.json",
        )
        value = codec.encode(marker)
        return Outgoing(Topic.REFETCH, None, value, codec.headers(envelope), partition)


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


def _chunks(
    asks: Sequence[tuple[NormalizedName, Ask]],
) -> Iterator[Sequence[tuple[NormalizedName, Ask]]]:
    for start in range(0, len(asks), CHUNK_ASKS_MAX):
        yield asks[start : start + CHUNK_ASKS_MAX]
