"""When and how a feed publishes its sink: periodically, and while it goes on where a sink can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Protocol

import structlog

from sinks.sink import Copying, Published, Publishing, Sink, Vector
from streams.clock import Clock

PUBLISH_SHARE_MAX = 0.2  # the most of the time that publishing may take, at any size

Publication = asyncio.Task[Published | None]
"""None = it was given up, and nothing was published."""

log_ = structlog.get_logger("sinks.feed")


class Call(Protocol):
    """Calls one of the sink's methods in the sink's thread."""

    async def __call__(self, function: Callable[..., Any], *given: Any) -> Any:
        """Call the method; returns its result."""
        ...


class Publisher:
    """Publishes one sink, at most one publication at a time.

    `begin` and `settle` are for the caller that has the feed's turn. `told` is called, on the loop,
    with what was published and the clock's milliseconds. `copier` has one thread, and is shut down
    here.
    """

    def __init__(
        self,
        sink: Sink,
        call: Call,
        copier: Executor,
        clock: Clock,
        every_ms: float,
        told: Callable[[Published, int], None],
    ) -> None:
        self.published: Vector | None = None  # what readers see, as far as known
        self._sink = sink
        self._call = call
        self._copier = copier
        self._clock = clock
        self._every_ms = every_ms
        self._told = told
        self._next_ms = 0.0
        self._task: Publication | None = None
        self._copying: Copying | None = None
        self._stopping = False

    @property
    def busy(self) -> bool:
        """Whether a publication is in progress, or not settled."""
        return self._task is not None

    def due(self, reached: Vector | None) -> bool:
        """Whether that cut is to be published now."""
        return not self.busy and reached != self.published and self._clock.now_ms() >= self._next_ms

    async def begin(self, reached: Vector | None) -> Publication:
        """Begin to publish the cut reached last; afterwards the sink's other methods may be called.

        For a sink that is not `Publishing` it is done when this returns. Raises what the sink
        raises.
        """
        assert not self.busy
        held = asyncio.Event()
        self._task = publication = asyncio.create_task(self._publish(reached, held))
        await held.wait()
        await self.settle()
        return publication

    async def _publish(self, reached: Vector | None, held: asyncio.Event) -> Published | None:
        started_ms = self._clock.now_ms()
        try:
            published = await self._made(started_ms, held)
        finally:
            held.set()
        ended_ms = self._clock.now_ms()
        rest_ms = (ended_ms - started_ms) * (1 / PUBLISH_SHARE_MAX - 1)
        if published is not None or not self._stopping:
            self._next_ms = max(started_ms + self._every_ms, ended_ms + rest_ms)
        if published is not None:
            self.published = reached
            self._told(published, ended_ms)
        return published

    async def _made(self, started_ms: int, held: asyncio.Event) -> Published | None:
        if not isinstance(self._sink, Publishing):
            published: Published = await self._call(self._sink.publish, started_ms)
            return published
        copying: Copying = await self._call(self._sink.hold, started_ms)
        self._copying = copying
        if self._stopping:
            copying.stop()
        work = self._copier.submit(copying.copied)
        held.set()
        return await asyncio.wrap_future(work)

    async def settle(self) -> None:
        """If a publication has ended, release the sink. Raises what the publication raised."""
        publication = self._task
        if publication is None or not publication.done():
            return
        self._task = None
        copying, self._copying = self._copying, None
        if copying is not None and isinstance(self._sink, Publishing):
            await self._call(self._sink.release)
        publication.result()

    async def idle(self) -> None:
        """Wait until nothing is in progress; it may still have to be settled."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def outcome(self, publication: Publication, turn: asyncio.Lock) -> Published | None:
        """The result of a publication that was begun.

        Raises what it raised, unless that was reported.

        None = it has to be begun again.
        """
        await asyncio.wait([publication])
        async with turn:
            if publication is self._task:
                await self.settle()
        return None if publication.exception() is not None else publication.result()

    async def give_up(self) -> None:
        """End a publication in progress; the sink's `reset` or `close` follows."""
        publication, self._stopping = self._task, True
        if publication is not None:
            if self._copying is not None:
                self._copying.stop()
            await asyncio.wait([publication])
            if not publication.cancelled() and publication.exception() is not None:
                log_.warning("a publication failed", why=str(publication.exception()))
        self._task = self._copying = None
        self._stopping = False

    async def end(self) -> None:
        """End a publication in progress, and allow no further one."""
        await self.give_up()
        self._copier.shutdown()
