"""The live streams: `/v1/stream/changes` and `/v1/stream/metadata`.

Each has one reader of the log, whoever listens. A stream is resumed by the id that came last: the
serial of a change, the cursor of a document.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime

from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from schemas.errors import Retriable, UsageError
from sinks.changes.feed import Known, Place, reaches_back, serial_before
from sinks.changes.order import Change
from sinks.changes.pages import Recent
from sinks.http.library import Library
from sinks.http.parameters import one_of, parameters
from sinks.http.streams.changes import ChangesSource
from sinks.http.streams.cursor import BadCursor, cursor_of
from sinks.http.streams.frames import LIVE, ChangeData, change_data, reset_frame
from sinks.http.streams.hashes import files_of
from sinks.http.streams.hub import Hub, Limits
from sinks.http.streams.metadata import MetadataSource, Positions
from sinks.http.streams.selection import Selection, selection, since_of
from sinks.http.streams.sse import Beginning, EventStream
from streams.clock import unix_ms
from streams.log import Log, LogUnavailable
from streams.masking import MaskedLog

LAST_EVENT_ID = "last-event-id"
SEEKS_AT_ONCE = 4  # looks for a time in the log
RULES_SECONDS = 1.0  # between two looks whether something must not be given any more


class Streams:
    """Both streams of a log. `run` it beside the server; `close` it before the server stops.

    `library` knows what a removed project's files were; without it changes carry no hashes.
    """

    def __init__(
        self,
        log: Log,
        library: Library | None = None,
        limits: Limits | None = None,
        now_ms: Callable[[], int] = unix_ms,
    ) -> None:
        self.log = MaskedLog.of(log)
        self._library = library
        self._seeks = asyncio.Semaphore(SEEKS_AT_ONCE)
        self._changes = ChangesSource(self.log, self.told)
        self._metadata = MetadataSource(self.log, now_ms)
        self.changes = Hub(self._changes, limits)
        self.metadata = Hub(self._metadata, limits)

    @property
    def known(self) -> Known | None:
        """The log's config and head, as of the last look; None = nothing yet."""
        return self._changes.known

    @property
    def recent(self) -> Recent:
        """The newest changes."""
        return self._changes.recent

    @property
    def clients(self) -> int:
        """How many listen now."""
        return len(self.changes.clients) + len(self.metadata.clients)

    @property
    def dropped(self) -> int:
        """How many were too slow, since the start."""
        return self.changes.dropped + self.metadata.dropped

    async def run(self) -> None:
        """Follow the log until cancelled; waits out a log that does not answer.

        Raises LogCorrupt, LogTruncated and other Fatal errors.
        """
        roles = [asyncio.create_task(hub.run()) for hub in (self.changes, self.metadata)]
        roles.append(asyncio.create_task(self._follow_rules()))
        try:
            done, _ = await asyncio.wait(roles, return_when=asyncio.FIRST_EXCEPTION)
            for role in done:
                role.result()
        finally:
            for role in roles:
                role.cancel()
            await asyncio.gather(*roles, return_exceptions=True)
            await self.log.leave()

    async def _follow_rules(self) -> None:
        """What is at hand was made under the rules of its time: with a new one it is let go."""
        known: int | None = None
        while True:
            with contextlib.suppress(Retriable):  # what is read meanwhile says so
                count = (await self.log.look(RULES_SECONDS)).count
                if known is not None and count > known:
                    self.changes.forget()
                    self.metadata.forget()
                    self._changes.forget()
                known = count
            await asyncio.sleep(RULES_SECONDS)

    def close(self) -> None:
        """End every stream: clients are told to come again, and may resume elsewhere."""
        self.changes.close()
        self.metadata.close()

    def told(self, change: Change) -> ChangeData:
        """What is said of a change, with the last known files where it takes something away."""
        files, omitted = None, 0
        if self._library is not None:
            files, omitted = files_of(change, self._library)
        return change_data(change, files, omitted)

    async def after_time(self, known: Known, moment: datetime) -> int:
        """The serial after which everything since then comes."""
        async with self._seeks:
            return await serial_before(self.log, known.head, int(moment.timestamp()))

    async def begin_changes(self, request: Request) -> Beginning[Place]:
        """By Last-Event-ID, else by `since`, else now. Raises UsageError, LogUnavailable."""
        asked = request.headers.get(LAST_EVENT_ID) or _since(request)
        if asked is None:
            return Beginning(None)
        since = since_of(asked)
        known = self.known
        if known is None:
            raise LogUnavailable("the log has not been founded", hint="start pypistream run")
        whole = True
        if isinstance(since, datetime):
            moment, since = int(since.timestamp()), await self.after_time(known, since)
            async with self._seeks:
                whole = await reaches_back(self.log, known.head, moment, since)
        first = b""
        if since < known.head.base or not whole:
            first = reset_frame("rows up to this serial are not held", serial=known.head.base)
        return Beginning(Place(since), first)

    async def begin_metadata(self, request: Request) -> Beginning[Positions]:
        """By Last-Event-ID, else by `since`, a cursor or 0; else now."""
        asked = request.headers.get(LAST_EVENT_ID) or _since(request)
        if asked is None:
            return Beginning(None)
        if self._metadata.config is None:
            raise LogUnavailable("the log has not been founded", hint="start pypistream run")
        if asked == "0":
            return await self._from_the_start(b"")
        try:
            cursor = cursor_of(asked)
        except BadCursor as error:
            raise UsageError(
                "since is no cursor of this stream", hint="give an id of it, or 0"
            ) from error
        if reason := await self._metadata.trusted(cursor):
            return await self._from_the_start(reset_frame(reason))
        return Beginning(cursor.positions)

    async def _from_the_start(self, first: bytes) -> Beginning[Positions]:
        ends = await self._metadata.ends()
        return Beginning(await self._metadata.starts(), first, LIVE, ends)


def _selected(request: Request) -> Selection:
    return selection(parameters(request, ("since", "project", "kind")))


def _selected_documents(request: Request) -> Selection:
    if "kind" in request.query_params:
        raise UsageError("kind is about changes", hint="use /v1/stream/changes")
    return selection(parameters(request, ("since", "project")))


def _since(request: Request) -> str | None:
    return one_of({"since": request.query_params.getlist("since")}, "since")


def routes(streams: Streams) -> list[BaseRoute]:
    """`/v1/stream/changes` and `/v1/stream/metadata`."""
    changes = EventStream(streams.changes, _selected, streams.begin_changes)
    metadata = EventStream(streams.metadata, _selected_documents, streams.begin_metadata)
    return [
        Route("/v1/stream/changes", changes, methods=["GET"]),
        Route("/v1/stream/metadata", metadata, methods=["GET"]),
    ]
