"""Bits flipped in what sinks keep and publish: `make bit-flips FLIPS=200`.

python -m tests.support.bit_flips FLIPS: a log is shown by the DuckDB sink and by the dump; the
first one is ended amid its work, so that it leaves a write-ahead log. Then, again and again, one
bit of one file of a copy is flipped. A reader must see what is right or an error, and a sink that
is begun on it must come by itself to the same rows as an undamaged one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

import duckdb

from schemas.errors import DumpCorrupt
from sinks.dump.reader import DumpReader
from sinks.feed import Feed
from streams.clock import SystemClock
from streams.sqlite_log import SqliteLog
from tests.support import feed_world, nth_view
from tests.support.chosen import own_seed
from tests.support.kill_loop import apart
from tests.support.logs import IN_MEMORY
from tests.support.published import read_dump
from tests.support.sim_sinks import MAKERS
from tests.support.simulate import quiet

NAMES = 60
TRANSACTIONS = 120
PUBLISHED_AT = 90  # the rest is in the write-ahead log only
KINDS = {
    "live": ("duckdb", "state/live.duckdb"),
    "wal": ("duckdb", "state/live.duckdb.wal"),
    "snapshot": ("duckdb", "pypi.duckdb"),
    "frames": ("dump", "state/frames/*"),
    "dump": ("dump", "dumps/.versions/*/*"),
}
ROWS = "SELECT name, version, serial FROM base.project ORDER BY name"
JOURNAL = "SELECT serial FROM base.changelog ORDER BY serial"


def make(root: Path) -> None:
    """The log, and both sinks as they were left."""
    nth_view.NAMES = NAMES
    asyncio.run(_make(root))


async def _make(root: Path) -> None:
    log = await SqliteLog.open(root / "log.sqlite")
    await feed_world.found(log)
    chance = Random(1)
    feeds = [_feed(log, root, name) for name in MAKERS]
    for feed in feeds:
        await feed.__aenter__()
    for number in range(1, TRANSACTIONS + 1):
        await feed_world.work(log, 0, nth_view.records(number, chance), serial=number)
        if number == PUBLISHED_AT:
            for feed in feeds:
                await feed.finish()
    for feed in feeds:
        assert await feed._catch_up()  # to the newest cut, and no publication
    os._exit(0)  # without closing anything


def _feed(log: SqliteLog, root: Path, name: str) -> Feed:
    made = MAKERS[name](root)
    return Feed(log, made, SystemClock(), publish_every_seconds=60)


def flip(file: Path, chance: Random) -> None:
    """One bit, in place: where names are links to one file all of them have it."""
    with file.open("r+b") as opened:
        size = opened.seek(0, os.SEEK_END)
        at = chance.randrange(size)
        opened.seek(at)
        [byte] = opened.read(1)
        opened.seek(at)
        opened.write(bytes([byte ^ (1 << chance.randrange(8))]))


def seen(root: Path, name: str) -> object:
    """What a reader gets; None if it is refused."""
    if name == "dump":
        try:
            DumpReader(root / "dumps").verify()
        except DumpCorrupt:
            return None
        dump = read_dump(root)
        return dump.packages, dump.releases, dump.states
    try:
        with duckdb.connect(str(root / "pypi.duckdb"), read_only=True) as connection:
            return [connection.execute(sql).fetchall() for sql in (ROWS, JOURNAL)]
    except duckdb.Error:
        return None


async def _mended(root: Path, name: str) -> int:
    """Begin the sink on what is there, to its newest publication; how often it was built anew."""
    log = await SqliteLog.open(root / "log.sqlite")
    async with _feed(log, root, name) as feed:
        assert await feed.finish() is not None
        resets = feed.counters.resets
    await log.close()
    return resets


def judge(root: Path, kind: str, chance: Random) -> None:
    """One flip; exits with what came of it: 10 = built anew, 11 = refused before, 12 = both."""
    name, pattern = KINDS[kind]
    before = seen(root, name)
    assert before is not None
    files = sorted(path for path in root.glob(pattern) if path.is_file() and path.stat().st_size)
    file = chance.choice(files)
    flip(file, chance)
    after = seen(root, name)
    assert after in (None, before), f"{file}: a reader sees other rows"
    anew = asyncio.run(_mended(root, name))
    newest = seen(root, name)
    (root / "whole").mkdir()
    os.link(root / "log.sqlite", root / "whole" / "log.sqlite")
    asyncio.run(_mended(root / "whole", name))
    assert newest is not None, f"{file}: still refused"
    assert newest == seen(root / "whole", name), f"{file}: other rows than an undamaged one"
    os._exit(10 + bool(anew) + 2 * (after is None))


def main(flips: int, seed: int) -> None:
    """So many, of each kind in turn; the last line says what came of them."""
    chance, begun = Random(seed), time.monotonic()
    found: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        made = Path(folder) / "made"
        made.mkdir()
        apart(lambda: make(made))
        for number in range(flips):
            kind = list(KINDS)[number % len(KINDS)]
            root = Path(folder) / "flipped"
            subprocess.run(["cp", "-a", made, root], check=True)
            code = apart(lambda: judge(root, kind, chance), (10, 11, 12, 13))  # noqa: B023
            found[kind]["built anew"] += code in (11, 13)
            found[kind]["refused to readers"] += code in (12, 13)
            found[kind]["harmless"] += code == 10
            chance.random()  # the fork's draws are its own
            subprocess.run(["rm", "-rf", root], check=True)
    for kind, counts in found.items():
        told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        sys.stdout.write(f"{kind}: {told or 'none'}\n")
    seconds = time.monotonic() - begun
    sys.stdout.write(f"{flips} bit flips: 0 violations, {seconds:.0f} s, seed {seed}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make bit-flips")
    parser.add_argument("flips", type=int)
    quiet()
    given = parser.parse_args()
    main(given.flips, own_seed())
