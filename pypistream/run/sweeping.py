"""The sweep, as a part of other roles or as `pypistream sweep` in a process of its own."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping

from producers.sweeper import Sweeper
from pypistream.data_dir import DataDir
from pypistream.logs import log_to_stderr, say
from pypistream.place import located
from pypistream.restarts import restarting, supervised
from pypistream.roles import WORKER_ROLE, holders
from pypistream.settings import SWEEP_SECONDS, Settings
from pypistream.stopping import run_until_stopped
from pypistream.wiring import open_log_for_reading
from schemas.errors import Fatal
from schemas.records import Sweep
from streams.clock import Clock, SystemClock
from streams.log import Log
from streams.progress import read_progress

LINE_SECONDS = 10.0  # between two looks at its progress; a line is printed when it has moved


async def sweeping(log: Log, clock: Clock, settings: Settings) -> None:
    """Sweep beside other roles until cancelled; returns at once if sweeps are switched off."""
    if settings.sweep_every:
        sweeper = Sweeper(log, clock, settings.sweep_every, settings.rate)
        await supervised("sweep", sweeper.run, lambda: sweeper.cursor)


def sweep(given: Mapping[str, object]) -> int:
    """The command; its exit code."""
    log_to_stderr()
    settings, data = located(given)
    return run_until_stopped(_sweep(settings, data, once=bool(given["once"])))


async def _sweep(settings: Settings, data: DataDir, *, once: bool) -> int:
    log = await open_log_for_reading(settings, data)
    try:
        if (await read_progress(log)).config is None:
            raise Fatal(
                "nothing has worked on this log yet: nothing would fetch what is asked for",
                hint="start `pypistream run` or `pypistream produce` first",
            )
        if who := who_fetches(settings, data):
            say(who, "sweep")
        every = 0.0 if once else settings.sweep_every or SWEEP_SECONDS
        sweeper = Sweeper(log, SystemClock(), every, settings.rate)
        telling = asyncio.create_task(_tell(sweeper))
        try:
            if once:
                await restarting(lambda: _round(sweeper))
                await restarting(sweeper.served)
            else:
                await restarting(sweeper.run)
        finally:
            telling.cancel()
            if sweeper.cursor is not None:
                say(line_of(sweeper.cursor), "sweep")
    finally:
        await log.close()
    return 0


async def _round(sweeper: Sweeper) -> None:
    ended = await sweeper.round()
    say(f"{line_of(ended)}; waiting until they are fetched", "sweep")


async def _tell(sweeper: Sweeper) -> None:
    said = ""
    while True:
        await asyncio.sleep(LINE_SECONDS)
        text = line_of(sweeper.cursor) if sweeper.cursor is not None else ""
        if text != said:
            say(text, "sweep")
            said = text


def who_fetches(settings: Settings, data: DataDir) -> str:
    """What to start, unless a process here fetches what is asked for; "" = it does."""
    if any(holder.role == WORKER_ROLE for holder in holders(data)):
        return ""
    if settings.kafka:  # no lock shows the processes of other machines
        return "whoever processes this log fetches them: `pypistream process`, if nobody does yet"
    start = shlex.join(("pypistream", "run", "--data", str(data.root)))
    return f"nobody processes this log now: `{start}` fetches what is asked for, and this waits"


def line_of(cursor: Sweep) -> str:
    """How far the present round is, for a person. Pure."""
    text = f"sweep round {cursor.round}: asked for {cursor.asked:,} of {cursor.names:,} projects"
    return f"{text}, up to {cursor.name}" if cursor.name else text
