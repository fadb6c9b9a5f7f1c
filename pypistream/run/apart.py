"""One role per process: what `pypistream produce` and `pypistream process` do.

They may be started in any order, and before the broker or upstream: each waits for what it needs
and says so. On Kafka they keep nothing on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from processors.slots import Slots
from producers.changelog import ChangelogProducer
from pypistream.cli import EXIT_GAVE_UP
from pypistream.data_dir import DataDir
from pypistream.holding import SharedHold
from pypistream.logs import log_to_stderr, say
from pypistream.place import located
from pypistream.restarts import first_of, supervised
from pypistream.run import role_lines
from pypistream.run.noting import noted
from pypistream.run.processing import Means, Processing
from pypistream.run.producing import Producing, producer_settings
from pypistream.run.sharing import PRODUCE_RATE, kept_for_produce, shared_rate
from pypistream.run.sweeping import sweeping
from pypistream.settings import Settings
from pypistream.stopping import GIVE_UP_SECONDS_MAX, done_or_stopped, end_within, stop_on_signals
from pypistream.wiring import (
    check_upstream,
    make_assignment,
    make_upstream,
    open_log,
    upstream_url,
)
from schemas.errors import LogMismatch, Retriable
from schemas.records import SCHEMA_VERSION, Config
from streams.assignment import Everything
from streams.clock import Clock, SystemClock
from streams.log import Log
from streams.progress import Progress, ProgressWatch, check_loaded, read_progress
from upstream.source import SharedUpstream

LINE_SECONDS = 5.0  # between two lines of status
WAIT_SECONDS = 2.0  # between two attempts to reach what is not there yet
CLEAN_SECONDS = 10.0  # between two rounds of compaction of an embedded log

T = TypeVar("T")


@dataclass
class _Role:
    """What both roles need: where they work, and how they are told to stop."""

    name: str
    settings: Settings
    stop: asyncio.Event
    log: Log
    upstream: SharedUpstream
    hold: SharedHold
    clock: Clock

    async def work(
        self, roles: Mapping[str, Callable[[], Awaitable[None]]], line: Callable[[], str]
    ) -> None:
        """Print status lines until told to stop, or until a role fails (its error is raised)."""
        working = asyncio.create_task(self._together(roles))
        try:
            while not (self.stop.is_set() or working.done()):
                await done_or_stopped(working, self.stop, LINE_SECONDS)
                if not working.done():
                    say(line(), "role")
        finally:
            working.cancel()
            await asyncio.wait([working])
        if not working.cancelled():
            working.result()
        say(f"{self.name} stopped: {line()}", "role")

    async def _together(self, roles: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(supervised("hold", lambda: self.hold.run(self.upstream)))
            if not self.settings.kafka:
                tasks.create_task(supervised("cleaning", self._clean))
            for name, role in roles.items():
                tasks.create_task(_awaited(role), name=name)

    async def _clean(self) -> None:
        while True:
            await self.log.clean(self.clock.now_ms())
            await asyncio.sleep(CLEAN_SECONDS)


def produce(given: Mapping[str, object], *, take_over: bool) -> int:
    """Run the role until Ctrl-C or SIGTERM; the exit code."""
    settings, data = located(given)
    check_upstream(settings)
    return _run(_produce(settings, data, take_over))


def process(given: Mapping[str, object]) -> int:
    """Run the role until Ctrl-C or SIGTERM; the exit code."""
    settings, data = located(given)
    check_upstream(settings)
    return _run(_process(settings, data))


def _run(work: Any) -> int:
    log_to_stderr()
    try:
        asyncio.run(work)
    except BaseExceptionGroup as group:
        raise first_of(group) from None
    return 0


async def _produce(settings: Settings, data: DataDir, take_over: bool) -> None:
    # Polls need no more, and the crawlers leave no more of the rate.
    asking = replace(settings, rate=min(settings.rate, PRODUCE_RATE))
    async with _opened("produce", settings, data, asking) as role:
        if role is None:
            return
        head = await _until(role.stop, lambda: read_progress(role.log))
        if head is None:
            return
        producer = ChangelogProducer(
            *(role.log, role.upstream, role.clock),
            producer_settings(settings, head.head is None),
        )
        apart = bool(settings.kafka)
        producing = Producing(role.log, producer, role.clock, apart=apart, take_over=take_over)
        await role.hold.load(role.upstream)
        config = await _until(role.stop, producing.begin)
        if config is not None:
            say(f"log {config.log_id}: {role_lines.of_produce(producer, role.clock)}", "role")
            await role.work(
                {
                    "produce": producing.run,
                    "sweep": lambda: sweeping(role.log, role.clock, settings),
                },
                lambda: role_lines.of_produce(producer, role.clock),
            )


async def _process(settings: Settings, data: DataDir) -> None:
    async with _opened("process", settings, data) as role:
        if role is None:
            return
        config = await _until(role.stop, lambda: _config(role.log, role.stop))
        if config is None:
            return
        shared = make_assignment(settings, config.partitions, role.hold)
        if shared is not None:
            kept = kept_for_produce(settings.rate, settings.poll)
            role.upstream.follow(shared_rate(settings.rate, kept, shared, produces=False))
        await role.hold.load(role.upstream)
        slots = Slots(settings.in_flight)
        processing = Processing(
            Means(
                *(role.log, role.upstream, role.clock, slots, config, settings.settle),
                held=role.hold.is_on,
            ),
            shared or Everything(config.partitions),
            on_hopeless=lambda: end_within(GIVE_UP_SECONDS_MAX, EXIT_GAVE_UP),
        )
        lines = role_lines.ProcessLines(processing)
        parts: dict[str, Callable[[], Awaitable[None]]] = {
            "process": processing.run,
            "look": lambda: supervised("look", lambda: _look(role.log, lines)),
        }
        if not settings.kafka:  # on Kafka the role has no directory
            parts["note"] = lambda: noted("process", data.state, processing)
        await role.work(parts, lines.line)


async def _look(log: Log, lines: role_lines.ProcessLines) -> None:
    """Keep up with the head that `produce` writes."""
    async with ProgressWatch(log) as watch:
        while True:
            lines.head = (await watch.look(LINE_SECONDS)).head


async def _config(log: Log, stop: asyncio.Event) -> Config | None:
    """Wait for the log's config; None if told to stop before. Raises LogMismatch."""
    told = False
    async with ProgressWatch(log) as watch:
        progress: Progress = watch.progress
        while progress.config is None and not stop.is_set():
            if not told:
                say("this log has not begun yet: waiting for `pypistream produce`", "role")
                told = True
            progress = await watch.look(1.0)
    config = progress.config
    check_loaded(progress.bootstrap)
    if config is not None and (config.partitions, config.schema_version) != (
        log.partitions,
        SCHEMA_VERSION,
    ):
        raise LogMismatch(
            f"the log says {config.partitions} partitions and schema version"
            f" {config.schema_version}; found are {log.partitions}, and known is {SCHEMA_VERSION}",
            hint="look at the topics: pypistream topics --check",
        )
    return config


