"""Fetches that may be in flight at once, shared by all workers of a process."""

from __future__ import annotations

from collections.abc import Callable

from processors.agenda import URGENT, Lane

LENT_MS = 250  # a few round trips: with answers this quick a live event hardly waits
ALL_LANES = tuple(Lane)


class Slots:
    """`capacity` slots, one of which is kept for live events once a fetch takes LENT_MS or more.

    Before that it serves every fetch, since a slot becomes free in a moment anyway (ADR 023). By
    the time that hanging fetches have taken all others, the oldest has been out longer than
    LENT_MS. Times: Unix milliseconds.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._out: dict[Slot, int] = {}  # since when; the first is the oldest
        self._on_free: list[Callable[[], None]] = []

    @property
    def used(self) -> int:
        """How many are in use."""
        return len(self._out)

    def lanes(self, now_ms: int) -> tuple[Lane, ...]:
        """The lanes that may start a fetch now."""
        free = self.capacity - len(self._out)
        if free <= 0:
            return ()
        if free > 1 or now_ms - next(iter(self._out.values()), now_ms) < LENT_MS:
            return ALL_LANES
        return URGENT

    def take(self, now_ms: int) -> Slot:
        """Use a slot."""
        slot = Slot(self)
        self._out[slot] = now_ms
        return slot

    def freed(self, slot: Slot) -> None:
        """A slot came back: tell everyone who waits for one."""
        del self._out[slot]
        for wake in self._on_free:
            wake()
        if self._on_free:  # the first to be woken gets it, so each worker in turn
            self._on_free.append(self._on_free.pop(0))

    def on_free(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever a slot becomes free."""
        self._on_free.append(wake)

    def forget(self, wake: Callable[[], None]) -> None:
        """Do not call `wake` any more."""
        self._on_free.remove(wake)


class Slot:
    """One slot in use. Giving it back again has no effect."""

    def __init__(self, slots: Slots) -> None:
        self._slots: Slots | None = slots

    @property
    def held(self) -> bool:
        """Whether it has not been given back."""
        return self._slots is not None

    def give(self) -> None:
        """Give it back."""
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.freed(self)

    def given_by(self, _task: object) -> None:
        """Give it back because the task that had it is done."""
        self.give()
