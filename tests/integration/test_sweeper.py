"""The sweep beside real workers, in virtual time: what it finds, and that nobody waits for it."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from producers import reconcile
from producers.reconcile import Reconciler
from producers.sweep import RATE_SHARE, UNREAD_ASKS_MAX, WHOLE_ROUNDS
from producers.sweeper import Sweeper
from schemas.names import NormalizedName
from schemas.records import Ask, Reason, Status
from schemas.topics import Topic
from streams.asks import ask_record
from streams.progress import read_progress
from tests.support.scripted_upstream import document
from tests.support.sweep_world import (
    PARTITIONS,
    PERIOD,
    PROJECTS,
    RATE,
    World,
    simulated,
)
from upstream.source import SerialMap


def test_what_no_row_tells_is_published_within_a_round() -> None:
    """Everybody else is asked once, answers 304, and leaves no trace in any compacted topic."""

    async def play(world: World) -> None:
        changed = {f"project-{number}" for number in range(0, PROJECTS, 20)}
        for name in changed:
            world.silently(name)
        ends = await world.log.ends(Topic.STATE)
        sweeper = world.sweep()
        await asyncio.sleep(PERIOD - 1)

        assert await world.silent() == changed
        assert await world.cursor() == sweeper.cursor
        assert (await world.cursor()).ended
        assert await world.swept() == len(changed)
        count = Counter(world.upstream.asked)
        assert {count[name] for name in changed} == {2}, "believed after a second look"
        assert {count[name] for name in count.keys() - changed} == {1}
        assert len(count) == PROJECTS
        grown = sum((await world.log.ends(Topic.STATE)).values()) - sum(ends.values())
        assert grown == 2 * len(changed), "unconfirmed, then published"
        assert all(state.status is Status.OK for state in (await world.states()).values())

    simulated(play)


def test_a_lie_under_the_true_etag_is_found_when_its_name_is_asked_for_as_a_whole() -> None:
    """A conditional look would confirm it for ever; each name is looked at whole in its round."""

    async def play(world: World) -> None:
        for number in range(10):
            name = f"project-{number}"
            [now] = world.upstream.steps[name]
            world.silently(name, etag=now.etag)  # type: ignore[union-attr]
        world.sweep()
        await asyncio.sleep(PERIOD + 10)
        first = len(await world.silent())
        await asyncio.sleep(PERIOD * (WHOLE_ROUNDS - 1))

        assert first < 10
        assert len(await world.silent()) == 10

    simulated(play)


def test_what_was_given_up_comes_first() -> None:
    """A project that was stale for a week is right again in the first minutes of the next round."""

    async def play(world: World) -> None:
        await world.rows("project-150")
        world.upstream.script("project-150", document("project-150", 3))  # never gets any newer
        await asyncio.sleep(3_600)
        assert (await world.states())["project-150"].status is Status.STALE
        world.upstream.script("project-150", document("project-150", world.serial))
        world.sweep()
        await asyncio.sleep(25)

        assert (await world.states())["project-150"].status is Status.OK
        assert (await world.cursor()).name < "project-11"

    simulated(play)


def test_a_round_goes_on_where_it_was() -> None:
    """Whoever takes over asks for the other names, but for a batch at most, in the same round."""

    async def play(world: World) -> None:
        sweeper = world.sweep()
        await asyncio.sleep(PERIOD / 2)
        world.tasks[-1].cancel()
        before = await world.cursor()
        assert PROJECTS * 0.4 < before.asked < PROJECTS * 0.6
        assert sweeper.cursor == before
        await asyncio.sleep(50)
        world.sweep()
        await asyncio.sleep(PERIOD / 2 - 50 - 1)
        after = await world.cursor()
        count = Counter(name for name, _ in await world.asks())

        assert (after.round, after.started) == (1, before.started)
        assert (after.asked, after.names) == (PROJECTS, PROJECTS)
        assert after.ended <= after.started + PERIOD + 1
        assert len(count) == PROJECTS
        assert sum(count.values()) <= PROJECTS + 16

    simulated(play)


def test_rounds_begin_a_period_apart() -> None:
    """The next one finds what came meanwhile, not before."""

    async def play(world: World) -> None:
        world.silently("project-9")
        world.sweep()
        await asyncio.sleep(PERIOD / 4)
        await world.rows("new-one")
        await asyncio.sleep(PERIOD * 3 / 4 - 5)
        first = await world.cursor()
        assert first.ended
        world.silently("project-3")
        await asyncio.sleep(PERIOD)
        second = await world.cursor()
        assert (first.before, second.before, await world.swept()) == (0, 1, 1)

        assert (first.round, first.names) == (1, PROJECTS)
        assert (second.round, second.names) == (2, PROJECTS + 1)
        assert PERIOD <= second.started - first.started <= PERIOD + 61

    simulated(play)


@pytest.mark.parametrize("rate", [RATE, 0.0])
def test_a_live_event_is_as_fast_as_without_a_sweep(rate: float) -> None:
    """Also if workers have as much to sweep as they can: each gets one permit before, no more.

    In a real round they have something to sweep for an eighth of the time.
    """

    async def play(world: World) -> None:
        async def seconds(name: str) -> float:
            loop = asyncio.get_running_loop()
            begun, count = loop.time(), sum((await world.log.ends(Topic.METADATA)).values())
            await world.rows(name)
            await world.published(count + 1)
            return loop.time() - begun

        alone = [await seconds(f"project-{number}") for number in range(30)]
        world.sweep(every=0.0001, rate=rate)
        await asyncio.sleep(5)
        swept = []
        for number in range(30):
            await asyncio.sleep(0.37)
            swept.append(await seconds(f"project-{number}"))
        reasons = {reason for _, reason in await world.asks()}

        assert reasons == {Reason.SWEEP}
        assert len(world.upstream.asked) > 60 + 20
        assert max(swept) <= max(alone) + PARTITIONS / RATE + 0.02, (max(swept), max(alone))
        assert sum(swept) <= sum(alone) + len(swept) / RATE

    simulated(play)


def test_a_backfill_does_not_wait_for_a_sweep() -> None:
    """While asks of others lie unread the sweep adds none; theirs are served first."""

    async def play(world: World) -> None:
        world.sweep(every=0.0001, rate=0)
        await asyncio.sleep(3)
        names = [NormalizedName(f"other-{number}") for number in range(300)]
        for name in names:
            world.upstream.script(name, document(name, 7))
        now_ms = world.clock.now_ms()
        before = len(await world.asks())
        world.upstream.asked.clear()
        await world.log.append(
            [ask_record(name, Ask(name, Reason.BACKFILL, 7, 9), now_ms) for name in names]
        )
        await world.until(lambda: _all(world, names), 300)
        after = len(await world.asks()) - len(names)
        others = [name for name in world.upstream.asked if not name.startswith("other-")]

        assert after - before <= UNREAD_ASKS_MAX * PARTITIONS
        # What it had asked for comes where a partition's window holds nothing else.
        assert len(others) <= UNREAD_ASKS_MAX * PARTITIONS

    simulated(play)


def test_a_backfill_comes_to_its_end_beside_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the sweep asked for before holds positions back, but never for good."""
    monkeypatch.setattr(reconcile, "UNREAD_ASKS_MAX", 120)
    monkeypatch.setattr(reconcile, "CHUNK_ASKS_MAX", 60)

    async def play(world: World) -> None:
        config = (await read_progress(world.log)).config
        assert config is not None
        world.sweep(every=0.0001, rate=0)
        await asyncio.sleep(3)
        count = 1_000
        for number in range(count):
            world.upstream.script(f"other-{number}", document(f"other-{number}", 7))
        world.upstream.map_serial = 9_999
        serial_map = await world.upstream.serial_map()
        assert isinstance(serial_map, SerialMap)
        reconciler = Reconciler(world.log, world.clock, config)
        begun = asyncio.get_running_loop().time()
        assert await reconciler.run(serial_map, Reason.BACKFILL) == count
        await world.published(PROJECTS + count)

        assert asyncio.get_running_loop().time() - begun < count / RATE * 2

    simulated(play)


