"""How a writer wakes the readers of its own process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Hashable, Iterator
from typing import NamedTuple


class _Listener(NamedTuple):
    loop: asyncio.AbstractEventLoop
    places: frozenset[Hashable]


class Bell:
    """Wakes readers. They listen before they look, so that they miss nothing in between."""

    def __init__(self) -> None:
        self._listeners: dict[asyncio.Event, _Listener] = {}

    @contextlib.contextmanager
    def listening(self, places: Collection[Hashable] = ()) -> Iterator[asyncio.Event]:
        """An event that is set by every `ring` from now on; the listener clears it.

        With `places` it is not set by a ring that names others only.
        """
        event = asyncio.Event()
        self._listeners[event] = _Listener(asyncio.get_running_loop(), frozenset(places))
        try:
            yield event
        finally:
            del self._listeners[event]

    @property
    def heard(self) -> bool:
        """Whether anyone listens."""
        return bool(self._listeners)

    def ring(self, places: Collection[Hashable] = ()) -> None:
        """Wake all listeners, or those of `places`. May be called from any thread."""
        for event, listener in list(self._listeners.items()):
            if places and listener.places and listener.places.isdisjoint(places):
                continue
            with contextlib.suppress(RuntimeError):  # its loop has been closed: nobody waits there
                listener.loop.call_soon_threadsafe(event.set)


async def woken_within(event: asyncio.Event, seconds: float | None) -> None:
    """Wait for the event; it is set after so many seconds (None = never) if nobody sets it before.

    For a caller that looks afterwards in any case: a timer costs a fifth of a cancelling time-out.
    """
    timer = None
    if seconds is not None:
        timer = asyncio.get_running_loop().call_later(seconds, event.set)
    try:
        await event.wait()
    finally:
        if timer is not None:
            timer.cancel()


async def heard_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event for at most so many seconds; True if it was set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
