"""The HTTP service of a `run`, in a process of its own so that no busy worker delays an answer.

The socket is bound here and inherited: a taken port is an error before anything starts, and clients
that connect while the child is restarted wait a moment.
"""

from __future__ import annotations

import asyncio
import socket
import time

import structlog

from pypistream.children.sinks_child import child_command, start_child
from pypistream.restarts import FAILURES_MAX, WELL_SECONDS, Failures
from pypistream.settings import Settings
from pypistream.stopping import end_child
from schemas.errors import NoProgress

FIRST_SECONDS = 2.0  # before it is restarted: clients wait meanwhile
STOP_SECONDS = 9.0  # the child ends within 8 s of being told

log_ = structlog.get_logger("serve")


class ServingChild:
    """Starts the child, and restarts it when it dies."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        """Keep it alive until cancelled. Raises NoProgress if that fails again and again."""
        failures = Failures(FIRST_SECONDS)
        while True:
            started = time.monotonic()
            self._process = await self._start()
            code = await self._process.wait()
            wait = failures.wait(well=time.monotonic() - started >= WELL_SECONDS)
            if wait is None:
                raise NoProgress(
                    f"the HTTP service ended {FAILURES_MAX} times with exit code {code}",
                    hint="the lines above say why; without --http the rest runs alone",
                )
            log_.warning("the HTTP service ended", exit_code=code, again_in_seconds=wait)
            await asyncio.sleep(wait)

    async def stop(self) -> None:
        """End the child; it is killed if it takes too long."""
        if self._process is not None and self._process.returncode is None:
            await end_child(self._process, STOP_SECONDS)

    async def _start(self) -> asyncio.subprocess.Process:
        settings, descriptor = self._settings, self._listener.fileno()
        hosts = [part for name in settings.http_host for part in ("--http-host", name)]
        command = [
            *child_command("serving", settings, "keep_removed"),
            *("--socket", str(descriptor)),
            *hosts,
            *(("--sql",) if settings.sql else ()),
            *(("--http-log",) if settings.http_log else ()),
        ]
        return await start_child(command, pass_fds=(descriptor,))