async def _all(world: World, names: list[NormalizedName]) -> bool:
    return (await world.states()).keys() >= set(names)


def test_most_of_the_rate_is_left_to_others() -> None:
    """However short the period."""

    async def play(world: World) -> None:
        world.sweep(every=1)
        await asyncio.sleep(60)
        assert len(world.upstream.asked) <= 60 * RATE * RATE_SHARE + 2
        assert len(world.upstream.asked) >= 60 * RATE * RATE_SHARE * 0.9

    simulated(play)


def test_two_at_once_do_no_harm() -> None:
    """Names are asked for twice, that is all; the cursor ends at the end."""

    async def play(world: World) -> None:
        world.silently("project-7")
        world.sweep()
        world.sweep()
        await asyncio.sleep(PERIOD - 1)

        assert await world.silent() == {"project-7"}
        assert (await world.cursor()).asked == PROJECTS
        assert len(Counter(world.upstream.asked)) == PROJECTS
        assert all(state.status is Status.OK for state in (await world.states()).values())

    simulated(play)


def test_one_round_as_fast_as_it_may_and_wait_for_the_workers() -> None:
    """What `sweep --once` does."""

    async def play(world: World) -> None:
        world.silently("project-7")
        sweeper = Sweeper(world.log, world.clock, 0, 0)
        begun = asyncio.get_running_loop().time()
        ended = await sweeper.round()
        await sweeper.served()
        took = asyncio.get_running_loop().time() - begun

        assert (ended.round, ended.asked) == (1, PROJECTS)
        await asyncio.sleep(5)  # what changed is looked at twice
        assert await world.silent() == {"project-7"}
        assert len(world.upstream.asked) >= PROJECTS
        assert took <= PROJECTS / RATE * 1.2 + 2

    simulated(play)
