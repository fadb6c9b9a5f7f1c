"""What `pypistream run` does: pipeline and sinks in order, a display, and a clean end."""

from __future__ import annotations

import asyncio
import shlex
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from pypistream.children.listening import address_now, bound_for
from pypistream.children.serving_child import ServingChild
from pypistream.children.sinks_child import SinksChild
from pypistream.cli import EXIT_GAVE_UP
from pypistream.data_dir import DataDir
from pypistream.holding import SharedHold
from pypistream.logs import log_to_stderr
from pypistream.place import over_stored
from pypistream.restarts import RESTART_SECONDS, ended, first_of
from pypistream.run.display import Display, line_of, make_display, unpublished
from pypistream.run.facts import Observer
from pypistream.run.noting import noted
from pypistream.run.pipeline import Pipeline
from pypistream.run.sharing import kept_for_produce, shared_rate
from pypistream.settings import Settings, resolve
from pypistream.stopping import GIVE_UP_SECONDS_MAX, done_or_stopped, end_within, stop_on_signals
from pypistream.wiring import (
    check_upstream,
    make_assignment,
    make_upstream,
    open_log,
    upstream_url,
)
from schemas.errors import Fatal, Retriable
from schemas.filters import in_words
from schemas.records import Config, Filter, Status
from streams.clock import SystemClock
from streams.log import LogUnavailable

LOOK_SECONDS = 0.25  # between two looks at how far things are
EXCEPTIONS_NAMED_MAX = 20  # a screen; `pypistream status` names all


@dataclass(frozen=True)
class Plan:
    """What one run is for: a backfill, once or for ever; and notes for whoever started it."""

    settings: Settings
    backfill: bool = False
    once: bool = False
    notes: Sequence[str] = ()
    kept: bool = True  # the data directory stays for another run
    listener: socket.socket | None = None  # bound already, for `settings.http`


def settings_for(given: Mapping[str, object]) -> Settings:
    """Settings of this run, with those in force on its data directory below all others."""
    data = resolve({name: given.get(name) for name in ("data", "config")}).data
    return over_stored({**given, "data": data}, data, DataDir(data).stored())


def run(given: Mapping[str, object], *, backfill: bool, once: bool) -> int:
    """Run until Ctrl-C, or once; the exit code."""
    settings = settings_for(given)
    check_upstream(settings)  # before anything is made: these are usage errors
    return asyncio.run(run_plan(Plan(settings, backfill, once)))


async def run_plan(plan: Plan) -> int:
    """The same, inside an event loop."""
    log_to_stderr()
    data = DataDir(plan.settings.data.absolute())
    with ExitStack() as stack:
        listener = plan.listener
        if listener is None and plan.settings.http and not plan.once:
            listener = bound_for("produce", plan.settings.http, data)
            stack.callback(listener.close)
        data.create()
        for role in ("produce", "process"):
            stack.callback(data.hold(role).release)
        stop = stop_on_signals(cut_off=bool(plan.settings.kafka))
        try:
            return await _Run(plan, data, stop, listener).run()
        except BaseExceptionGroup as group:
            raise first_of(group) from None


