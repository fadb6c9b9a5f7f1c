"""What a member of the group may fetch: its share, and nothing while in doubt."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from random import Random

import pytest

from streams.assignment import QUIET_SECONDS, Everything, Membership

SESSION = 10.0
ALL = frozenset(range(12))
HALF = frozenset(range(6))


def member(total: int = 12) -> Membership:
    return Membership(total, SESSION)


def settled(partitions: frozenset[int], now: float = 0.0) -> Membership:
    """A member that was given these long enough ago."""
    one = member()
    one.assigned(partitions, now - 2 * QUIET_SECONDS)
    one.confirmed(now)
    return one


def test_whoever_was_given_nothing_fetches_nothing() -> None:
    """Before the first assignment there is no share."""
    assert member().share(0.0) == 0.0


def test_a_newcomer_waits_a_second() -> None:
    """Whoever gave the partitions up may hear of it a little later."""
    one = member()
    one.assigned(HALF, 100.0)

    assert one.share(100.0 + QUIET_SECONDS - 0.01) == 0.0
    assert one.share(100.0 + QUIET_SECONDS) == 0.5


def test_what_is_lost_counts_at_once_what_is_gained_after_a_second() -> None:
    """In the first second nobody takes more than before, nor more than after."""
    loser, gainer = settled(ALL), settled(HALF)
    loser.assigned(HALF, 0.0)
    gainer.assigned(ALL, 0.0)

    assert (loser.share(0.0), gainer.share(0.0)) == (0.5, 0.5)
    assert (loser.share(QUIET_SECONDS), gainer.share(QUIET_SECONDS)) == (0.5, 1.0)


def test_without_an_answer_of_the_group_there_is_no_share() -> None:
    """After half a session nobody knows whether the partitions are still ours."""
    one = settled(ALL)

    assert one.share(SESSION / 2) == 1.0
    assert one.share(SESSION / 2 + 0.01) == 0.0
    one.confirmed(SESSION)
    assert one.share(SESSION) == 1.0
    assert one.partitions == ALL


def test_an_answer_to_an_older_question_proves_nothing_new() -> None:
    """What counts is when it was asked, and the latest of those."""
    one = settled(ALL, 100.0)
    one.confirmed(90.0)

    assert one.share(104.0) == 1.0


def test_whoever_was_put_out_begins_as_a_newcomer() -> None:
    """Its old share is somebody else's, and being listed again is no assignment."""
    one = settled(ALL)
    one.denied(0.5)
    one.confirmed(1.0)
    assert one.share(1.0) == 0.0
    assert not one.well(1.0)

    one.assigned(ALL, 2.0)
    assert one.share(2.5) == 0.0
    assert one.share(3.0) == 1.0


def test_an_answer_from_before_the_join_that_comes_after_it_says_nothing() -> None:
    """Questions and joins go over different connections: they may overtake each other."""
    one = member()
    one.assigned(ALL, 10.0)
    one.denied(9.9)

    assert one.well(10.0)
    assert one.share(11.0) == 1.0


def test_stopped_for_longer_than_half_a_session_then_joining_anew() -> None:
    """SIGSTOP and SIGCONT: no fetch until the group has assigned something again."""
    one = settled(ALL)
    one.rejoining(12.0)
    one.confirmed(12.1)  # it is listed as soon as it has asked to join
    assert one.share(12.1) == 0.0

    one.assigned(HALF, 13.0)
    assert one.share(13.5) == 0.0
    assert one.share(14.0) == 0.5


def test_an_ordinary_change_is_no_pause() -> None:
    """While a rebalance goes on every member keeps its old share."""
    one = settled(HALF)
    one.rejoining(3.0)

    assert one.share(3.0) == 0.5


@pytest.mark.parametrize("latency", [0.0, 0.9])
def test_all_shares_together_are_never_more_than_one(seed: int, latency: float) -> None:
    """Members join and leave at random and hear of it up to `latency` seconds apart."""
    chance = Random(seed)
    members: list[Membership] = []
    now = 0.0
    for _ in range(200):
        news = _rebalanced(members, chance)
        heard = sorted((now + chance.uniform(0, latency), number) for number in range(len(news)))
        sums = []
        for at, number in heard:
            news[number][0].assigned(news[number][1], at)
            for one in {id(m): m for m in (*members, *(m for m, _ in news))}.values():
                one.confirmed(at)
            sums.append(_sum(members, news, at))
        members = [one for one, _ in news]
        now += latency + chance.uniform(0.0, 3.0)
        for one in members:
            one.confirmed(now)
        sums.append(sum(one.share(now) for one in members))
        assert max(sums) <= 1.0 + 1e-9, (seed, sums)


def _sum(
    members: Sequence[Membership], news: Sequence[tuple[Membership, object]], at: float
) -> float:
    return sum(
        one.share(at) for one in {id(m): m for m in (*members, *(m for m, _ in news))}.values()
    )


def _rebalanced(
    members: Sequence[Membership], chance: Random
) -> list[tuple[Membership, frozenset[int]]]:
    """Who is there next, and with what; whoever leaves has stopped fetching before."""
    stay = [one for one in members if chance.random() < 0.7]
    for one in members:
        if one not in stay:
            one.denied(float("inf"))
    stay += [member() for _ in range(chance.randint(0 if stay else 1, 2))]
    parts = sorted(ALL)
    chance.shuffle(parts)
    return [
        (one, frozenset(parts[number :: len(stay)])) for number, one in zip(itertools.count(), stay)
    ]


async def test_a_process_on_its_own_has_everything() -> None:
    """All partitions, the whole rate, and no change ever."""
    alone = Everything(4)

    assert alone.partitions == {0, 1, 2, 3}
    assert alone.share() == 1.0
    assert await alone.changed(frozenset()) == alone.partitions
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(alone.changed(alone.partitions), 0.01)
