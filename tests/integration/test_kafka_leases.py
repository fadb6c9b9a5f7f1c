"""The rate of several processes on a real broker: shared by leases that lie in the log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from pypistream.holding import SharedHold
from pypistream.leasing import LeasedAssignment
from streams.clock import SystemClock
from streams.kafka_group import KafkaGroup
from streams.kafka_log import KafkaLog
from streams.kafka_settings import KafkaSettings
from tests.support.scripted_upstream import ScriptedUpstream

PARTITIONS = 12
SETTLED_SECONDS_MAX = 60.0
LOOK_SECONDS = 0.02


@dataclass
class Member:
    """One process's part in the group and in the rate."""

    leased: LeasedAssignment
    holding: asyncio.Task[None]

    def share(self) -> float:
        return self.leased.share()


@asynccontextmanager
async def member(settings: KafkaSettings) -> AsyncIterator[Member]:
    """As `wiring` puts it together, until the block is left."""
    log = await KafkaLog.open(settings, PARTITIONS)
    hold = SharedHold(log, SystemClock())
    group = KafkaGroup(settings, PARTITIONS, on_assigned=hold.wake)
    hold.leased = LeasedAssignment(group, PARTITIONS)
    holding = asyncio.create_task(hold.run(ScriptedUpstream()))
    joined = asyncio.create_task(hold.leased.run())
    try:
        yield Member(hold.leased, holding)
    finally:
        for task in (holding, joined):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await log.close()


async def whole(members: Sequence[Member], users: Sequence[Member]) -> list[float]:
    """Wait until `users` have all of the rate, return shares; never have all together more."""
    async with asyncio.timeout(SETTLED_SECONDS_MAX):
        while True:
            assert sum(each.share() for each in members) <= 1 + 1e-9
            shares = [each.share() for each in users]
            if all(shares) and sum(shares) == pytest.approx(1):
                return shares
            await asyncio.sleep(LOOK_SECONDS)


async def test_who_signs_no_more_loses_its_share_to_the_others_and_stays_in_the_group(
    kafka_bootstrap: str, kafka_prefix: str
) -> None:
    """Long before the group would miss it the others use all of the rate, and never more."""
    settings = KafkaSettings(kafka_bootstrap, kafka_prefix)
    async with AsyncExitStack() as stack:
        members = [await stack.enter_async_context(member(settings)) for _ in range(3)]
        await whole(members, members)
        silent, *others = members
        held = silent.leased.partitions
        silent.holding.cancel()
        await whole(members, others)

        assert silent.share() == 0
        assert silent.leased.partitions == held, "the group still counts it among its members"
        assert all(len(each.leased.partitions) == PARTITIONS / 3 for each in others)


async def test_a_newcomer_gets_its_share_and_leaves_it(
    kafka_bootstrap: str, kafka_prefix: str
) -> None:
    """One has all of the rate, then two share it, then one has all of it again."""
    settings = KafkaSettings(kafka_bootstrap, kafka_prefix)
    async with member(settings) as first:
        await whole([first], [first])
        async with member(settings) as second:
            assert await whole([first, second], [first, second]) == [0.5, 0.5]
        await whole([first, second], [first])
