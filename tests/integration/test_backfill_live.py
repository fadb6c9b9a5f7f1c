"""What changes while a backfill goes on is there at the end; what a kill costs in fetches."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from random import Random

import pytest

from producers import reconcile
from producers.reconcile import Reconciler
from schemas.names import NormalizedName
from schemas.records import Reason
from schemas.topics import Topic
from tests.support.history import records_of
from tests.support.index_world import Site, World, simulated
from upstream.source import Answer

PROJECTS = 60
CHANGES = 60
FETCH_SECONDS = 0.5  # of virtual time; four at once: the backfill takes about eight
IN_FLIGHT = 4  # of the world's slots; what a transaction gathers is no more
LIVE_SECONDS = 12.0  # changes come before, during and after it
SETTLED_SECONDS = 120


class Slow(Site):
    """Answers with what was there when it was asked, not with what is there when it answers."""

    async def project(self, name: NormalizedName, etag: str = "") -> Answer:
        found = await super().project(name, etag)
        await asyncio.sleep(FETCH_SECONDS)
        return found


async def change(world: World, chance: Random) -> None:
    """Releases, removals, names used again, and new ones, at any moment."""
    site = world.site
    known = sorted(site.there)
    for number in range(CHANGES):
        name = f"new{number}" if chance.random() < 0.2 else chance.choice(known)
        if name in site.there and chance.random() < 0.3:
            site.remove(name)
        else:
            site.change(name)
        await asyncio.sleep(chance.uniform(0, 2 * LIVE_SECONDS / CHANGES))


async def documents(world: World) -> dict[str, int]:
    """Serials of what the topic holds now."""
    held: dict[str, int] = {}
    for record in await records_of(world.log, Topic.METADATA):
        assert record.key is not None
        held.pop(record.key, None)
        if record.value is not None:
            held[record.key] = json.loads(record.value)["last_serial"]
    return held


@pytest.mark.parametrize("killed", [False, True], ids=["undisturbed", "workers-killed"])
@pytest.mark.parametrize("partitions", [1, 4])
def test_changes_during_a_backfill_are_all_there(
    partitions: int, seed: int, monkeypatch: pytest.MonkeyPatch, *, killed: bool
) -> None:
    """Between map and first ask, in the asks' queue, amid a fetch, after the closing marker.

    Until that no watermark is claimed.
    """
    monkeypatch.setattr(reconcile, "UNREAD_ASKS_MAX", 8)
    monkeypatch.setattr(reconcile, "CHUNK_ASKS_MAX", 4)
    chance = Random(seed)  # printed

    async def play(world: World) -> None:
        for number in range(PROJECTS):
            world.site.change(f"p{number}")
        index = world.site.index()
        for name in ("p1", "brand-new"):
            world.site.change(name)
        world.site.remove("p2")
        live = asyncio.create_task(change(world, chance))
        await world.produce(base=index.last_serial)
        config = (await world.progress()).config
        assert config is not None
        filling = asyncio.create_task(
            Reconciler(world.log, world.clock, config).run(index, Reason.BACKFILL)
        )
        await asyncio.sleep(LIVE_SECONDS / 4)
        assert not filling.done(), "nothing would happen amid it"
        assert (await world.progress()).watermark.serial is None
        if killed:
            await world.rest()
            world.work(config)
        assert await filling == PROJECTS
        await live
        await asyncio.sleep(SETTLED_SECONDS)

        await world.assert_true()
        assert await documents(world) == world.site.there
        assert (await world.progress()).watermark.serial == world.site.serial

    simulated(partitions, play, Slow())


@pytest.mark.parametrize("partitions", [1, 4])
def test_a_kill_costs_what_was_in_flight_and_one_batch(partitions: int, seed: int) -> None:
    """Whenever it comes; everything else is fetched once."""
    chance = Random(seed)  # printed
    kills = 5

    async def play(world: World) -> None:
        for number in range(PROJECTS):
            world.site.change(f"p{number}")
        index = world.site.index()
        await world.produce(base=index.last_serial)
        config = (await world.progress()).config
        assert config is not None
        reconciler = Reconciler(world.log, world.clock, config)
        assert await reconciler.run(index, Reason.BACKFILL) == PROJECTS
        for _ in range(kills):
            await asyncio.sleep(chance.uniform(0, 1.5))
            await world.rest()
            world.work(config)
        await asyncio.sleep(SETTLED_SECONDS)

        assert await documents(world) == world.site.there
        again = sum(count - 1 for count in Counter(world.site.asked).values())
        assert 0 < again <= kills * (IN_FLIGHT + IN_FLIGHT)

    simulated(partitions, play, Slow())
