"""The bytes that all bodies may take while they are read."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upstream.limits import ByteBudget


async def test_bodies_wait_while_others_hold_the_budget() -> None:
    """The second reader stops at the budget and goes on when the first is done."""
    budget = ByteBudget(100)
    grown = asyncio.Event()

    async def second() -> None:
        with budget.lease() as lease:
            await lease.take(50)
            grown.set()

    with budget.lease() as first:
        await first.take(80)
        task = asyncio.create_task(second())
        await asyncio.sleep(0)
        assert not grown.is_set()
        await first.take(500)  # the oldest may always go on: nobody waits for ever
        assert budget.used == 580

    await task
    assert grown.is_set()
    assert budget.used == 0


async def test_a_failed_or_cancelled_reader_gives_its_bytes_back() -> None:
    """An error inside the lease, and a cancellation while waiting, leave nothing reserved."""
    budget = ByteBudget(100)

    async def waiter() -> None:
        with budget.lease() as lease:
            await lease.take(10)
            await lease.take(1_000)

    with budget.lease() as oldest:
        await oldest.take(1)
        task = asyncio.create_task(waiter())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert budget.used == 1
        with pytest.raises(ZeroDivisionError), budget.lease() as lease:  # noqa: PT012
            await lease.take(5)
            _ = 1 // 0
        assert budget.used == 1


@given(st.lists(st.lists(st.integers(1, 80), min_size=1, max_size=5), min_size=1, max_size=12))
def test_readers_of_any_sizes_all_finish(bodies: list[list[int]]) -> None:
    """No order of growing locks the budget up; it is never exceeded by more than one body."""
    budget = ByteBudget(100)
    most = 0

    async def reader(parts: list[int]) -> None:
        nonlocal most
        with budget.lease() as lease:
            for part in parts:
                await lease.take(part)
                most = max(most, budget.used)
                await asyncio.sleep(0)

    async def run() -> None:
        async with asyncio.timeout(10):
            await asyncio.gather(*(reader(parts) for parts in bodies))

    asyncio.run(run())

    assert budget.used == 0
    assert most <= 100 + max(map(sum, bodies))
