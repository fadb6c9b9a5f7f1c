"""The DuckDB sink while 30 transactions come in, and one of its calls breaks, or is its last one.

As `nth_call`, for what takes a real database: the log is in memory, upstream is not needed.
"""

from __future__ import annotations

import asyncio
import tempfile
from enum import Enum
from pathlib import Path
from random import Random

from schemas.topics import Topic
from streams.log import Outgoing
from streams.memory_log import MemoryLog
from tests.support import feed_world, sim_check_sinks, sim_sinks, virtual_time
from tests.support.dump_world import compact
from tests.support.mortal_sink import Faults, MortalSink
from tests.support.sim_history import History, ends_of, line_of
from tests.support.sim_replay import Recorded
from tests.support.sim_sinks import BRISK, SimSink
from tests.support.view_records import entry

TRANSACTIONS = 30
FEWER = 10  # where the tables are made: a publication comes after them, too
EVERY_SECONDS = 2.0
SETTLED_SECONDS = 20.0
NAMES = 6
REMOVED_SHARE = 0.2
NEVER = 10**9  # calls, after which one breaks: none does, but all are counted


class Case(Enum):
    """What the sink does beside taking changes in."""

    USUAL = "nothing else: its tables are there"
    NEW = "it makes its tables"
    REWRITTEN = "its file has grown too long, and is written anew"


def records(number: int, rng: Random) -> list[Outgoing]:
    """One event's: a journal row, and a document or a tombstone, of one of a few projects."""
    name = f"p{rng.randrange(NAMES)}"
    row = entry(name, number)
    out = [Outgoing(Topic.CHANGELOG, name, row.value, row.headers)]
    headers = (("event-serial", b"%d" % number), ("serial", b"%d" % number))
    info = {"name": name, "version": f"1.{number}", "summary": ""}
    value = compact({"info": info, "last_serial": number, "releases": {}, "urls": []})
    gone = rng.random() < REMOVED_SHARE
    out.append(Outgoing(Topic.METADATA, name, None if gone else value, headers))
    state = compact({"status": "ok", "event": number, "body": number, "name": name})
    return [*out, Outgoing(Topic.STATE, name, state, headers)]


async def _play(root: Path, seed: int, calls: int, code: int, case: Case) -> tuple[History, int]:
    clock, history, rng = virtual_time.WarpClock(), History(), Random(seed)
    log = MemoryLog(1, now_ms=clock.now_ms)
    await feed_world.found(log)
    history.add("schedule", partitions=1, base=0, start_ms=0, sinks=["duckdb"])
    sink = SimSink("duckdb", root / "life-0", log, clock, history, pace=BRISK)
    if case is not Case.NEW:
        sink.begin_with_tables()
    sink.faults.fail_in(calls, code)
    role = asyncio.create_task(sink.run())
    for number in range(1, (FEWER if case is Case.NEW else TRANSACTIONS) + 1):
        await feed_world.work(log, 0, records(number, rng), serial=number)
        await asyncio.sleep(EVERY_SECONDS)
    made = sink.faults.calls
    sink.faults.heal()
    await asyncio.sleep(SETTLED_SECONDS)
    role.cancel()
    await asyncio.wait([role])
    await sink.finish()
    sink.look()
    history.add("moment", at=0.0, name="end", head=0, ends=await ends_of(log))
    for topic in Topic:
        reader = await log.reader(await log.starts(topic))
        history.lines += map(line_of, await reader.read(10_000, 0))
        await reader.close()
    return history, made


def calls_to_make() -> int:
    """How many calls it takes to make a file's tables, and to know where it stands."""
    with tempfile.TemporaryDirectory(dir=sim_sinks.IN_MEMORY) as folder:
        faults = Faults(Path(folder), databases=True)
        faults.fail_in(NEVER, 0)  # files are watched while something may break
        sink = MortalSink(sim_sinks.MAKERS["duckdb"](faults.revive()), faults)
        sink.standing()
        sink.close()
        return faults.calls


def broken_at(
    seed: int, calls: int = NEVER, code: int = 0, case: Case = Case.USUAL
) -> tuple[list[str], int]:
    """What is wrong after a run of which the call after so many broke, and how many were made.

    `code` 0 = the process was killed there.
    """
    with (
        tempfile.TemporaryDirectory(dir=sim_sinks.IN_MEMORY) as folder,
        sim_sinks.inline(written_anew=case is Case.REWRITTEN),
    ):
        history, made = virtual_time.run(_play(Path(folder), seed, calls, code, case))
    return sim_check_sinks.check(Recorded(history)), made
