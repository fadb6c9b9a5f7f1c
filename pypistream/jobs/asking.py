"""`pypistream backfill` and `reconcile`: write asks for what the log lacks.

Asks are plain records in `refetch`, which any process may write: no role is taken or disturbed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

import click
import msgspec

from producers.difference import Gone, Order, Plan, Scope, ask_for
from producers.history import history_request
from producers.reconcile import Reconciler
from pypistream.data_dir import DataDir
from pypistream.holding import SharedHold
from pypistream.jobs.index_copy import IndexCopy
from pypistream.logs import log_to_stderr, say
from pypistream.memory import collecting_seldom
from pypistream.place import located
from pypistream.restarts import restarting
from pypistream.settings import Settings
from pypistream.stopping import run_until_stopped
from pypistream.terminal import Stdout, confirmed, duration, escaped
from pypistream.wiring import (
    check_upstream,
    make_upstream,
    open_log_for_reading,
    require_log,
    upstream_url,
)
from schemas.errors import Fatal, Retriable
from schemas.records import Config, Filter, Reason
from streams.clock import SystemClock
from streams.log import Log
from streams.progress import Progress, read_progress
from upstream.source import SerialMap

MAP_SECONDS = 5.0  # between two attempts to get the index
LINE_SECONDS = 5.0  # between two lines of progress
AGAIN = "give the command again: what is fetched by then is not asked for twice"


class Owed(NamedTuple):
    """The difference between the index at `serial` and the log."""

    serial: int
    plans: Sequence[Plan]

    @property
    def asks(self) -> int:
        """The number of asks it takes."""
        return sum(len(plan.wanted) for plan in self.plans)

    @property
    def gone(self) -> int:
        """How many of them check names that the index lacks."""
        return sum(isinstance(each, Gone) for plan in self.plans for each in plan.wanted)

    @property
    def names(self) -> int:
        """How many of the names in question the index has."""
        return sum(plan.names for plan in self.plans)


class WouldAsk(msgspec.Struct):
    """A line of --dry-run. `gone`: published here, and the index lacks it."""

    name: str
    display_name: str
    serial: int
    gone: bool


@dataclass(frozen=True)
class _Run:
    """One run of either command."""

    settings: Settings
    data: DataDir
    scope: Scope


def backfill(given: Mapping[str, object]) -> int:
    """The command; its exit code."""
    settings, data = located(given)
    if given["journal"]:
        return run_until_stopped(_ask_for_history(settings, data))
    since, order = given["changed_since"], Order(str(given["order"]))
    rule = _rule(settings)
    since = since if isinstance(since, int) else None
    run = _Run(settings, data, Scope(Reason.BACKFILL, rule, since, order))
    return _asked(run, dry=bool(given["dry_run"]), yes=bool(given["yes"]))


async def _ask_for_history(settings: Settings, data: DataDir) -> int:
    """Leave a request for the process that has the role `produce`."""
    log = await open_log_for_reading(settings, data)
    try:
        progress = await read_progress(log)
        _founded(progress)
        base = progress.head.base if progress.head else 0
        if base == 0:
            click.echo("nothing to ask for: this log holds the journal from serial 0")
            return 0
        await log.append([history_request(log, SystemClock().now_ms())])
    finally:
        await log.close()
    click.echo(
        f"asked for the journal up to serial {base:,}: whoever runs `produce` reads it in between"
        " polls; `pypistream status` shows how far it is"
    )
    return 0


def reconcile(given: Mapping[str, object]) -> int:
    """The command; its exit code."""
    settings, data = located(given)
    run = _Run(settings, data, Scope(Reason.RECONCILE, _rule(settings)))
    return _asked(run, dry=bool(given["dry_run"]), yes=True)


def _rule(settings: Settings) -> Filter | None:
    """The filter of --include and --exclude; a directory remembers those its log was made with."""
    return None if settings.filter == Filter() else settings.filter


def _asked(run: _Run, *, dry: bool, yes: bool) -> int:
    log_to_stderr()
    require_log(run.settings, run.data)  # first: a mistyped --data has no upstream either
    check_upstream(run.settings)  # before anything is asked: these are usage errors
    found: list[Owed] = []
    code = run_until_stopped(_look(run, found))
    if not found:
        return code  # stopped before the index had come
    [owed] = found
    say(summary(owed, run.settings.rate), "ask")
    if dry:
        return run_until_stopped(_show(run, owed))
    if owed.asks and not confirmed("Ask for them?", yes=yes, default=True):
        return 0
    return run_until_stopped(_write(run, owed))


def summary(owed: Owed, rate: float) -> str:
    """How many asks and how long, for a person. `rate`: fetches per second, 0 = unlimited. Pure."""
    text = f"index of serial {owed.serial:,}: {owed.names:,} projects, {owed.asks:,} to ask for"
    if not owed.asks:
        return f"{text}; the log has them all"
    if owed.gone:
        text += f", {owed.gone:,} of them to see whether they are gone"
    if not rate:
        return f"{text}; as fast as upstream answers"
    return f"{text}; at {rate:g} fetches per second this takes {duration(owed.asks / rate)}"


async def _look(run: _Run, found: list[Owed]) -> int:
    """Compare upstream's index with the log."""
    async with _reconciler(run) as (reconciler, progress):
        whole = run.scope.rule in (None, reconciler.config.filter)
        whole = whole and run.scope.changed_since is None
        backfill = run.scope.reason is Reason.BACKFILL
        if backfill and not whole:
            say("not every project of this log: the watermark stays as it is", "ask")
        base = progress.head.base if progress.head and backfill and whole else 0
        serial_map = await _map_reaching(run, reconciler.log, base)
        with collecting_seldom():
            plans = await reconciler.plans(serial_map, run.scope)
        if not backfill and progress.head and progress.head.base and not progress.watermark.serial:
            say(
                "this log has no backfill yet: only `pypistream backfill` gives it a watermark",
                "ask",
            )
        found.append(Owed(serial_map.last_serial, plans))
    return 0


