"""One process with every role but the sinks: produce, process, reconcile, cleaning, hold.

`Pipeline.run` goes on until cancelled; `caught_up` says when a `--once` run has done its work. On
Kafka other processes may work on some of the partitions: `assignment` says which are ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from processors.metadata import Worker
from processors.slots import Slots
from producers.changelog import ChangelogProducer
from producers.reconcile import Reconciler
from pypistream.holding import SharedHold
from pypistream.restarts import supervised
from pypistream.run.processing import Means, Processing
from pypistream.run.producing import Producing, producer_settings
from pypistream.run.sweeping import sweeping
from pypistream.settings import Settings
from schemas.errors import Retriable, UpstreamUnavailable
from schemas.records import Config, Cut, Reason, Status
from schemas.topics import Topic
from streams.assignment import Assignment, Everything
from streams.clock import Clock
from streams.log import Log
from streams.progress import Progress, ProgressWatch, read_progress
from upstream.source import NotModified, SerialMap, Upstream

CLEAN_SECONDS = 10.0  # between two rounds of compaction
MAP_SECONDS = 5.0  # between two attempts to get the serial map
PROGRESS_SECONDS = 1.0  # how soon the progress of other processes is seen

log_ = structlog.get_logger("pipeline")


@dataclass
class Pipeline:
    """See the module's docstring. Call `begin` first."""

    log: Log
    upstream: Upstream
    hold: SharedHold
    clock: Clock
    settings: Settings
    backfill: bool
    assignment: Assignment | None = None  # None = all partitions are ours
    on_hopeless: Callable[[], object] = bool  # see Processing
    sweeps: bool = True
    producer: ChangelogProducer = field(init=False)
    processing: Processing = field(init=False)
    reconciler: Reconciler | None = None
    asks_written: bool = False
    _producing: Producing = field(init=False)
    _progress: Progress | None = None  # of all partitions, kept where others work on some
    _map: SerialMap | None = None
    _head_at_start: int | None = None

    async def begin(self) -> Config:
        """Found or read the log. Raises Retriable: a new log needs upstream."""
        await self.hold.load(self.upstream)
        head = (await read_progress(self.log)).head
        if head is None and self.backfill:
            # A new log starts at the map's own serial: nothing lies between map and journal.
            self._map = await self._serial_map()
        self.producer = ChangelogProducer(
            self.log,
            self.upstream,
            self.clock,
            producer_settings(
                self.settings, head is None, self._map.last_serial if self._map else None
            ),
        )
        shared = self.assignment is not None
        self._producing = Producing(self.log, self.producer, self.clock, apart=shared)
        config = await self._producing.begin()
        slots = Slots(self.settings.in_flight)
        means = Means(
            *(self.log, self.upstream, self.clock, slots, config, self.settings.settle),
            held=self.hold.is_on,
        )
        assignment = self.assignment or Everything(config.partitions)
        self.processing = Processing(means, assignment, self.on_hopeless)
        if self.backfill:
            self.reconciler = Reconciler(self.log, self.clock, config)
        return config

    async def run(self) -> None:
        """Run the roles until cancelled, or until one ends with an error that does not pass."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(supervised("hold", lambda: self.hold.run(self.upstream)))
            tasks.create_task(self._producing.run())
            tasks.create_task(self.processing.run())
            if self.assignment is not None:
                tasks.create_task(supervised("watch", self._watch_progress))
            if self.reconciler is not None:
                tasks.create_task(supervised("backfill", self._reconcile))
            if self.sweeps:
                tasks.create_task(sweeping(self.log, self.clock, self.settings))
            tasks.create_task(supervised("cleaning", self._clean))

    async def _watch_progress(self) -> None:
        async with ProgressWatch(self.log) as watch:
            while True:
                self._progress = await watch.look(PROGRESS_SECONDS)

    async def _reconcile(self) -> None:
        """Ask for everything that the serial map has and the log lacks."""
        serial_map = self._map or await self._map_reaching_base()
        self._map = None  # 886 000 entries: not kept once the asks are drawn
        if self.reconciler is not None:
            await self.reconciler.run(serial_map, Reason.BACKFILL)
            self.asks_written = True

    async def _map_reaching_base(self) -> SerialMap:
        """A serial map that reaches the log's base.

        A map may be half an hour old, so a backfill may have to wait for a newer one.
        """
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
        if not self.processing.assignment.known:
            return False
        horizon_ms = self.clock.now_ms() + int(self.settings.once_wait * 1000)
        head = self._head_at_start
        return all(
            self._done(cut, self.processing.worker(partition), head, horizon_ms)
            for partition, cut in enumerate(self.cuts)
        )

    def _done(self, cut: Cut | None, worker: Worker | None, head: int, horizon_ms: int) -> bool:
        """Whether a partition is caught up; one of another process is judged by its cut alone."""
        if cut is None or cut.serial < head:
            return False
        if cut.backfill is not None and not cut.backfill.closed:
            return False
        if worker is None:
            return True
        session = worker.session
        return session is not None and session.at_rest() and session.agenda.idle(horizon_ms)

    @property
    def workers(self) -> list[Worker]:
        """The workers of this process."""
        return self.processing.workers

    @property
    def cuts(self) -> Sequence[Cut | None]:
        """The last cut of every partition: our own as written, the others' as seen."""
        known = self._progress.cuts if self._progress else (None,) * self.log.partitions
        own = [self.processing.worker(partition) for partition in range(self.log.partitions)]
        return [worker.cut if worker else cut for worker, cut in zip(own, known, strict=True)]

    @property
    def restored(self) -> bool:
        """Whether every worker has read its part of the log: before that nothing is known of it."""
        return self.processing.restored

    async def empty(self) -> bool:
        """Whether the log knows no name at all."""
        return not any((await self.log.ends(Topic.STATE)).values())

    def counts(self) -> dict[Status, int]:
        """Names by status over the partitions of this process."""
        return self.processing.counts()
