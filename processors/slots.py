"""Fetches that may be in flight at once, shared by all workers of a process."""

from __future__ import annotations

from collections.abc import Callable

from processors.agenda import URGENT, Lane


class Slots:
    """`capacity` slots, one of which is kept for live events."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        self._on_free: list[Callable[[], None]] = []

    def lanes(self) -> tuple[Lane, ...]:
        """The lanes that may start a fetch now."""
        free = self.capacity - self.used
        if free <= 0:
            return ()
        return tuple(Lane) if free > 1 or self.capacity == 1 else URGENT

    def take(self) -> Slot:
        """Use a slot."""
        self.used += 1
        return Slot(self)

    def freed(self) -> None:
        """A slot came back: tell everyone who waits for one."""
        self.used -= 1
        for wake in self._on_free:
            wake()
        if self._on_free:  # who is woken first gets it: each worker in turn
            self._on_free.append(self._on_free.pop(0))

    def on_free(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever a slot becomes free."""
        self._on_free.append(wake)

    def forget(self, wake: Callable[[], None]) -> None:
        """Do not call `wake` any more."""
        self._on_free.remove(wake)


class Slot:
    """One slot in use; giving it back twice is giving it back once."""

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
            slots.freed()

    def given_by(self, _task: object) -> None:
        """Give it back because the task that had it is done."""
        self.give()
