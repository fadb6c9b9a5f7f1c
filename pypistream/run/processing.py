"""The role `process`: one worker per assigned partition, watched, moved and restarted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from processors.metadata import Session, Worker, WorkerSettings
from processors.slots import Slots
from pypistream.restarts import Lives, ended, supervised
from pypistream.waits import waits
from pypistream.watchdog import Verdict, Watchdog
from schemas.errors import WriterFenced
from schemas.records import Config, Cut, Status
from schemas.topics import Topic
from streams.assignment import Assignment
from streams.clock import Clock
from streams.log import Log, LogUnavailable
from streams.rules import RulesWatch
from upstream.source import Upstream

RULES_SECONDS = 1.0  # how soon a redaction rule made by another process takes effect
WATCH_SECONDS = 5.0  # between two looks at what waits and what was written
# After another process took a partition's writer id: by then the group says whose the partition is.
# If it is still ours, the other was a process that the group has put out.
TAKE_AGAIN_SECONDS = 3.0

log_ = structlog.get_logger("process")


@dataclass(frozen=True)
class Means:
    """What every worker of a process shares."""

    log: Log
    upstream: Upstream
    clock: Clock
    slots: Slots
    config: Config
    settle_seconds: float
    outcomes: Counter[str] = field(default_factory=Counter)
    held: Callable[[], bool] = bool  # whether upstream has asked us to wait; bool() is False

    def worker(self, partition: int) -> Worker:
        """A new worker, not started."""
        settings = WorkerSettings(partition, self.config, self.settle_seconds)
        return Worker(
            *(self.log, self.upstream, self.slots, self.clock, settings), outcomes=self.outcomes
        )


@dataclass
class _Life:
    """A worker, its task, and what can end its present session."""

    worker: Worker
    dog: Watchdog
    task: asyncio.Task[None] | None = None
    session: asyncio.Task[None] | None = None
    before: Session | None = None  # the session before: until replaced, we restore

    @property
    def restored(self) -> bool:
        """Whether a session is running that can be expected to write."""
        return self.session is not None and self.worker.session is not self.before


@dataclass
class Processing:
    """See the module's docstring. `on_hopeless` is called before `run` raises NoProgress."""

    means: Means
    assignment: Assignment
    on_hopeless: Callable[[], object] = bool
    lags: Mapping[int, int | None] = field(init=False, default_factory=dict)
    """Per partition: changelog records not yet decided, as of the last look; None = unknown."""
    _lives: dict[int, _Life] = field(init=False, default_factory=dict)
    _leaving: dict[int, set[asyncio.Task[None]]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Make workers for what is assigned already, so that they can be displayed."""
        for partition in sorted(self.assignment.partitions):
            self._lives[partition] = self._new_life(partition)

    @property
    def workers(self) -> list[Worker]:
        """The workers of this process's partitions, by partition."""
        return [self._lives[partition].worker for partition in sorted(self._lives)]

    def worker(self, partition: int) -> Worker | None:
        """The worker of that partition, None if it is not ours."""
        life = self._lives.get(partition)
        return life.worker if life else None

    @property
    def restored(self) -> bool:
        """Whether every worker has read the log: before that nothing is known of it."""
        return bool(self._lives) and all(worker.session is not None for worker in self.workers)

    def counts(self) -> dict[Status, int]:
        """Names by status over the partitions that are ours."""
        total = dict.fromkeys(Status, 0)
        for worker in self.workers:
            for status, count in worker.counts().items():
                total[status] += count
        return total

    async def run(self) -> None:
        """Work until cancelled, or until an error that does not pass.

        Raises NoProgress when the watchdog gave up. Workers end before the group is left.
        """
        membership = asyncio.create_task(supervised("assignment", self.assignment.run))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_watched(membership))
                tasks.create_task(self._follow(tasks))
                tasks.create_task(supervised("watchdog", self._watch))
                tasks.create_task(supervised("rules", self._follow_rules))
        finally:
            membership.cancel()
            await asyncio.wait([membership])

    async def _follow(self, tasks: asyncio.TaskGroup) -> None:
        """Start and end workers as partitions come and go; the others go on undisturbed."""
        assigned: frozenset[int] = frozenset()
        while True:
            assigned = await self.assignment.changed(assigned)
            for partition in self._lives.keys() - assigned:
                self._end(partition)
            for partition in sorted(assigned):
                life = self._lives.setdefault(partition, self._new_life(partition))
                if life.task is None:
                    life.task = tasks.create_task(self._live(life))

    async def _follow_rules(self) -> None:
        """Tell every running session of new rules; a new session reads them itself."""
        async with RulesWatch(self.means.log) as watch:
            while True:
                rules = await watch.look()
                for worker in self.workers:
                    if worker.session is not None and rules.count > worker.session.rules.count:
                        worker.session.adopt(rules)
                # A sleep of its own: signs of life of other processes would end a waiting look
                # again and again.
                await asyncio.sleep(RULES_SECONDS)

    def _new_life(self, partition: int) -> _Life:
        return _Life(self.means.worker(partition), Watchdog(partition))

    def _end(self, partition: int) -> None:
        task = self._lives.pop(partition).task
        if task is not None:
            task.cancel()
            leaving = self._leaving.setdefault(partition, set())
            leaving.add(task)
            task.add_done_callback(leaving.discard)

    async def _live(self, life: _Life) -> None:
        """Run a worker again and again, until cancelled or until an error that does not pass."""
        partition = life.dog.partition
        if leaving := self._leaving.get(partition):  # it came back before its writer was closed
            await asyncio.wait(leaving)
        lives = Lives(f"worker {partition}", lambda: _reached(life.worker.cut))
        while True:
            lives.begins()
            wait = TAKE_AGAIN_SECONDS
            try:
                await self._session(life)
            except* WriterFenced:
                log_.warning("the partition has been taken by another", partition=partition)
            except* Exception as group:  # noqa: BLE001  # sorted out there
                wait = lives.failed(group)
            life.dog.excused()
            await asyncio.sleep(wait)
            # Not known whose it is just now. A share may return by time alone, without an event.
            while self.assignment.share() <= 0:  # noqa: ASYNC110
                await asyncio.sleep(TAKE_AGAIN_SECONDS / 10)

    async def _session(self, life: _Life) -> None:
        """One life of the worker; the watchdog can end it."""
        life.before = life.worker.session
        life.session = asyncio.create_task(life.worker.run())
        try:
            await asyncio.wait([life.session])
        finally:
            session, life.session = life.session, None
            await ended(session)
        if session.cancelled():  # by the watchdog: our own cancellation does not come here
            raise LogUnavailable("the worker stood still and was cancelled")
        session.result()

    # --- the watchdog ---------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self.lags = await self._look()
            for partition, life in list(self._lives.items()):
                # A restore ends by itself: reading has time-outs. So does a hold, during which no
                # ask is served, nor does the position pass a marker that waits for some.
                held = life.worker.only_asks_wait and self.means.held()
                if life.session is None or not life.restored or held:
                    life.dog.excused()
                    continue
                lag = self.lags.get(partition)
                verdict = life.dog.look(self.means.clock.now_ms(), life.worker.commits, lag)
                if verdict is Verdict.STUCK:
                    at = waits(life.session)
                    log_.error("no progress: begun anew", partition=partition, waiting=lag, at=at)
                    life.session.cancel()
                elif verdict is Verdict.HOPELESS:
                    self.on_hopeless()
                    raise life.dog.error(lag)

    async def _look(self) -> dict[int, int | None]:
        try:
            ends = await self.means.log.ends(Topic.CHANGELOG)
        except LogUnavailable:
            return {}
        end = {at.partition: offset for at, offset in ends.items()}
        lags: dict[int, int | None] = {}
        for partition, life in self._lives.items():
            cut = life.worker.cut
            lags[partition] = max(0, end[partition] - (cut.changelog if cut else 0))
        return lags


def _reached(cut: Cut | None) -> object:
    """How far a worker is: its positions in both inputs."""
    return cut and (cut.changelog, cut.refetch)


async def _watched(task: asyncio.Task[None]) -> None:
    """Wait for a task without cancelling it when we are cancelled; raises its error."""
    await asyncio.wait([task])
    task.result()
