"""Has each sink of a data directory follow a new rule now.

Sinks that no process runs are run here; a process that runs one is asked, and waited for. Sinks of
other directories follow by themselves when they publish next.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Sequence

from pypistream.children.serving import ROLE as SERVE
from pypistream.data_dir import DataDir
from pypistream.requests import request
from pypistream.settings import Settings
from pypistream.wiring import make_sink, make_tables
from schemas.errors import DataDirectoryInUse, Fatal, PypistreamError
from schemas.manifest import places
from schemas.records import Cut
from sinks.duckdb.verify import snapshot_facts
from sinks.dump.forgetting import forget_behind
from sinks.dump.reader import DumpReader
from sinks.feed import Feed
from sinks.serving.reader import ServingLibrary
from sinks.serving.view import ServingView
from streams.clock import SystemClock
from streams.log import Log
from streams.progress import read_progress, redacted_under

LOOK_SECONDS = 0.2
TABLES = "tables"  # under `state`: the Parquet files that dumps link to
DAMAGED = ".damaged"  # the suffix of files that were put aside as evidence

Cuts = Sequence[Cut | None]


async def follow_here(
    settings: Settings, data: DataDir, log: Log, count: int, seconds: float
) -> list[str]:
    """Have every sink here follow `count` rules; what was done. Raises Fatal if one fails to."""
    data.root.mkdir(parents=True, exist_ok=True)
    lines = []
    if _there(data, "dump"):
        progress = await read_progress(log)
        if progress.config is not None:
            forget_behind(data.dumps, progress.config.log_id, places(progress.cuts))
    # The dump last: tables of the DuckDB file are in it.
    for name, look in (("duckdb", _in_duckdb), ("dump", _in_dump)):
        if not _there(data, name):
            continue
        done = _follows(lambda look=look: look(data), count)  # type: ignore[misc]
        try:
            await _published(settings, data, log, name)
        except DataDirectoryInUse:
            await request(log, name, SystemClock().now_ms())
            await waited_for(done, seconds, name)
        lines.append(_WORDS[name])
    if ServingView(data.state).path.exists():
        await _served(data, count, seconds)
        lines.append(_WORDS[SERVE])
    for path in data.state.glob(f"*{DAMAGED}"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return lines


_WORDS = {
    "duckdb": "duckdb: the file was made anew",
    "dump": "dump: made anew; dumps and deltas made before are deleted",
    SERVE: "http: the serving view was made anew",
}


def _there(data: DataDir, name: str) -> bool:
    if name == "duckdb":
        return data.snapshot.exists() or any(data.state.glob("live.duckdb*"))
    return (data.state / "frames").exists()


async def _published(settings: Settings, data: DataDir, log: Log, name: str) -> None:
    """Raises DataDirectoryInUse if another process runs the sink."""
    lock = data.hold(f"sink-{name}")
    try:
        tables = make_tables(data, settings)
        if name == "dump":  # they were made from the file as it was
            await asyncio.to_thread(shutil.rmtree, data.state / TABLES, ignore_errors=True)
            tables.ask()
        sink = make_sink(name, data, settings, tables)
        async with Feed(log, sink, SystemClock(), publish_every_seconds=0) as feed:
            await feed.finish()
    finally:
        lock.release()


async def _served(data: DataDir, count: int, seconds: float) -> None:
    """Empty the serving view if no process uses it; the next one fills it."""
    try:
        lock = data.hold(SERVE)
    except DataDirectoryInUse:
        await waited_for(_follows(lambda: _in_view(data), count), seconds, SERVE)
        return
    try:
        view = ServingView(data.state)
        await asyncio.to_thread(view.reset)
        view.close()
    finally:
        lock.release()


def _follows(look: Callable[[], Cuts], count: int) -> Callable[[], bool]:
    def done() -> bool:
        try:
            cuts = look()
        except PypistreamError:
            return False  # it is being made just now
        return any(cuts) and redacted_under(cuts) >= count

    return done


async def waited_for(done: Callable[[], bool], seconds: float, name: str) -> None:
    """Raises Fatal if it takes longer."""
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(done):
        if time.monotonic() > deadline:
            raise Fatal(
                f"{name} did not follow the rule within {seconds:g} s; it will with what it"
                " publishes next",
                hint="`pypistream status` shows who holds it; give this command again",
            )
        await asyncio.sleep(LOOK_SECONDS)


def _in_duckdb(data: DataDir) -> Cuts:
    with snapshot_facts(data.snapshot) as facts:
        return facts.vector.cuts


def _in_dump(data: DataDir) -> Cuts:
    return DumpReader(data.dumps).manifest.vector


def _in_view(data: DataDir) -> Cuts:
    library = ServingLibrary(data.state)
    try:
        library.renew()
        view = library.view()
        return () if view is None else view.vector.cuts
    finally:
        library.close()
