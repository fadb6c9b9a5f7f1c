"""`python -m upstream.standin`: the stand-in as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import NamedTuple

from upstream.standin.faults import BadFault
from upstream.standin.server import serve
from upstream.standin.settings import StandinSettings

_STDIN_BYTES = 4096  # of one read; what is said there does not matter


class Given(NamedTuple):
    """What the command line says. `attached`: end when stdin does."""

    settings: StandinSettings
    attached: bool


def command_line(arguments: list[str]) -> Given:
    """Read the command line. Exits with code 2 for what it does not understand."""
    default = StandinSettings()
    parser = argparse.ArgumentParser(prog="python -m upstream.standin", description=__doc__)
    parser.add_argument("--host", default=default.host)
    parser.add_argument("--port", type=int, default=default.port, help="0 = a free one")
    parser.add_argument("--projects", type=int, default=default.projects)
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--changes-per-second", type=float, default=default.changes_per_second)
    parser.add_argument("--latency-ms", type=float, default=default.latency_ms)
    parser.add_argument("--sizes", choices=("real", "small"), default=default.sizes)
    parser.add_argument("--index-lag-seconds", type=float, default=default.index_lag_seconds)
    parser.add_argument("--map-lag-seconds", type=float, default=default.map_lag_seconds)
    parser.add_argument("--cache", type=Path, help="keep the corpus in this folder")
    parser.add_argument("--faults", type=Path, help="JSON file: a list of fault specifications")
    parser.add_argument(
        "--attached", action="store_true", help="end when stdin does: with whoever started it"
    )
    given = vars(parser.parse_args(arguments))
    path, attached = given.pop("faults"), given.pop("attached")
    faults = tuple(json.loads(path.read_text())) if path is not None else ()
    return Given(StandinSettings(**given, faults=faults), attached)


async def _run(given: Given) -> None:
    def say(address: str) -> None:
        sys.stdout.write(f"listening on {address}\n")
        sys.stdout.flush()

    task = asyncio.ensure_future(serve(given.settings, ready=say))
    loop = asyncio.get_running_loop()
    if given.attached:
        watch = asyncio.ensure_future(_end_of_stdin())
        watch.add_done_callback(lambda _: task.cancel())
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return


async def _end_of_stdin() -> None:
    """Return when whoever held the other end is gone, however it ended."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(_STDIN_BYTES):
        continue


def main(arguments: list[str] | None = None) -> int:
    """Run until interrupted; the exit code."""
    given = command_line(sys.argv[1:] if arguments is None else arguments)
    try:
        asyncio.run(_run(given))
    except (OSError, BadFault) as error:
        sys.stderr.write(f"the stand-in cannot start: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
