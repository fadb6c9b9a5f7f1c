"""A journal that goes away: the index takes its place, and no change is lost or told twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from schemas import codec
from schemas.records import EventSource, Marker, Status
from schemas.topics import Topic
from tests.support.history import records_of
from tests.support.index_world import GONE_SECONDS, LOOK_SECONDS, POLL_SECONDS, World, simulated
from tests.support.scripted_upstream import document


@pytest.fixture(params=[1, 4])
def partitions(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


async def switched(world: World, **settings: object) -> None:
    """A log that followed the journal for a while and follows the index now."""
    await world.produce(**settings)
    for number in range(12):
        world.site.change(f"p{number}")
    await asyncio.sleep(20)
    world.site.gone = True
    world.site.change("between")
    world.site.remove("p3")
    await asyncio.sleep(GONE_SECONDS + 2 * LOOK_SECONDS)


def test_no_change_is_lost_over_the_switch(partitions: int) -> None:
    """What changed before, in between and after is there; what was removed is not."""

    async def play(world: World) -> None:
        await switched(world)
        assert (await world.head()).source is EventSource.INDEX
        assert await world.told() == [("between", 113)]
        await world.assert_true()

        world.site.change("p1")
        world.site.change("New")
        world.site.change("p1")
        world.site.remove("p5")
        await asyncio.sleep(2 * LOOK_SECONDS)
        assert sorted(await world.told()) == [("New", 116), ("between", 113), ("p1", 117)]
        states = await world.states()
        assert (states["p5"].status, states["p5"].reason) == (Status.ABSENT, "removed")
        world.site.there["new"] = world.site.there.pop("New")  # states go by normalised name
        await world.assert_true()

    simulated(partitions, play)


def test_a_short_absence_switches_nothing() -> None:
    """The journal's own rows say more than an index does."""

    async def play(world: World) -> None:
        await world.produce()
        for _ in range(4):
            world.site.gone = True
            world.site.change("p")
            await asyncio.sleep(GONE_SECONDS * 0.6)
            world.site.gone = False
            await asyncio.sleep(POLL_SECONDS * 10)
        assert (await world.head()).source is EventSource.JOURNAL
        assert await world.told() == []
        assert world.site.maps == 0

    simulated(1, play)


def test_begun_again_it_goes_on_by_the_index_at_once_or_by_a_journal_that_is_back() -> None:
    """Neither way an event comes twice."""

    async def play(world: World) -> None:
        await switched(world)
        world.site.change("p1")
        await world.produce()
        await asyncio.sleep(LOOK_SECONDS)
        assert (await world.told())[-1] == ("p1", world.site.serial)
        await world.assert_true()

        world.site.gone = False
        world.site.change("p2")
        world.site.remove("p7")
        await world.produce()
        await asyncio.sleep(LOOK_SECONDS)
        assert (await world.head()).source is EventSource.JOURNAL
        assert len(await world.told()) == 2
        await world.assert_true()

    simulated(4, play)


def test_an_index_that_is_older_than_the_journal_waits_for_a_newer_one() -> None:
    """Its marker would say less than was said; what it lacks may be newer than it is."""

    async def play(world: World) -> None:
        await world.produce()
        world.site.change("a")
        world.site.lag = world.site.index()
        world.site.change("b")
        await asyncio.sleep(20)
        world.site.gone = True
        await asyncio.sleep(GONE_SECONDS + 2 * LOOK_SECONDS)
        head = await world.head()
        assert (head.serial, await world.told()) == (102, [])
        assert (await world.states())["b"].published

        world.site.lag = None
        await asyncio.sleep(2 * LOOK_SECONDS)
        await world.assert_true()

    simulated(1, play)


def test_serials_above_the_index_s_own_are_events_once(partitions: int) -> None:
    """They are noted in the head, over a restart, too."""

    async def play(world: World) -> None:
        await switched(world)
        reached = world.site.serial
        world.site.change("p1")
        world.site.change("p2")
        world.site.lag = world.site.index(reached + 1)
        await asyncio.sleep(LOOK_SECONDS)
        head = await world.head()
        assert (head.serial, head.ahead) == (reached + 1, {"p2": reached + 2})
        await world.produce()
        await asyncio.sleep(LOOK_SECONDS)
        world.site.lag = None
        world.site.change("p4")
        await asyncio.sleep(2 * LOOK_SECONDS)

        assert (await world.head()).ahead == {}
        assert [name for name, _ in sorted(await world.told())].count("p2") == 1
        await world.assert_true()

    simulated(partitions, play)


