"""Pace, hold and byte budget, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import UpstreamUnavailable
from tests.support.fake_clock import FakeClock
from upstream.limits import HOLD_SECONDS_MAX, RATE_HEADROOM, Gate

MARGIN = 0.1  # of a hold


async def arrivals(
    clock: FakeClock, waits: Sequence[Callable[[], Awaitable[None]]], seconds: float
) -> list[tuple[float, int]]:
    """When each of these waits ended, with its number."""
    ended: list[tuple[float, int]] = []

    async def one(number: int, wait: Callable[[], Awaitable[None]]) -> None:
        await wait()
        ended.append((clock.monotonic(), number))

    tasks = []
    for number, wait in enumerate(waits):
        tasks.append(asyncio.create_task(one(number, wait)))
        await asyncio.sleep(0)
    await clock.advance(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return ended


async def test_permits_come_evenly_and_never_in_a_burst() -> None:
    """Twenty who ask at once get one permit per interval, two per cent below the rate."""
    clock = FakeClock()
    gate = Gate(10, clock)

    ended = await arrivals(clock, [gate.permit] * 20, 10)

    times = [at for at, _ in ended]
    assert times == pytest.approx([n / (10 * RATE_HEADROOM) for n in range(20)])
    assert [number for _, number in ended] == list(range(20))


async def test_time_without_requests_is_not_caught_up() -> None:
    """After a minute of silence the second permit still waits for its interval."""
    clock = FakeClock()
    gate = Gate(1, clock)
    await gate.permit()
    await clock.advance(60)

    ended = await arrivals(clock, [gate.permit] * 3, 10)

    assert [at for at, _ in ended] == pytest.approx(
        [60, 60 + 1 / RATE_HEADROOM, 60 + 2 / RATE_HEADROOM]
    )


@pytest.mark.parametrize("rate", [1, 20])
async def test_a_turn_that_comes_late_does_not_put_off_the_others(rate: float) -> None:
    """A busy loop wakes everybody 40 ms late: the rate is kept, and no window broken."""
    clock = FakeClock()
    gate = Gate(rate, clock)
    sleep, sent = clock.sleep, list[float]()

    async def late(seconds: float) -> None:
        await sleep(seconds + 0.04)

    clock.sleep = late  # type: ignore[method-assign]

    async def asker() -> None:
        while True:
            await gate.permit()
            await gate.before_send()
            sent.append(clock.monotonic())

    tasks = [asyncio.create_task(asker()) for _ in range(3)]
    await clock.advance(100)
    for task in tasks:
        task.cancel()

    assert len(sent) == pytest.approx(100 * rate * RATE_HEADROOM, rel=0.02, abs=2)
    for begin in sent:
        assert sum(begin <= at < begin + 10 for at in sent) <= 10 * rate


async def test_journal_and_index_go_before_documents() -> None:
    """A request that needs no permit takes the next place; whoever waits for a permit moves on."""
    clock = FakeClock()
    gate = Gate(1, clock)
    await gate.permit()
    await gate.before_send()

    ended = await arrivals(clock, [gate.permit, gate.permit, gate.before_send], 10)

    assert [number for _, number in ended] == [2, 0, 1]
    assert [at for at, _ in ended] == pytest.approx([n / RATE_HEADROOM for n in (1, 2, 3)])


async def test_an_unlimited_gate_waits_for_nothing() -> None:
    """With rate 0 a permit and a request cost no turn of the loop."""
    gate = Gate(0, FakeClock())

    for _ in range(100):
        gate.permit().close()
        with pytest.raises(StopIteration):
            gate.permit().send(None)
        with pytest.raises(StopIteration):
            gate.before_send().send(None)


async def test_a_permit_kept_for_later_brings_no_burst() -> None:
    """Ten permits used at the same moment still leave one by one."""
    clock = FakeClock()
    gate = Gate(10, clock)
    await arrivals(clock, [gate.permit] * 10, 60)

    ended = await arrivals(clock, [gate.before_send] * 10, 10)

    assert [at for at, _ in ended] == pytest.approx(
        [60 + n / (10 * RATE_HEADROOM) for n in range(10)]
    )


async def test_permits_wait_for_a_request_that_queues() -> None:
    """No permit is granted at once to stand in the queue before the wire and grow old there."""
    clock = FakeClock()
    gate = Gate(1, clock)
    await gate.before_send()

    ended = await arrivals(clock, [gate.permit], 10)

    assert [at for at, _ in ended] == pytest.approx([1 / RATE_HEADROOM])


async def test_a_journal_polled_at_the_whole_rate_leaves_some_to_documents() -> None:
    """Without patience running out its calls would take every place."""
    clock = FakeClock()
    gate = Gate(1, clock)
    sent: list[str] = []

    async def caller(name: str) -> None:
        while True:
            if name == "document":
                await gate.permit()
            await gate.before_send()
            sent.append(name)
            if name == "journal":
                await clock.sleep(1)

    tasks = [asyncio.create_task(caller(name)) for name in ("journal", "document", "document")]
    await clock.advance(300)
    for task in tasks:
        task.cancel()

    assert 285 <= len(sent) <= 300
    assert 90 <= sent.count("document") <= 210


@pytest.mark.parametrize("rate", [0, 10])
async def test_a_hold_shuts_both_gates(rate: float) -> None:
    """Nothing passes before its end, not even without a rate."""
    clock = FakeClock()
    gate = Gate(rate, clock)
    gate.hold(clock.wall() + 30)

    permits = await arrivals(clock, [gate.permit], 60)
    gate.hold(clock.wall() + 30)
    sends = await arrivals(clock, [gate.before_send], 60)

    assert [at for at, _ in permits] == pytest.approx([30 + MARGIN])
    assert [at for at, _ in sends] == pytest.approx([90 + MARGIN])


async def test_a_hold_binds_those_who_already_wait() -> None:
    """A request that waits for its place when the hold comes in waits for the hold too."""
    clock = FakeClock()
    gate = Gate(1, clock)
    await gate.before_send()
    request = asyncio.create_task(gate.before_send())
    permit = asyncio.create_task(gate.permit())
    await clock.advance(0.5)
    gate.hold(clock.wall() + 30)
    await clock.advance(30)
    assert not request.done()
    assert not permit.done()
    await clock.advance(10)

    await request
    await permit


async def test_the_latest_hold_wins_and_none_lasts_over_an_hour() -> None:
    """A shorter one does not lift a longer one; nonsense is capped."""
    clock = FakeClock()
    gate = Gate(0, clock)

    gate.hold(clock.wall() + 60)
    gate.hold(clock.wall() + 5)
    assert gate.held_seconds() == pytest.approx(60 + MARGIN)
    until = gate.hold(clock.wall() + 1e12)
    assert gate.held_seconds() == pytest.approx(HOLD_SECONDS_MAX + MARGIN)
    assert until == pytest.approx(clock.wall() + HOLD_SECONDS_MAX + MARGIN)


async def test_setting_the_wall_clock_neither_lifts_nor_prolongs_a_hold() -> None:
    """A hold is kept on the clock that never goes back."""
    clock = FakeClock()
    gate = Gate(0, clock)
    gate.hold(clock.wall() + 60)

    clock.wall_offset += 86_400
    assert gate.held_seconds() == pytest.approx(60 + MARGIN)
    clock.wall_offset -= 2 * 86_400
    assert gate.held_seconds() == pytest.approx(60 + MARGIN)


async def test_a_rate_that_is_followed_counts_from_the_next_turn_on() -> None:
    """Half the share takes twice as long; whoever waits already waits for its old turn."""
    clock = FakeClock()
    gate = Gate(0, clock)
    gate.follow(lambda: 10.0 if clock.monotonic() < 5 else 5.0)

    ended = await arrivals(clock, [gate.permit] * 200, 10)

    times = [at for at, _ in ended]
    assert sum(at <= 5 for at in times) == pytest.approx(5 * 10 * RATE_HEADROOM, abs=1)
    assert sum(at > 5 for at in times) == pytest.approx(5 * 5 * RATE_HEADROOM, abs=1)


async def test_a_barred_process_asks_for_no_document_but_reads_the_journal() -> None:
    """No permit and no request until the bar is lifted; control goes through all the time."""
    clock = FakeClock()
    gate = Gate(0, clock)
    gate.follow(lambda: None if clock.monotonic() < 30 else 10.0)

    async def control() -> None:
        await gate.before_send(control=True)

    ended = await arrivals(clock, [gate.permit, gate.before_send, control], 60)

    assert [number for _, number in ended] == [2, *sorted(number for _, number in ended[1:])]
    assert [at >= 30 for at, _ in ended] == [False, True, True]
    assert max(at for at, _ in ended) <= 31


async def test_a_bar_binds_a_request_whose_turn_has_come() -> None:
    """A process stopped amid its wait must not send when it goes on."""
    clock = FakeClock()
    gate = Gate(1, clock)
    member = True
    gate.follow(lambda: 1.0 if member else None)
    await gate.before_send()
    request = asyncio.create_task(gate.before_send())
    await clock.advance(0.5)
    member = False
    await clock.advance(10)

    assert not request.done()
    assert not gate.open_to(control=False)
    assert gate.open_to(control=True)
    member = True
    await clock.advance(10)
    await request


async def test_who_gives_up_waiting_takes_no_permit() -> None:
    """A cancelled waiter's turn goes to the next one."""
    clock = FakeClock()
    gate = Gate(1, clock)
    await gate.permit()
    task = asyncio.create_task(gate.permit())
    await asyncio.sleep(0)
    task.cancel()

    ended = await arrivals(clock, [gate.permit], 10)

    assert [at for at, _ in ended] == pytest.approx([1 / RATE_HEADROOM])


