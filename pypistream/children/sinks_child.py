"""The sinks of a `run`, in a process of their own: DuckDB and zstd never block the workers' loop.

The child is told by its stdin (`finish`, or end of file when the parent is gone) and tells by its
stdout: one JSON object a line, `{"sink", "event", ...}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import orjson
import structlog

from pypistream.restarts import FAILURES_MAX, Failures
from pypistream.settings import KAFKA_NAMES, Settings
from pypistream.stopping import end_child
from schemas.errors import NoProgress

STOP_SECONDS = 8.0  # a drained stop takes 10 s in all
LINE_BYTES_MAX = 1024 * 1024  # of one event; the longest holds a path
SINKS = ("duckdb", "dump")
SETTINGS = (
    *("snapshot_every", "dump_every", "tables_every"),
    *("keep_deltas", "keep_hourly", "keep_daily", "keep_removed"),
)
WELL_SECONDS = 600.0  # a child that lived this long did not fail to start; the dump's period, too

log_ = structlog.get_logger("sinks")


def child_command(name: str, settings: Settings, *more: str) -> list[str]:
    """How a child is started that has the same log and these settings, `more` of them by name.

    Flags override whatever variables are set. The child reads no settings file; the other settings
    come from the data directory, where ours are stored. The Kafka password is not passed: the child
    inherits our environment, and gets the name of the password file.
    """
    command = [sys.executable, "-m", "pypistream", name, "--config", os.devnull]
    for each in ("data", *KAFKA_NAMES, *more):
        command += ["--" + each.replace("_", "-"), str(getattr(settings, each))]
    return command


async def start_child(
    command: Sequence[str], *, stdout: int | None = None, pass_fds: Sequence[int] = ()
) -> asyncio.subprocess.Process:
    """Start a child that reads its instructions from stdin and ends when that ends.

    `stdout`: a descriptor that it writes to, or `PIPE` for lines that we read; None = ours.
    """
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=stdout,
        limit=LINE_BYTES_MAX,
        pass_fds=tuple(pass_fds),
        env=dict(os.environ),
        start_new_session=True,  # Ctrl-C reaches the parent only, which ends its children in order
    )


def was_well(before: Mapping[str, float], after: Mapping[str, float], lived_seconds: float) -> bool:
    """Whether a child that has ended did well enough to be restarted without counting a failure.

    It lived long, or every sink published: one that does proves nothing about the other, which may
    fail each time and end both.
    """
    return lived_seconds >= WELL_SECONDS or all(
        after.get(name) != before.get(name) for name in SINKS
    )


class SinksChild:
    """Starts the child, restarts it when it dies, and reads what it says."""

    def __init__(
        self, settings: Settings, *, on_event: Callable[[dict[str, object]], None]
    ) -> None:
        self._settings = settings
        self._on_event = on_event
        self._process: asyncio.subprocess.Process | None = None
        self._published: dict[str, float] = {}
        self._finishing = False

    def published_at(self, sink: str) -> float | None:
        """Unix time of the sink's last publication, None before the first."""
        return self._published.get(sink)

    async def run(self) -> None:
        """Keep the child alive until cancelled, or until it has finished. Raises NoProgress."""
        failures = Failures()
        while True:
            before, started = dict(self._published), time.monotonic()
            self._process = await self._start()
            await self._listen(self._process)
            code = await self._process.wait()
            if self._finishing and code == 0:
                return
            lived = time.monotonic() - started
            wait = failures.wait(well=was_well(before, self._published, lived))
            if wait is None:
                raise NoProgress(
                    f"the sinks ended {FAILURES_MAX} times with exit code {code}",
                    hint="the lines above say why; `pypistream doctor` looks further",
                )
            log_.warning("the sinks ended", exit_code=code, again_in_seconds=wait)
            await asyncio.sleep(wait)

    def finish(self) -> None:
        """Ask the child to catch up, publish and end; `run` returns when it has."""
        self._finishing = True
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(ConnectionError):
                self._process.stdin.write(b"finish\n")

    async def stop(self) -> None:
        """End the child without publishing; it is killed if it takes too long."""
        if self._process is not None and self._process.returncode is None:
            await end_child(self._process, STOP_SECONDS)

    async def _start(self) -> asyncio.subprocess.Process:
        command = child_command("sinks", self._settings, *SETTINGS)
        return await start_child(command, stdout=asyncio.subprocess.PIPE)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        if self._finishing:
            self.finish()
        if process.stdout is None:
            return
        async for line in process.stdout:
            try:
                event = orjson.loads(line)
            except orjson.JSONDecodeError:
                sys.stderr.write(line.decode(errors="replace"))  # a library's own words
                continue
            if event.get("event") == "published":
                self._published[event["sink"]] = time.time()
            self._on_event(event)