class _Run:
    """One run from start to end."""

    def __init__(
        self, plan: Plan, data: DataDir, stop: asyncio.Event, listener: socket.socket | None
    ) -> None:
        self._plan = plan
        self._data = data
        self._stop = stop
        self._listener = listener
        self._serving: ServingChild | None = None
        if listener is not None:
            self._serving = ServingChild(plan.settings, listener)

    async def run(self) -> int:
        settings = self._plan.settings
        display = make_display(self._plan.notes)
        display.say(f"upstream {upstream_url(settings)}  data {self._data.root}")
        log = await open_log(settings, self._data)
        clock = SystemClock()
        hold = SharedHold(log, clock)
        upstream = make_upstream(settings, hold.asked)
        assignment = make_assignment(settings, log.partitions, hold)
        if assignment is not None:
            kept = kept_for_produce(settings.rate, settings.poll)
            upstream.follow(shared_rate(settings.rate, kept, assignment, produces=True))
        pipeline = Pipeline(
            *(log, upstream, hold, clock, settings, self._plan.backfill, assignment),
            on_hopeless=lambda: end_within(GIVE_UP_SECONDS_MAX, EXIT_GAVE_UP),
            sweeps=not self._plan.once,  # `--once` waits for changes only
        )
        sinks = SinksChild(settings, on_event=lambda event: _tell(display, event))
        try:
            if await self._begin(pipeline, display):
                self._remember(display)
                await self._work(pipeline, sinks, display)
            else:
                display.say("stopped before upstream had answered; nothing was written")
        finally:
            display.close()
            if self._serving is not None:
                await self._serving.stop()
            await sinks.stop()
            await upstream.close()
            await log.close()
        return 0

    def _remember(self, display: Display) -> None:
        """Store the settings once there is a log: a new log's mistyped upstream is not kept."""
        settings, before = self._plan.settings, self._data.stored().get("upstream")
        if before is not None and before != settings.upstream:
            flag = shlex.join(("--upstream", str(before)))
            display.say(f"upstream was {before or 'PyPI'} until now: {flag} goes back to it")
        self._data.store(settings.stored())

    async def _begin(self, pipeline: Pipeline, display: Display) -> bool:
        """Found or read the log; False if told to stop before that was done."""
        beginning = asyncio.create_task(self._begun(pipeline, display))
        await done_or_stopped(beginning, self._stop)
        if not beginning.done():
            await ended(beginning)
            return False
        try:
            config = beginning.result()
        except Retriable as error:
            raise Fatal(
                f"the log cannot be started: {error}",
                hint="check the network and --upstream; nothing was written",
            ) from error
        head = pipeline.producer.head
        # A filter that the directory remembers was not typed now: `--backfill` would look like all.
        part = "" if config.filter == Filter() else f", {in_words(config.filter)}"
        serial = head.serial if head else 0
        display.say(f"log {config.log_id}: following from serial {serial:,}{part}")
        with suppress(LogUnavailable):  # a hint is not worth ending for
            if not self._plan.backfill and await pipeline.empty():
                display.say("this log holds nothing yet: --backfill fetches every project")
        return True

    async def _begun(self, pipeline: Pipeline, display: Display) -> Config:
        """Begin the pipeline; the log's config.

        Brokers that do not answer are waited for, as later on.
        """
        while True:
            try:
                return await pipeline.begin()
            except LogUnavailable as error:
                if not self._plan.settings.kafka:
                    raise
                display.say(f"waiting: {error}")
            await asyncio.sleep(RESTART_SECONDS)

    async def _work(self, pipeline: Pipeline, sinks: SinksChild, display: Display) -> None:
        observer = Observer(pipeline, sinks)
        working = asyncio.create_task(pipeline.run())
        sinking = asyncio.create_task(sinks.run())
        noting = asyncio.create_task(noted("run", self._data.state, pipeline.processing))
        roles = [working, sinking, noting]
        if self._serving is not None and self._listener is not None:
            roles.append(asyncio.create_task(self._serving.run()))
            display.say(f"http {address_now(self._listener).url()}")
        try:
            await self._until_done(pipeline, roles, observer, display)
            await ended(working)
            if self._plan.once and not self._stop.is_set():
                sinks.finish()
                await done_or_stopped(sinking, self._stop)
                if sinking.done():
                    sinking.result()
                display.say(line_of(observer.look()))
                _name_exceptions(pipeline, display)
            else:
                head = pipeline.producer.head
                serial = head.serial if head else 0
                on = "; the next run goes on from there" if self._plan.kept else ""
                display.say(f"stopped at serial {serial:,}{on}")
                if self._plan.kept and (facts := observer.look()).fetched:
                    # At the size of PyPI publishing it now would take longer than a stop may.
                    display.say(unpublished(facts, time.time(), self._publishing()))
        finally:
            for role in roles:
                await ended(role)

    def _publishing(self) -> str:
        """The command that publishes what the log has; `dump` makes no DuckDB file anew."""
        there = self._data.snapshot.exists() and self._plan.settings.tables_every
        names = ("dump",) if there else ("rebuild", "duckdb")
        return shlex.join(("pypistream", *names, "--data", str(self._data.root)))

    async def _until_done(
        self,
        pipeline: Pipeline,
        tasks: Sequence[asyncio.Task[None]],
        observer: Observer,
        display: Display,
    ) -> None:
        """Until told to stop, caught up with --once, or a role failed (its error is raised)."""
        while not self._stop.is_set():
            for task in tasks:
                if task.done():
                    task.result()
            if self._plan.once and pipeline.caught_up():
                return
            if pipeline.restored:
                display.show(observer.look())
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._stop.wait()
            except TimeoutError:
                continue


def _tell(display: Display, event: Mapping[str, object]) -> None:
    if event.get("event") == "note":
        display.say(f"{event.get('sink')}: {event.get('text')}")


def _name_exceptions(pipeline: Pipeline, display: Display) -> None:
    """Show the watermark's exceptions, except absent names, of which there are many."""
    owed = [
        (name, state)
        for worker in pipeline.workers
        if worker.session
        for name, state in worker.session.agenda.states.items()
        if state.exception and state.status is not Status.ABSENT
    ]
    if owed:
        display.say(f"{len(owed)} exceptions:")
    for name, state in owed[:EXCEPTIONS_NAMED_MAX]:
        display.say(f"  {name}: {state.status.value} ({state.reason}) since serial {state.event}")
    if len(owed) > EXCEPTIONS_NAMED_MAX:
        display.say("  … `pypistream status` names them all")
