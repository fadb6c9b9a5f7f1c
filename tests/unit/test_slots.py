"""Slots in flight: one is kept for live events or lent, and each worker gets its turn."""

from __future__ import annotations

from processors.agenda import Lane
from processors.slots import LENT_MS, Slots


def test_the_last_slot_is_for_live_events_alone_where_a_fetch_takes_long() -> None:
    """Parked work may be all those names that hang."""
    slots = Slots(3)
    held = slots.take(0)
    later = slots.take(LENT_MS)
    assert slots.lanes(LENT_MS) == (Lane.LIVE,)
    slots.take(LENT_MS)
    assert slots.lanes(LENT_MS) == ()

    later.give()
    held.give()
    held.give()
    assert slots.used == 1


def test_the_last_slot_is_lent_as_long_as_answers_come_quickly() -> None:
    """The oldest fetch that is out decides; those that have come back do not matter."""
    slots = Slots(2)
    assert slots.lanes(0) == tuple(Lane)
    oldest = slots.take(0)
    assert slots.lanes(LENT_MS - 1) == tuple(Lane)
    slots.take(LENT_MS - 1)
    assert slots.lanes(LENT_MS - 1) == ()

    oldest.give()
    assert slots.lanes(LENT_MS) == tuple(Lane)
    assert slots.lanes(2 * LENT_MS) == (Lane.LIVE,)


def test_a_single_slot_serves_everything() -> None:
    """Whatever the time is: while nothing is out, nothing hangs."""
    assert Slots(1).lanes(10 * LENT_MS) == tuple(Lane)


def test_who_is_told_first_of_a_free_slot_changes_each_time() -> None:
    """The first one told takes it: always the same one would starve the others."""
    slots, told = Slots(1), []
    for name in "abc":
        slots.on_free(lambda name=name: told.append(name))  # type: ignore[misc]

    for _ in range(4):
        slots.take(0).give()

    assert told[::3] == ["a", "b", "c", "a"]