def test_a_marker_of_an_index_counts_only_once_its_removals_were_looked_at() -> None:
    """Until then the watermark stays below, also over a restart of the worker."""

    async def play(world: World) -> None:
        await switched(world)
        before = (await world.progress()).watermark.reached
        world.site.remove("p8")
        world.site.delay_seconds = 40
        await asyncio.sleep(LOOK_SECONDS + POLL_SECONDS)
        markers = [
            codec.decode(record.value or b"", Marker)
            for record in await records_of(world.log, Topic.CHANGELOG)
            if record.key is None
        ]
        assert markers[-1].serial == world.site.serial
        assert markers[-1].refetch > 0
        assert (await world.progress()).watermark.reached == before

        config = (await world.progress()).config
        assert config is not None
        await world.rest()
        world.work(config)
        await asyncio.sleep(10)
        assert (await world.progress()).watermark.reached == before
        await asyncio.sleep(60)
        assert (await world.progress()).watermark.reached == world.site.serial
        await world.assert_true()

    simulated(1, play)


def test_a_project_removed_before_its_event_was_served_is_looked_at_too() -> None:
    """No state knows of it yet: it is found among the events that workers have not come to."""

    async def play(world: World) -> None:
        await world.produce()
        await asyncio.sleep(20)
        await world.rest()
        world.site.change("ghost")
        await asyncio.sleep(20)
        world.site.gone = True
        world.site.remove("ghost")
        ghost = document("ghost", 101)
        world.site.script("ghost", ghost, ghost)  # an edge that has not heard of it
        await asyncio.sleep(GONE_SECONDS + 2 * LOOK_SECONDS)
        asks = [record.key for record in await records_of(world.log, Topic.REFETCH)]
        assert asks == ["ghost"]

    simulated(1, play)


def test_a_new_log_without_xmlrpc_follows_the_index_from_its_own_serial(partitions: int) -> None:
    """Nothing of the journal is ever asked."""

    async def play(world: World) -> None:
        world.site.gone = True
        world.site.change("old")
        await world.produce(xmlrpc=False)
        world.site.change("new")
        await asyncio.sleep(2 * LOOK_SECONDS)
        head = await world.head()
        assert (head.base, head.serial, head.source) == (101, 102, EventSource.INDEX)
        assert await world.told() == [("new", 102)]

    simulated(partitions, play)


def test_an_index_that_did_not_change_costs_nothing() -> None:
    """304 to its ETag: no row, no marker, no look at the states."""

    async def play(world: World) -> None:
        await switched(world)
        ends = await world.log.ends(Topic.CHANGELOG)
        maps = world.site.maps
        await asyncio.sleep(10 * LOOK_SECONDS)
        assert world.site.maps - maps == pytest.approx(10, abs=1)
        assert await world.log.ends(Topic.CHANGELOG) == ends

    simulated(1, play)


def test_many_changes_come_in_several_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended between any two of them, what is in is not told again."""
    monkeypatch.setattr("producers.head_writer.TRANSACTION_ROWS_MAX", 2)

    async def play(world: World) -> None:
        await switched(world)
        for number in range(9):
            world.site.change(f"p{number}")
        for _ in range(12):
            made = await world.produce()
            monkeypatch.setattr(made._writer, "commit", _dying(made._writer.commit, 2))
            await asyncio.sleep(LOOK_SECONDS)
        assert len(await world.told()) == 10
        await world.assert_true()

    simulated(1, play)


def _dying(commit: Callable[..., Awaitable[None]], left: int) -> Callable[..., Awaitable[None]]:
    """So many transactions, then the end."""

    async def dying(*given: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise asyncio.CancelledError
        await commit(*given)

    return dying