async def _show(run: _Run, owed: Owed) -> int:
    """Print what would be asked for, in the order of each partition."""
    stdout = Stdout()
    for plan in owed.plans:
        for wanted in plan.wanted:
            name, ask = ask_for(wanted, run.scope.reason, owed.serial)
            if stdout.terminal:
                why = "not in the index" if ask.gone else f"serial {ask.serial:,}"
                stdout.write(f"{escaped(name)}  {why}\n".encode())
            else:
                line = WouldAsk(name, ask.name, ask.serial, ask.gone)
                stdout.write(msgspec.json.encode(line) + b"\n")
    return 0


async def _write(run: _Run, owed: Owed) -> int:
    async with _reconciler(run) as (reconciler, _):
        telling = asyncio.create_task(_tell(reconciler, owed.asks))
        try:
            count = await reconciler.ask(owed.plans, owed.serial, run.scope)
        except asyncio.CancelledError:
            say(f"stopped after {reconciler.asked:,} of {owed.asks:,} asks: {AGAIN}", "ask")
            raise
        except Retriable as error:
            raise Fatal(
                f"stopped after {reconciler.asked:,} of {owed.asks:,} asks: {error}",
                hint=AGAIN,
            ) from error
        finally:
            telling.cancel()
    served = ": whoever processes this log fetches them" if count else ""
    click.echo(f"asked for {count:,} projects{served}")
    return 0


@asynccontextmanager
async def _reconciler(run: _Run) -> AsyncIterator[tuple[Reconciler, Progress]]:
    """A reconciler, and the log's position. Raises Fatal for a log that was never founded."""
    log = await open_log_for_reading(run.settings, run.data)
    try:
        progress = await read_progress(log)
        yield Reconciler(log, SystemClock(), _founded(progress)), progress
    finally:
        await log.close()


def _founded(progress: Progress) -> Config:
    if progress.config is None or progress.head is None:
        raise Fatal(
            "nothing has worked on this log yet: nothing would fetch what is asked for",
            hint="start `pypistream run` or `pypistream produce` first",
        )
    return progress.config


async def _map_reaching(run: _Run, log: Log, base: int) -> SerialMap:
    """Upstream's index once it reaches the log's base: it may be half an hour old."""
    hold = SharedHold(log, SystemClock())
    upstream = make_upstream(run.settings, hold.asked)
    copy = IndexCopy(run.data.state, upstream_url(run.settings))
    await hold.load(upstream)
    holding = asyncio.create_task(restarting(lambda: hold.run(upstream)))
    told = ""
    try:
        while True:
            try:
                serial_map = await copy.fetch(upstream)
                if serial_map.last_serial >= base:
                    return serial_map
                why = (
                    f"the index is of serial {serial_map.last_serial:,}, the log begins at {base:,}"
                )
            except Retriable as error:
                why = str(error)
            if why != told:
                say(f"waiting for the index: {why}", "ask")
                told = why
            await asyncio.sleep(MAP_SECONDS)
    finally:
        holding.cancel()
        await asyncio.wait([holding])
        await upstream.close()


async def _tell(reconciler: Reconciler, asks: int) -> None:
    """Print progress. Asks are held back while 5 000 of them lie unread."""
    before = -1
    while True:
        await asyncio.sleep(LINE_SECONDS)
        slow = "; waiting for the workers to read on" if reconciler.asked == before else ""
        before = reconciler.asked
        say(f"asked for {before:,} of {asks:,}{slow}", "ask")
