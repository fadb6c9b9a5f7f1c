"""`pypistream dump` and `pypistream rebuild`: a sink brought up to date on demand."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import click

from pypistream.children.rows_children import RowsChildren
from pypistream.children.sinks_work import many_records
from pypistream.data_dir import DataDir
from pypistream.logs import log_to_stderr
from pypistream.place import located
from pypistream.requests import request
from pypistream.settings import Settings
from pypistream.wiring import make_sink, make_tables, open_log_for_reading, require_log
from schemas.errors import DataDirectoryInUse, Fatal, NotPublished
from schemas.manifest import MANIFEST_FILE
from sinks.feed import Feed
from streams.clock import SystemClock
from streams.progress import check_loaded, read_progress

ASKED_SECONDS = 600.0  # how long a running process may take to publish
LOOK_SECONDS = 0.1


def publish_now(given: Mapping[str, object], sink: str) -> int:
    """Publish one sink, here or by the process that runs it; the exit code."""
    log_to_stderr()
    settings, data = _located(given)
    # The dump's tables are made of the DuckDB file, so it comes first.
    first = (
        ("duckdb",) if sink == "dump" and settings.tables_every and data.snapshot.exists() else ()
    )
    for name in (*first, sink):
        try:
            asyncio.run(_publish_here(settings, data, name, reset=False))
        except DataDirectoryInUse:
            asyncio.run(_ask(settings, data, name))
    click.echo(_place(data, sink))
    return 0


def rebuild(given: Mapping[str, object], sink: str) -> int:
    """Empty sinks and fill them from the log; the exit code."""
    log_to_stderr()
    settings, data = _located(given)
    for name in ("duckdb", "dump") if sink == "all" else (sink,):
        asyncio.run(_publish_here(settings, data, name, reset=True))
        click.echo(_place(data, name))
    return 0


def _located(given: Mapping[str, object]) -> tuple[Settings, DataDir]:
    """The data directory of the sinks. Raises UsageError if there is no log to fill them from."""
    settings, data = located(given)
    data = data.absolute()
    require_log(settings, data)
    data.create()  # with a log on Kafka there may be no directory yet
    return settings, data


async def _publish_here(settings: Settings, data: DataDir, name: str, *, reset: bool) -> None:
    async with AsyncExitStack() as stack:
        stack.enter_context(many_records())
        stack.callback(data.hold(f"sink-{name}").release)
        log = await open_log_for_reading(settings, data)
        stack.push_async_callback(log.close)
        tables = make_tables(data, settings)
        tables.ask()
        sink = make_sink(name, data, settings, tables)
        if reset:
            await asyncio.to_thread(sink.reset)
        feed = Feed(log, sink, SystemClock(), publish_every_seconds=0)
        if name == "duckdb":
            feed.helped_by(RowsChildren(settings))
        if await (await stack.enter_async_context(feed)).finish() is None:
            check_loaded((await read_progress(log)).bootstrap)
            raise NotPublished(
                f"the log in {settings.kafka or data.root} holds nothing yet",
                hint="`pypistream backfill`, or a `run --backfill`, fetches every project",
            )


async def _ask(settings: Settings, data: DataDir, sink: str) -> None:
    """Ask the running process to publish, and wait until it has."""
    place = _place(data, sink)
    before = _changed(place)
    log = await open_log_for_reading(settings, data)
    try:
        await request(log, sink, time.time_ns() // 1_000_000)
    finally:
        await log.close()
    sys.stderr.write("a process runs the sinks of this directory: it was asked\n")
    deadline = time.monotonic() + ASKED_SECONDS
    while _changed(place) == before:
        if time.monotonic() > deadline:
            raise Fatal(
                f"{place} did not change within {ASKED_SECONDS:.0f} s",
                hint="`pypistream status` shows who holds the sinks",
            )
        await asyncio.sleep(LOOK_SECONDS)


def _place(data: DataDir, sink: str) -> Path:
    return data.snapshot if sink == "duckdb" else data.dumps / MANIFEST_FILE


def _changed(place: Path) -> int:
    try:
        return place.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
