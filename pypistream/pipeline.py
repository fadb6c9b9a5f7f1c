"""One process with every role but the sinks: produce, process, reconcile, cleaning, hold.

`Pipeline.run` goes on until cancelled; `caught_up` says when a `--once` run has done its work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from processors.metadata import Worker, WorkerSettings
from processors.slots import Slots
from producers.changelog import ChangelogProducer, ProducerSettings
from producers.reconcile import Reconciler
from pypistream.holding import SharedHold
from pypistream.settings import Settings
from schemas.errors import LogFull, Retriable, UpstreamUnavailable
from schemas.records import Config, Reason, Status
from schemas.topics import Topic
from streams.clock import Clock
from streams.log import Log
from streams.progress import read_progress
from upstream.source import NotModified, SerialMap, Upstream

RESTART_SECONDS = 5.0  # a full disk or a busy log is looked at again this often
CLEAN_SECONDS = 10.0  # between two rounds of compaction
MAP_SECONDS = 5.0  # between two tries to get a serial map that upstream did not answer

log_ = structlog.get_logger("pipeline")


@dataclass
class Pipeline:
    """See the module's text. `begin` first."""

    log: Log
    upstream: Upstream
    hold: SharedHold
    clock: Clock
    settings: Settings
    backfill: bool
    producer: ChangelogProducer = field(init=False)
    workers: list[Worker] = field(init=False, default_factory=list)
    reconciler: Reconciler | None = None
    asks_written: bool = False
    _map: SerialMap | None = None
    _head_at_start: int | None = None
    _stumbled: bool = False

    async def begin(self) -> Config:
        """Found or read the log. Raises Retriable, UpstreamRefused: a new log needs upstream."""
        await self.hold.load(self.upstream)
        head = (await read_progress(self.log)).head
        if head is None and self.backfill:
            # A new log starts at the map's own serial: nothing lies between map and journal.
            self._map = await self._serial_map()
        self.producer = ChangelogProducer(
            self.log,
            self.upstream,
            self.clock,
            ProducerSettings(
                poll_seconds=self.settings.poll,
                base=self._map.last_serial if self._map else None,
                wanted=self.settings.filter if self._new_or_filtered(head is None) else None,
                releases=self.settings.releases,
            ),
        )
        config = await self.producer.begin()
        slots = Slots(self.settings.in_flight)
        self.workers = [
            Worker(
                self.log,
                self.upstream,
                slots,
                self.clock,
                WorkerSettings(partition, config, self.settings.settle),
            )
            for partition in range(config.partitions)
        ]
        if self.backfill:
            self.reconciler = Reconciler(self.log, self.clock, config)
        return config

    def _new_or_filtered(self, new: bool) -> bool:
        return new or bool(self.settings.include or self.settings.exclude)

    async def run(self) -> None:
        """Run the roles until cancelled, or until one ends with an error that does not pass."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(restarting(lambda: self.hold.run(self.upstream)))
            tasks.create_task(restarting(self._produce))
            for worker in self.workers:
                tasks.create_task(restarting(worker.run))
            if self.reconciler is not None:
                tasks.create_task(restarting(self._reconcile))
            tasks.create_task(restarting(self._clean))

    async def _produce(self) -> None:
        if self._stumbled:
            await self.producer.begin()
        self._stumbled = True  # whatever ends `run`: the writer is thrown away, never reused
        await self.producer.run()

    async def _reconcile(self) -> None:
        """Ask for everything the map has and we do not."""
        serial_map = self._map or await self._map_reaching_base()
        self._map = None  # 886 000 entries: not kept once the asks are drawn
        if self.reconciler is not None:
            await self.reconciler.run(serial_map, Reason.BACKFILL)
            self.asks_written = True

    async def _map_reaching_base(self) -> SerialMap:
        """A map may be half an hour old: a backfill waits for one that reaches the log's base."""
        while True:
            try:
                serial_map = await self._serial_map()
            except Retriable as error:
                log_.warning("no serial map yet", error=str(error))
            else:
                head = self.producer.head
                if head is None or serial_map.last_serial >= head.base:
                    return serial_map
            await asyncio.sleep(MAP_SECONDS)

    async def _serial_map(self) -> SerialMap:
        answer = await self.upstream.serial_map()
        if isinstance(answer, NotModified):
            raise UpstreamUnavailable("the index answered 304, and no ETag was sent")
        return answer

    async def _clean(self) -> None:
        while True:
            await self.log.clean(self.clock.now_ms())
            await asyncio.sleep(CLEAN_SECONDS)

    # --- how far it is --------------------------------------------------------------------------

    def caught_up(self) -> bool:
        """Whether a `--once` run is done.

        All events up to the head taken at the start are decided, the backfill is closed, and
        nothing is due within `once_wait`.
        """
        if self._head_at_start is None:
            self._head_at_start = self.producer.reached
        if self._head_at_start is None or (self.backfill and not self.asks_written):
            return False
        horizon_ms = self.clock.now_ms() + int(self.settings.once_wait * 1000)
        return all(self._done(worker, self._head_at_start, horizon_ms) for worker in self.workers)

    def _done(self, worker: Worker, head: int, horizon_ms: int) -> bool:
        session, cut = worker.session, worker.cut
        if session is None or cut is None or cut.serial < head:
            return False
        if cut.backfill is not None and not cut.backfill.closed:
            return False
        return session.at_rest() and session.agenda.idle(horizon_ms)

    @property
    def restored(self) -> bool:
        """Whether every worker has read the log: before that nothing is known of it."""
        return all(worker.session is not None for worker in self.workers)

    async def empty(self) -> bool:
        """Whether no name was ever heard of."""
        return not any((await self.log.ends(Topic.STATE)).values())

    def counts(self) -> dict[Status, int]:
        """Names by status over all partitions."""
        total = dict.fromkeys(Status, 0)
        for worker in self.workers:
            for status, count in worker.counts().items():
                total[status] += count
        return total


async def restarting(role: Callable[[], Awaitable[None]]) -> None:
    """Run `role` again after what passes (a busy log, a full disk); any other error ends it."""
    while True:
        try:
            await role()
        except* (Retriable, LogFull) as group:
            log_.warning("waiting", error=str(first_of(group)), seconds=RESTART_SECONDS)
        else:
            return
        await asyncio.sleep(RESTART_SECONDS)


def first_of(error: BaseException) -> BaseException:
    """The first error inside nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
