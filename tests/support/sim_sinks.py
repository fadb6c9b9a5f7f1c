"""The sinks of a simulated run: the real feed and sinks, in virtual time, killed as one pleases.

Everything a reader could see is recorded: after each publication, and after each kill before
anything mends what it left. Files are read here with the standard library, zstandard and DuckDB.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from schemas.errors import Retriable, StorageFailed
from sinks import feed
from sinks.duckdb.schema import SCHEMA
from sinks.duckdb.view import LIVE_FILE, DuckDBView
from sinks.dump import frame_file, frame_store
from sinks.dump import sink as dump
from sinks.dump.sink import DumpSink
from sinks.sink import Published, Sink
from streams.log import Log
from tests.support.inline_child import always_written_anew
from tests.support.mortal_sink import (
    Faults,
    InlineLoopThreads,
    InlineThreads,
    Killed,
    MortalSink,
    Reading,
)
from tests.support.published import decompressed
from tests.support.sim_check_sinks import digest
from tests.support.sim_history import History
from tests.support.virtual_time import WarpClock

AGAIN_SECONDS = 5.0  # between two lives, as in the program
# So small that runs are written between two publications, and folded: all of it in every schedule.
BUFFER_BYTES = 3_000
FINISH_TRIES_MAX = 20
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # no disk is tested here
NO_LINES = ("pypicache.json.zst", "latest.csv.zst")  # made of the lines of packages
PROJECTS = "SELECT name, version, serial FROM project"


class Pace(NamedTuple):
    """Seconds between two looks at the log, and between two publications."""

    apply: float
    publish: float


PACES = {"dump": Pace(3.0, 30.0), "duckdb": Pace(5.0, 45.0)}
BRISK = Pace(2.0, 20.0)  # of runs that are over in half a minute


def inline(*, written_anew: bool) -> ExitStack:
    """While it is entered, sinks work without threads, and keep little in memory.

    `written_anew`: a DuckDB file is written anew after each publication.
    """
    stack = ExitStack()
    stack.enter_context(patch.object(feed, "ThreadPoolExecutor", InlineLoopThreads))
    for module in (frame_file, frame_store):
        stack.enter_context(patch.object(module, "ThreadPoolExecutor", InlineThreads))
    stack.enter_context(patch.object(dump, "BUFFER_BYTES_MAX", BUFFER_BYTES))
    if written_anew:
        stack.enter_context(always_written_anew())
    return stack


def dump_in(root: Path) -> Sink:
    """The dump sink of a data directory."""
    return DumpSink(root / "dumps", root / "state" / "frames")


MAKERS: dict[str, Callable[[Path], Sink]] = {"dump": dump_in, "duckdb": DuckDBView.in_directory}


class SimSink:
    """One sink, over all of its lives. `run` is a role; `finish` brings it to the newest cut."""

    def __init__(
        self,
        name: str,
        root: Path,
        log: Log,
        clock: WarpClock,
        history: History,
        pace: Pace | None = None,
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.name = name
        self._pace = pace or PACES[name]
        self.faults = Faults(root, databases=name == "duckdb")
        self._log = log
        self._clock = clock
        self._history = history

    def begin_with_tables(self) -> None:
        """Have the first life find the tables of DuckDB made, by a life before it."""
        state = self.faults.root / "state"
        state.mkdir()
        (state / LIVE_FILE).write_bytes(_empty_view())

    async def run(self) -> None:
        """Follow the log, life after life, until cancelled."""
        while True:
            await self._life(lambda made: made.run())
            await asyncio.sleep(AGAIN_SECONDS)

    async def finish(self) -> None:
        """Catch up and publish; what passes is tried again."""
        for _ in range(FINISH_TRIES_MAX):
            if await self._life(lambda made: made.finish()):
                return
            await asyncio.sleep(AGAIN_SECONDS)

    async def _life(self, work: Callable[[feed.Feed], Any]) -> bool:
        """True if the work came to its end; False if this life ended before."""
        root = self.faults.revive()
        sink = MortalSink(MAKERS[self.name](root), self.faults)
        made = feed.Feed(
            self._log, sink, self._clock,
            publish_every_seconds=self._pace.publish,
            apply_every_seconds=self._pace.apply, on_published=self._published,
            wall_ms=self._clock.now_ms,
        )  # fmt: skip
        try:
            async with made:
                await work(made)
        except Killed:
            self._after_kill()
        except (Retriable, StorageFailed):
            pass
        else:
            return True
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # it was told to end, and broke while it did
            raise asyncio.CancelledError
        return False

    def _published(self, _: Published) -> None:
        self._show(rows=True)

    def _after_kill(self) -> None:
        self._show(rows=False)
        if self.name == "duckdb":
            self._image()

    def look(self) -> None:
        """Record what a reader sees now, and what the sink's own file holds."""
        self._after_kill()

    # --- what is there to be seen -------------------------------------------------------------

    def _show(self, *, rows: bool) -> None:
        show = self._show_dump if self.name == "dump" else self._show_duckdb
        show(self.faults.root, rows=rows)

    def _show_dump(self, root: Path, *, rows: bool) -> None:
        folder = root / "dumps"
        if not (folder / "manifest.json").exists():
            return
        manifest = json.loads((folder / "manifest.json").read_bytes())
        version = folder / ".versions" / manifest["version"]
        found: dict[str, Any] = {}
        seen: dict[str, Any] = {}
        told = {name: [each["bytes"], each["sha256"]] for name, each in manifest["files"].items()}
        for name in told:
            if not (version / name).exists():
                continue
            raw = (version / name).read_bytes()
            found[name] = [len(raw), hashlib.sha256(raw).hexdigest()]
            if rows and name not in NO_LINES:
                seen[name] = _lines(name, decompressed(raw))
        self._history.add(
            "shown", at=self._now(), sink="dump", told=told, found=found,
            cuts=manifest["vector"], rows=seen if rows else None,
        )  # fmt: skip

    def _show_duckdb(self, root: Path, *, rows: bool) -> None:
        file = root / "pypi.duckdb"
        if not file.exists():
            return
        with _opened(file) as connection:
            memo = dict(connection.execute("SELECT key, value FROM memo").fetchall())
            projects = _projects(connection) if rows else {}
        self._history.add(
            "shown", at=self._now(), sink="duckdb", told={}, found={},
            cuts=json.loads(memo["cut"])["cuts"], rows={"project": projects} if rows else None,
        )  # fmt: skip

    def _image(self) -> None:
        """What the live file holds, opened as the next process will."""
        view = DuckDBView.in_directory(self.faults.root)
        standing = view.standing()
        view.close()
        with _opened(self.faults.root / "state" / LIVE_FILE) as connection:
            found = connection.execute("SELECT serial FROM changelog ORDER BY serial")
            serials = [row[0] for row in found.fetchall()]
            rows = {"project": _projects(connection), "changelog": serials}
        positions = [[at.topic.value, at.partition, n] for at, n in standing.positions.items()]
        self._history.add(
            "image", at=self._now(), sink=self.name, positions=sorted(positions), rows=rows
        )

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


@contextmanager
def _opened(file: Path) -> Iterator[Reading]:
    """The tables of a file for reading."""
    reading = Reading(str(file))
    try:
        reading.execute(f"USE shown.{SCHEMA}")
        yield reading
    finally:
        reading.close()


@cache
def _empty_view() -> bytes:
    """The live file of a view that has taken nothing in yet: to make one takes 400 statements."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        view = DuckDBView.in_directory(Path(folder))
        view.standing()
        view.close()
        return (Path(folder) / "state" / LIVE_FILE).read_bytes()


def _projects(connection: Reading) -> dict[str, Any]:
    return {row[0]: [row[1], row[2]] for row in connection.execute(PROJECTS).fetchall()}


def _lines(name: str, text: bytes) -> dict[str, str]:
    """Name -> digest of the document, or of the fields of a state."""
    rows: dict[str, str] = {}
    for line in text.decode().splitlines():
        row = json.loads(line)
        key = row["name"]
        if name == "state.jsonl.zst":
            del row["name"]
            rows[key] = digest(json.dumps(row, sort_keys=True))
        else:
            rows[key] = digest(line[line.index(',"document":') + len(',"document":') : -1])
    return rows
