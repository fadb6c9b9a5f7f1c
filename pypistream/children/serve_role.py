"""`pypistream serve`, alone or as the child of a `run`: from a bound socket to a clean end."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Coroutine, Mapping
from typing import Any

import uvloop

from pypistream.children.listening import DEFAULT_HTTP, address_now, bound_for
from pypistream.children.serving import ROLE, serve
from pypistream.children.sinks_process import last_word
from pypistream.data_dir import DataDir
from pypistream.logs import log_to_stderr, say
from pypistream.place import located
from pypistream.settings import Settings
from pypistream.stopping import drained, stop_on_signals
from pypistream.threads import giving_way
from pypistream.wiring import require_log

STOP_SECONDS = 8.0  # a drained stop takes 10 s in all
SWITCH_SECONDS = 0.001  # how long the thread that reads the log may delay an answer


def serve_alone(given: Mapping[str, object]) -> int:
    """Serve until SIGTERM or Ctrl-C; the exit code."""
    log_to_stderr()
    settings, data = located(given)
    data = data.absolute()
    require_log(settings, data)
    listener = bound_for(ROLE, settings.http or DEFAULT_HTTP, data)
    data.create()
    data.store(settings.stored())
    return _run(_alone(settings, data, listener))


def serve_as_child(given: Mapping[str, object], descriptor: int) -> int:
    """Serve on an inherited socket until the parent closes our stdin; the exit code."""
    log_to_stderr()
    settings, data = located(given)
    return _run(_as_child(settings, data, socket.socket(fileno=descriptor)))


def _run(work: Coroutine[Any, Any, int]) -> int:
    loop = uvloop.new_event_loop
    with giving_way(SWITCH_SECONDS), asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(work)


async def _alone(settings: Settings, data: DataDir, listener: socket.socket) -> int:
    address, stop = address_now(listener), stop_on_signals()
    say(f"serve: log {settings.kafka or data.log}  data {data.root}", "serve")

    def ready() -> None:
        say(f"serve: listening on {address.url()}", "serve")

    serving = asyncio.create_task(
        serve(settings, data, listener, hosts=settings.http_host, ready=ready)
    )
    await _until(serving, stop.wait())
    say("serve: stopped; the next start goes on from there", "serve")
    return 0


async def _as_child(settings: Settings, data: DataDir, listener: socket.socket) -> int:
    serving = asyncio.create_task(serve(settings, data, listener, hosts=settings.http_host))
    await _until(serving, last_word())
    return 0


async def _until(serving: asyncio.Task[None], end: Coroutine[Any, Any, object]) -> None:
    """Serve until `end`, then stop. Raises what ends the service before."""
    if not await drained(serving, end, STOP_SECONDS):
        os._exit(0)  # as safe as kill -9: rows and positions are committed together
