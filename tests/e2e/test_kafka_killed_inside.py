"""A role that is killed while its transaction is open: committed readers are soon let past it."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as Place

from schemas.topics import Topic
from tests.support.kafka_bare import PARTITIONS, Watcher, consumer, everything, open_places, places
from tests.support.kafka_fleet import PRODUCE, Fleet
from tests.support.kafka_judge import assert_nothing_amiss
from tests.support.standin import Running, standin
from tests.support.world_changes import rest
from upstream.standin.settings import StandinSettings

HELD_UP_SECONDS_MAX = 15.0  # the issue's
SURE_SECONDS = 0.3  # an end that stands still for so long while its writer is stopped is held by it
RUN_SECONDS = (0.005, 0.05)  # of the victim between two looks
TRY_SECONDS_MAX = 60.0
TRIES_MAX = 3  # where other programs take the processor
BEGIN_SECONDS_MAX = 90.0
WRITES = {  # per role: where its transactions end
    "process-1": (Topic.METADATA, Topic.STATE, Topic.PROGRESS),
    PRODUCE: (Topic.CHANGELOG,),
}
HELD_KEYS = {"process-1": "p", PRODUCE: "head"}  # of the records in `progress` that tell of work


@dataclass
class Ends:
    """Where committed readers and others stand, asked for without reading."""

    stable: AIOKafkaConsumer
    last: AIOKafkaConsumer
    where: Sequence[Place]

    async def open(self) -> dict[Place, tuple[int, int]]:
        """Partitions with an open transaction."""
        return await open_places(self.stable, self.last, self.where)


@asynccontextmanager
async def looking(bootstrap: str, prefix: str, topics: Sequence[Topic]) -> AsyncIterator[Ends]:
    """At these topics."""
    async with consumer(bootstrap) as stable, consumer(bootstrap, committed=False) as last:
        names = {prefix + topic for topic in topics}
        where = [place for place in await places(stable, prefix) if place.topic in names]
        yield Ends(stable, last, where)


async def killed_inside(
    fleet: Fleet, name: str, ends: Ends, chance: random.Random
) -> tuple[float, dict[Place, int]]:
    """Stop it again and again until it stops amid a transaction, and kill it then.

    When (Unix seconds), and the ends of the partitions that it holds up.
    """
    end = time.monotonic() + TRY_SECONDS_MAX
    while time.monotonic() < end:
        fleet.pause(name)
        held = await ends.open()
        if held:
            await asyncio.sleep(SURE_SECONDS)
            again = await ends.open()
            mine = {place: both[1] for place, both in held.items() if again.get(place) == both}
            if mine:
                return fleet.kill(name), mine
        fleet.resume(name)
        await asyncio.sleep(chance.uniform(*RUN_SECONDS))
    raise AssertionError(f"{name} was never met amid a transaction")


@pytest.mark.parametrize("name", list(WRITES))
async def test_killed_inside_a_transaction(
    kafka_bootstrap: str, kafka_prefix: str, tmp_path: Path, seed: int, name: str
) -> None:
    """The killed one is started again 0.5 s later; 15 s after the kill nobody waits any more."""
    settings = StandinSettings(
        projects=300, seed=seed % 1000, sizes="small", changes_per_second=20.0, latency_ms=20
    )
    with standin(settings) as site:
        more = ("--rate", "0")
        fleet = Fleet(kafka_bootstrap, kafka_prefix, site.url, tmp_path, more=more)
        watcher = Watcher(kafka_bootstrap, kafka_prefix)
        watching = asyncio.create_task(watcher.run())
        async with fleet.supervised():
            await _begun(watcher, fleet)
            released = resumed = float("inf")
            for _ in range(TRIES_MAX):
                async with looking(kafka_bootstrap, kafka_prefix, WRITES[name]) as ends:
                    moment, held = await killed_inside(fleet, name, ends, random.Random(seed))
                    released = await _released(ends, held, moment)
                resumed = await _resumed(watcher, name, held, moment)
                sys.stdout.write(f"{name}: past it {released:.1f}, at work {resumed:.1f} s later\n")
                if max(released, resumed) < HELD_UP_SECONDS_MAX:
                    break
            await _journal_read(watcher, site)
            assert not fleet.fallen, "\n".join(fleet.fallen)
        watching.cancel()
        records = await everything(kafka_bootstrap, kafka_prefix)
        journal = site.control("journal?since=0")
    assert assert_nothing_amiss(records, journal) > 0
    assert released < HELD_UP_SECONDS_MAX
    assert resumed < HELD_UP_SECONDS_MAX


async def _begun(watcher: Watcher, fleet: Fleet) -> None:
    end = time.monotonic() + BEGIN_SECONDS_MAX
    while len(watcher.cuts) < PARTITIONS:
        assert time.monotonic() < end, f"cuts: {watcher.cuts}\n{fleet.said()}"
        await asyncio.sleep(0.2)


async def _released(ends: Ends, held: dict[Place, int], moment: float) -> float:
    """Seconds until committed readers are past all that was held."""
    while True:
        behind = {place: committed for place, (committed, _) in (await ends.open()).items()}
        if all(behind.get(place, end) >= end for place, end in held.items()):
            return time.time() - moment
        assert time.time() < moment + 3 * HELD_UP_SECONDS_MAX, f"{held} are held for ever"
        await asyncio.sleep(0.1)


async def _resumed(watcher: Watcher, name: str, held: dict[Place, int], moment: float) -> float:
    """Seconds until each partition that was held has seen work again."""
    wanted = {place.partition for place in held} if name != PRODUCE else {PARTITIONS}
    found: dict[int, float] = {}
    while wanted - found.keys():
        assert time.time() < moment + 3 * HELD_UP_SECONDS_MAX, f"no more work: {wanted} {found}"
        await asyncio.sleep(0.1)
        found = watcher.written_after(moment, HELD_KEYS[name])
    return max(found[number] for number in wanted) - moment


async def _journal_read(watcher: Watcher, site: Running) -> None:
    """Wait until all there is in the journal has been passed in every partition."""
    await asyncio.to_thread(rest, site)
    serial = site.control("serial")["serial"]
    end = time.monotonic() + BEGIN_SECONDS_MAX
    while min(cut.get("serial", 0) for cut in watcher.cuts.values()) < serial:  # 0 is left out
        assert time.monotonic() < end, f"{serial} is not reached: {watcher.cuts}"
        await asyncio.sleep(0.2)
