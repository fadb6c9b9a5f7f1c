"""Slots in flight: one is kept for live events, and each worker gets its turn."""

from __future__ import annotations

from processors.agenda import Lane
from processors.slots import Slots


def test_the_last_slot_is_for_live_events_alone() -> None:
    """Parked work may be all those names that hang."""
    slots = Slots(2)
    assert slots.lanes() == tuple(Lane)

    held = slots.take()
    assert slots.lanes() == (Lane.LIVE,)
    slots.take()
    assert slots.lanes() == ()

    held.give()
    held.give()
    assert slots.used == 1


def test_a_single_slot_serves_everything() -> None:
    assert Slots(1).lanes() == tuple(Lane)


def test_who_is_told_first_of_a_free_slot_changes_each_time() -> None:
    """The first one told takes it: always the same one would starve the others."""
    slots, told = Slots(1), []
    for name in "abc":
        slots.on_free(lambda name=name: told.append(name))  # type: ignore[misc]

    for _ in range(4):
        slots.take().give()

    assert told[::3] == ["a", "b", "c", "a"]
