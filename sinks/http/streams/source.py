"""The port between a hub and what its events come from."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

P = TypeVar("P")


class Event(NamedTuple):
    """One event. `data`: its frame. `number`: serial, or offset in `partition`. `kind` "": none."""

    project: str
    kind: str
    data: bytes
    number: int
    partition: int = 0


class News(NamedTuple, Generic[P]):
    """Events that were committed, and the position after them."""

    events: Sequence[Event]
    position: P


class Source(Protocol[P]):
    """Where a hub's events come from; a position says which of them somebody has."""

    async def begin(self) -> tuple[P, P]:
        """A position a little before the log's end, and the end. Waits until there is one."""
        ...

    def live(self) -> AsyncGenerator[News[P], None]:
        """Everything after `begin`, gathered; also without events, where the position moves."""
        ...

    def past(self, position: P, target: P) -> AsyncGenerator[News[P], None]:
        """Everything between, out of the log, in bounded pieces, each of which moves on."""
        ...

    def covers(self, position: P, event: Event) -> bool:
        """Whether who stands there has it."""
        ...

    def reaches(self, position: P, floor: P) -> bool:
        """Whether who stands there has all that lies before `floor`."""
        ...

    def after(self, position: P, events: Sequence[Event]) -> P:
        """The position once these are given, too."""
        ...

    def resumable(self, event: Event, position: P) -> Event:
        """The event for a client that stands at `position` then: its id resumes there.

        A client may have what the hub had not, when it had the event.
        """
        ...

    def mark(self, position: P) -> bytes:
        """A frame without data that lets a client resume here; it shows that we are alive, too."""
        ...