async def test_closing_turns_everyone_away() -> None:
    """Those who wait and those who come later get an error; twice is no harm."""
    clock = FakeClock()
    gate = Gate(1, clock)
    await gate.permit()
    task = asyncio.create_task(gate.permit())
    await asyncio.sleep(0)

    await gate.close()
    await gate.close()

    with pytest.raises(UpstreamUnavailable):
        await task
    with pytest.raises(UpstreamUnavailable):
        await gate.permit()


@given(
    rate=st.sampled_from([1.0, 3.0, 10.0, 50.0]),
    delays=st.lists(st.floats(0, 3), min_size=1, max_size=60),
    without_permit=st.integers(0, 3),
)
def test_no_window_of_ten_seconds_holds_more_than_the_rate(
    rate: float, delays: list[float], without_permit: int
) -> None:
    """Whatever callers do between permit and request, requests arrive within the rate."""
    sent: list[float] = []

    async def caller(clock: FakeClock, gate: Gate, number: int, delay: float) -> None:
        if number >= without_permit:
            await gate.permit()
        await clock.sleep(delay)
        await gate.before_send()
        sent.append(clock.monotonic())

    async def run() -> None:
        clock = FakeClock()
        gate = Gate(rate, clock)
        callers = [
            asyncio.create_task(caller(clock, gate, number, delay))
            for number, delay in enumerate(delays)
        ]
        await clock.advance(200)
        await asyncio.gather(*callers)

    asyncio.run(run())

    assert len(sent) == len(delays)
    for first in sent:
        assert sum(first <= at < first + 10 for at in sent) <= 10 * rate