@asynccontextmanager
async def _opened(
    name: str, settings: Settings, data: DataDir, asking: Settings | None = None
) -> AsyncIterator[_Role | None]:
    """Log, upstream and hold; None if told to stop before the log could be opened.

    `asking`: the settings for upstream, if they differ from those to remember.
    """
    stop = stop_on_signals(cut_off=True)
    embedded = not settings.kafka
    with contextlib.ExitStack() as stack:
        if embedded:
            data.create()
            stack.callback(data.hold(name).release)
            data.store(settings.stored())
        place = settings.kafka or data.root
        say(f"{name}  upstream {upstream_url(settings)}  log {place}", "role")
        log = await _until(stop, lambda: open_log(settings, data if embedded else None))
        if log is None:
            yield None
            return
        clock = SystemClock()
        hold = SharedHold(log, clock)
        upstream = make_upstream(asking or settings, hold.asked)
        try:
            yield _Role(name, settings, stop, log, upstream, hold, clock)
        finally:
            await upstream.close()
            await log.close()


async def _until(stop: asyncio.Event, wanted: Callable[[], Awaitable[T]]) -> T | None:
    """The result of `wanted`, retried after errors that pass; None if told to stop before."""
    said = ""
    while not stop.is_set():
        task = asyncio.ensure_future(_awaited(wanted))
        try:
            await done_or_stopped(task, stop)
            if task.done():
                return task.result()
        except Retriable as error:
            if str(error) != said:
                said = str(error)
                say(f"waiting: {said}", "role")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WAIT_SECONDS):
                    await stop.wait()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
    return None


async def _awaited(wanted: Callable[[], Awaitable[T]]) -> T:
    return await wanted()
