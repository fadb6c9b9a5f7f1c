"""`pypistream status`: how things stand, once or every second; exit 3 if they are stale."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

import msgspec
from rich.console import Console
from rich.live import Live

from pypistream.cli import EXIT_STALE
from pypistream.health.status_page import page, why_null
from pypistream.health.status_report import StatusReader, StatusReport
from pypistream.place import located
from pypistream.stopping import run_until_stopped
from pypistream.terminal import Stdout, duration
from pypistream.wiring import open_log_for_reading

WATCH_SECONDS = 1.0
PIPE_COLUMNS = 4_000  # no wrapping where no person looks


def status(given: Mapping[str, object]) -> int:
    """The command; its exit code."""
    return run_until_stopped(_status(given))


async def _status(given: Mapping[str, object]) -> int:
    settings, data = located(given)
    as_json, watch = bool(given["json"]), bool(given["watch"])
    log = await open_log_for_reading(settings, data)
    try:
        reader = StatusReader(data, log, brief=bool(given["brief"]), kafka=settings.kafka)
        if watch:
            await _watch(reader, as_json=as_json)
        report = await reader.report()
    finally:
        await log.close()
    _show(report, as_json=as_json)
    max_lag = given["max_lag"]
    return _judged(report, max_lag) if isinstance(max_lag, int | float) else 0


def _show(report: StatusReport, *, as_json: bool) -> None:
    stdout = Stdout()
    if as_json:
        stdout.write(msgspec.json.encode(report) + b"\n")
        return
    console = Console(width=None if stdout.terminal else PIPE_COLUMNS, highlight=False)
    with console.capture() as captured:
        console.print(page(report))
    text = "\n".join(line.rstrip() for line in captured.get().splitlines())
    stdout.write(text.encode() + b"\n")


async def _watch(reader: StatusReader, *, as_json: bool) -> None:
    """Show the status again and again until Ctrl-C."""
    if as_json:
        while True:
            _show(await reader.report(), as_json=True)
            await asyncio.sleep(WATCH_SECONDS)
    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        while True:
            live.update(page(await reader.report()), refresh=True)
            await asyncio.sleep(WATCH_SECONDS)


def _judged(report: StatusReport, max_lag_seconds: float) -> int:
    """The exit code for scripts, with the reason on stderr."""
    if report.lag_seconds is None:
        so_far = " so far" if report.backfill is not None else ""
        sys.stderr.write(f"stale: the watermark is null; {why_null(report)}{so_far}\n")
        return EXIT_STALE
    if report.lag_seconds > max_lag_seconds:
        sys.stderr.write(f"stale: the watermark is {duration(report.lag_seconds)} old\n")
        return EXIT_STALE
    return 0
