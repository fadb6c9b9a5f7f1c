"""`produce` and three `process` on a broker of their own; all of them, and the broker, are killed.

`make chaos-kafka` is the long form (PYPISTREAM_TEST_CHAOS=long): 20 000 projects, 15 x kill -9,
6 x SIGSTOP beyond the group's session, 5 x kill -9 of the broker. Everything random, when and who,
comes from the run's seed.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.kafka_bare import PARTITIONS, Watcher, everything
from tests.support.kafka_broker import fresh_prefix
from tests.support.kafka_fleet import Fleet
from tests.support.kafka_judge import (
    assert_nothing_amiss,
    assert_same,
    assert_still_there,
    assert_true,
)
from tests.support.kafka_mortal import MortalKafka, mortal_kafka
from tests.support.process import command
from tests.support.published import Dump, Truth, read_dump, truths
from tests.support.standin import Running, standin
from tests.support.world_changes import rest
from upstream.standin.settings import StandinSettings

LONG = os.environ.get("PYPISTREAM_TEST_CHAOS") == "long"
PROJECTS = 20_000 if LONG else 300
KILLS, STOPS, BROKER_KILLS = (15, 6, 5) if LONG else (3, 1, 1)
# With these 24 requests at once the backfill goes on until the last of what happens has happened.
IN_FLIGHT, LATENCY_MS = (4, 200) if LONG else (1, 250)
CHANGES_PER_SECOND = 8.0 if LONG else 5.0
BETWEEN_SECONDS = (2.0, 12.0) if LONG else (0.5, 3.0)
STOP_SECONDS = (10.5, 14.0)  # longer than SESSION_MS of the group and than any transaction
DOWN_SECONDS = (0.0, 5.0)  # of a killed broker, before its start
RESUME_SECONDS_MAX = 60.0  # the issue's: from a broker that is up again to the next cut
# Without anything more being done, before the log is as it has to be. The watchdog's 120 s are
# longer: nothing that a kill brings about may need it.
SETTLE_SECONDS_MAX = 100.0
BEGIN_SECONDS_MAX = 120.0


@dataclass
class Chaos:
    """What happens to the fleet and to its broker, in an order and at moments drawn by chance."""

    broker: MortalKafka
    fleet: Fleet
    watcher: Watcher
    chance: random.Random
    told: list[str] = field(default_factory=list)
    up: list[float] = field(default_factory=list)  # Unix seconds at which the broker was back
    _pauses: list[asyncio.Task[None]] = field(default_factory=list)
    _began: float = field(default_factory=time.time)

    async def run(self) -> None:
        """All of it."""
        events = [self._kill] * KILLS + [self._stop] * STOPS + [self._kill_broker] * BROKER_KILLS
        self.chance.shuffle(events)
        for event in events:
            await asyncio.sleep(self.chance.uniform(*BETWEEN_SECONDS))
            await event()
        await asyncio.gather(*self._pauses)

    async def _kill(self) -> None:
        name = await self._somebody()
        self._tell(f"kill {name}")
        self.fleet.kill(name)

    async def _stop(self) -> None:
        name = await self._somebody()
        seconds = self.chance.uniform(*STOP_SECONDS)
        self._tell(f"stop {name} for {seconds:.1f} s")
        self._pauses.append(asyncio.create_task(self.fleet.stop_for(name, seconds)))

    async def _somebody(self) -> str:
        names: list[str] = []
        while not names:  # those just killed are on their way back
            await asyncio.sleep(0.2)
            names = sorted(self.fleet.running())
        return self.chance.choice(names)

    async def _kill_broker(self) -> None:
        self._tell("kill the broker")
        await self.broker.kill()
        await asyncio.sleep(self.chance.uniform(*DOWN_SECONDS))
        up = await self.broker.revive()
        self.up.append(up)
        self._tell("the broker is up")
        found: dict[int, float] = {}
        while not found:
            assert time.time() < up + RESUME_SECONDS_MAX, f"no cut after the broker came: {self}"
            await asyncio.sleep(0.2)
            found = self.watcher.written_after(up)
        self._tell(f"the first cut came {min(found.values()) - up:.1f} s later")

    def all_resumed(self) -> list[float]:
        """Seconds from each return of the broker until every partition had a cut again.

        Whatever else was killed or stopped meanwhile is in them.
        """
        return [max(self.watcher.written_after(up).values()) - up for up in self.up]

    def _tell(self, what: str) -> None:
        self.told.append(f"{time.time() - self._began:6.1f} s  {what}")
        sys.stdout.write(f"{self.told[-1]}\n")

    def __str__(self) -> str:
        return "\n".join(self.told)


@pytest.mark.timeout(3_600 if LONG else 300)
async def test_chaos(tmp_path: Path, seed: int) -> None:
    """Nothing lost, nothing twice, nothing back; the end is as if nothing had happened."""
    settings = StandinSettings(
        projects=PROJECTS,
        seed=seed % 1000,
        sizes="small",
        latency_ms=LATENCY_MS,
        changes_per_second=CHANGES_PER_SECOND,
    )
    with mortal_kafka() as broker, standin(settings) as site:
        prefix = fresh_prefix()
        more = ("--rate", "0", "--in-flight", str(IN_FLIGHT))
        fleet = Fleet(broker.address, prefix, site.url, tmp_path, more=more)
        watcher = Watcher(broker.address, prefix)
        watching = asyncio.create_task(watcher.run())
        async with fleet.supervised():
            await _begun(watcher, fleet)
            await fleet.backfill()
            chaos = Chaos(broker, fleet, watcher, random.Random(seed))
            await chaos.run()
            site.app._latency = 0.0  # the rest may go as fast as it can
            await asyncio.to_thread(rest, site)
            truth = truths(site.ask("/_control/truth").body)
            await _settled(watcher, fleet, site.control("serial")["serial"], truth)
            assert not fleet.fallen, "\n".join(fleet.fallen)
        watching.cancel()
        await asyncio.wait([watching])
        records = await everything(broker.address, prefix)
        journal = site.control("journal?since=0")
        undisturbed = await asyncio.to_thread(_undisturbed, site, tmp_path)

    resumed = [round(seconds, 1) for seconds in chaos.all_resumed()]
    sys.stdout.write(f"all partitions at work {resumed} s after the broker was back\n")
    if BROKER_KILLS == 1:  # the next kill of it would count for the first
        assert max(resumed) < RESUME_SECONDS_MAX
    dump = assert_true(records, truth)
    assert_same(dump, undisturbed)
    assert assert_nothing_amiss(records, journal) > 0
    assert_still_there([seen.record for seen in watcher.seen], records)
    assert len(dump.packages) > 0.75 * PROJECTS


async def _begun(watcher: Watcher, fleet: Fleet) -> None:
    """Wait until every partition has a cut: all are assigned and at work."""
    end = time.monotonic() + BEGIN_SECONDS_MAX
    while len(watcher.cuts) < PARTITIONS:
        assert time.monotonic() < end, f"cuts: {watcher.cuts}\n{fleet.said()}"
        await asyncio.sleep(0.2)


async def _settled(watcher: Watcher, fleet: Fleet, serial: int, truth: dict[str, Truth]) -> None:
    """Wait until the journal is passed, the backfill closed, and every document published.

    Fails when nothing more is done before that.
    """
    bodies = {name: true.body_serial for name, true in truth.items() if true.document is not None}
    before, since = "", time.monotonic()
    while still := _still(watcher, serial, bodies):
        if still != before:
            before, since = still, time.monotonic()
        assert time.monotonic() < since + SETTLE_SECONDS_MAX, f"{still}\n{fleet.said()}"
        await asyncio.sleep(1.0)


def _still(watcher: Watcher, serial: int, bodies: dict[str, int]) -> str:
    """What is not done yet; "" = nothing."""
    wrong = [
        f"partition {number}: {cut}"
        for number, cut in sorted(watcher.cuts.items())
        if cut.get("serial", 0) < serial or not (cut.get("backfill") or {}).get("closed")
    ]
    behind = watcher.behind(bodies)
    wrong += [f"{len(behind)} names: {list(behind.items())[:3]}"] if behind else []
    return "\n".join(wrong)


def _undisturbed(site: Running, folder: Path) -> Dump:
    """A whole run of its own, on the embedded log, with nobody killed."""
    data = folder / "undisturbed"
    arguments = ("run", "--data", str(data), "--upstream", site.url, "--backfill", "--rate", "0")
    once = ("--once", "--once-wait", "2", "--poll", "1", "--in-flight", "16")
    ended = command(*arguments, *once, cwd=folder, seconds_max=900)
    assert ended.returncode == 0, ended.stderr
    return read_dump(data)
