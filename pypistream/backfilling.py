"""`pypistream backfill`: asks for every project that the log lacks, left for whoever processes it.

Plain writes into `refetch`, as any process may make them: no role is taken and none is disturbed.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import click

from producers.reconcile import Plan, Reconciler
from pypistream.data_dir import DataDir
from pypistream.holding import SharedHold
from pypistream.logs import log_to_stderr
from pypistream.place import located
from pypistream.restarts import restarting
from pypistream.settings import Settings
from pypistream.status_page import duration
from pypistream.stopping import run_until_stopped
from pypistream.terminal import escaped
from pypistream.wiring import check_upstream, make_upstream, open_log_for_reading
from schemas.errors import Fatal, Retriable, UpstreamUnavailable
from schemas.records import Config, Reason
from streams.clock import SystemClock
from streams.log import Log
from streams.progress import Progress, read_progress
from upstream.source import NotModified, SerialMap

MAP_SECONDS = 5.0  # between two tries to get an index that upstream did not answer
LINE_SECONDS = 5.0  # between two lines about how far it is
AGAIN = "give the command again: what is fetched by then is not asked for twice"


class Owed(NamedTuple):
    """What an index of `serial` has that the log does not."""

    serial_map: SerialMap
    plans: Sequence[Plan]

    @property
    def asks(self) -> int:
        """How many asks it takes."""
        return sum(len(plan.asks) for plan in self.plans)

    @property
    def names(self) -> int:
        """How many names the index has, after the log's filter."""
        return sum(plan.names for plan in self.plans)


def backfill(given: Mapping[str, object]) -> int:
    """The command; its exit code."""
    log_to_stderr()
    settings, data = located(given)
    check_upstream(settings)  # before anything is asked: these are usage errors
    found: list[Owed] = []
    code = run_until_stopped(_look(settings, data, found))
    if not found:
        return code  # stopped before the index had come
    owed = found[0]
    _say(summary(owed, settings.rate))
    if (
        owed.asks
        and _asks_first(given)
        and not click.confirm("Ask for them?", default=True, err=True)
    ):
        return 0
    return run_until_stopped(_write(settings, data, owed))


def _asks_first(given: Mapping[str, object]) -> bool:
    return not given["yes"] and sys.stdin.isatty() and sys.stderr.isatty()


def summary(owed: Owed, rate: float) -> str:
    """What it will take, for a person. `rate` in fetches per second, 0 = unlimited. Pure."""
    text = (
        f"index of serial {owed.serial_map.last_serial:,}: {owed.names:,} projects,"
        f" {owed.asks:,} to ask for"
    )
    if not owed.asks:
        return f"{text}; the log has them all"
    if not rate:
        return f"{text}; as fast as upstream answers"
    return f"{text}; at {rate:g} fetches per second this takes {duration(owed.asks / rate)}"


async def _look(settings: Settings, data: DataDir, found: list[Owed]) -> int:
    """Compare upstream's index with the log."""
    async with _reconciler(settings, data) as (reconciler, progress):
        base = progress.head.base if progress.head else 0
        serial_map = await _map_reaching(settings, reconciler.log, base)
        plans = await reconciler.plans(serial_map, Reason.BACKFILL)
        # The names of the whole index are not needed any more: 886 000 of them.
        found.append(Owed(serial_map._replace(projects=()), plans))
    return 0


async def _write(settings: Settings, data: DataDir, owed: Owed) -> int:
    async with _reconciler(settings, data) as (reconciler, _):
        telling = asyncio.create_task(_tell(reconciler, owed.asks))
        try:
            count = await reconciler.ask(owed.plans, owed.serial_map, Reason.BACKFILL)
        except asyncio.CancelledError:
            _say(f"stopped after {reconciler.asked:,} of {owed.asks:,} asks: {AGAIN}")
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
async def _reconciler(
    settings: Settings, data: DataDir
) -> AsyncIterator[tuple[Reconciler, Progress]]:
    """One on the log, and how far the log is. Raises Fatal for a log that was never founded."""
    log = await open_log_for_reading(settings, data)
    try:
        progress = await read_progress(log)
        yield Reconciler(log, SystemClock(), _founded(progress)), progress
    finally:
        await log.close()


def _founded(progress: Progress) -> Config:
    if progress.config is None or progress.head is None:
        raise Fatal(
            "this log was never founded: nothing would fetch what is asked for",
            hint="start `pypistream run` or `pypistream produce` first",
        )
    return progress.config


async def _map_reaching(settings: Settings, log: Log, base: int) -> SerialMap:
    """Upstream's index, which may be half an hour old: one that reaches the log's base."""
    hold = SharedHold(log, SystemClock())
    upstream = make_upstream(settings, hold.asked)
    await hold.load(upstream)
    holding = asyncio.create_task(restarting(lambda: hold.run(upstream)))
    told = ""
    try:
        while True:
            try:
                serial_map = await upstream.serial_map()
                if isinstance(serial_map, NotModified):
                    raise UpstreamUnavailable("the index answered 304, and no ETag was sent")
                if serial_map.last_serial >= base:
                    return serial_map
                why = (
                    f"the index is of serial {serial_map.last_serial:,}, the log begins at {base:,}"
                )
            except Retriable as error:
                why = str(error)
            if why != told:
                _say(f"waiting for the index: {why}")
                told = why
            await asyncio.sleep(MAP_SECONDS)
    finally:
        holding.cancel()
        await asyncio.wait([holding])
        await upstream.close()


async def _tell(reconciler: Reconciler, asks: int) -> None:
    """Lines about how far it is; asks wait where 5 000 of them lie unread."""
    before = -1
    while True:
        await asyncio.sleep(LINE_SECONDS)
        slow = "; waiting for the workers to read on" if reconciler.asked == before else ""
        before = reconciler.asked
        _say(f"asked for {before:,} of {asks:,}{slow}")


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{escaped(text)}\n")
        sys.stderr.flush()
