"""A group that only assigns partitions, on a real broker: several members in one process."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from streams.kafka_group import GROUP_ID, KafkaGroup
from streams.kafka_log import KafkaLog
from streams.kafka_settings import KafkaSettings

PARTITIONS = 12
ALL = frozenset(range(PARTITIONS))
JOIN_SECONDS_MAX = 90.0  # a broker waits up to 3 s for more members, a heartbeat is 3 s more
LOOK_SECONDS = 0.05


@pytest.fixture
async def settings(kafka_bootstrap: str, kafka_prefix: str) -> KafkaSettings:
    """Topics are there."""
    settings = KafkaSettings(kafka_bootstrap, kafka_prefix)
    log = await KafkaLog.open(settings, PARTITIONS)
    await log.close()
    return settings


@asynccontextmanager
async def member(settings: KafkaSettings) -> AsyncIterator[KafkaGroup]:
    """A member until the block is left."""
    group = KafkaGroup(settings, PARTITIONS)
    task = asyncio.create_task(group.run())
    try:
        yield group
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def settled(groups: Sequence[KafkaGroup]) -> float:
    """Wait until these have all partitions and the whole rate between them; how long it took."""
    begun = time.monotonic()
    async with asyncio.timeout(JOIN_SECONDS_MAX):
        while True:
            parts = [group.partitions for group in groups]
            shares = [group.share() for group in groups]
            whole = frozenset().union(*parts) == ALL and sum(shares) == pytest.approx(1)
            if whole and all(shares):
                assert sum(map(len, parts)) == PARTITIONS
                return time.monotonic() - begun
            await asyncio.sleep(LOOK_SECONDS)


async def test_members_come_and_go_and_partitions_stay_where_they_can(
    settings: KafkaSettings,
) -> None:
    """One has all, two have half each, three a third; whoever leaves is missed within seconds."""
    async with member(settings) as first, member(settings) as second:
        await settled([first, second])
        before = [first.partitions, second.partitions]
        async with member(settings) as third:
            assert third.share() == 0
            assert not third.known
            await settled([first, second, third])
            assert first.partitions < before[0]
            assert second.partitions < before[1]
            assert {len(each.partitions) for each in (first, second, third)} == {4}
            kept = first.partitions
        assert third.share() == 0  # at once, and what it had is not forgotten: it is only doubted
        await settled([first, second])
        assert kept < first.partitions


async def test_a_change_is_heard_of(settings: KafkaSettings) -> None:
    """`changed` returns what is new, and waits while nothing is."""
    async with member(settings) as first:
        assert await asyncio.wait_for(first.changed(frozenset()), JOIN_SECONDS_MAX) == ALL
        async with member(settings) as second:
            half = await asyncio.wait_for(first.changed(ALL), JOIN_SECONDS_MAX)
            assert len(half) == PARTITIONS / 2
            await settled([first, second])
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(first.changed(half), 1)


async def test_the_group_stores_no_offsets(settings: KafkaSettings) -> None:
    """Positions lie in `progress`: nothing of the group's could ever disagree with them."""
    async with member(settings) as only:
        await settled([only])
        admin = AIOKafkaAdminClient(**settings.connection())
        await admin.start()
        try:
            found = await admin.list_consumer_group_offsets(settings.prefix + GROUP_ID)
        finally:
            await admin.close()
    assert found == {}


async def test_claims_that_contradict_each_other_are_shared_out(settings: KafkaSettings) -> None:
    """Whoever comes back asks for what it had, and others have it by now: each is given a third."""
    groups = [KafkaGroup(settings, PARTITIONS) for _ in range(3)]
    tasks = [asyncio.create_task(group.run()) for group in groups]
    try:
        await settled(groups)
        tasks[0].cancel()
        await asyncio.wait([tasks[0]])
        await settled(groups[1:])
        tasks[0] = asyncio.create_task(groups[0].run())
        await settled(groups)
        assert [len(group.partitions) for group in groups] == [4, 4, 4]

        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        tasks = [asyncio.create_task(group.run()) for group in reversed(groups)]
        await settled(groups)
        assert [len(group.partitions) for group in groups] == [4, 4, 4]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
