"""How a writer wakes the readers of its own process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator


class Bell:
    """Readers listen before they look, so that nothing written in between goes unnoticed."""

    def __init__(self) -> None:
        self._listeners: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    @contextlib.contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """An event that is set by every `ring` from now on; the listener clears it."""
        event = asyncio.Event()
        self._listeners[event] = asyncio.get_running_loop()
        try:
            yield event
        finally:
            del self._listeners[event]

    @property
    def heard(self) -> bool:
        """True while anyone listens."""
        return bool(self._listeners)

    def ring(self) -> None:
        """Wake all listeners. May be called from any thread."""
        for event, loop in list(self._listeners.items()):
            with contextlib.suppress(RuntimeError):  # its loop has been closed: nobody waits there
                loop.call_soon_threadsafe(event.set)


async def heard_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event for at most so long; True if it came."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
