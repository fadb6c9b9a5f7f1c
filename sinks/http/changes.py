"""`GET /v1/changes`: the stream of changes in pages; `GET /v1/changes.atom`: the same as Atom.

A page's links lead through all there is, in both directions. Where a filter fits little, a page
may have no changes and a link all the same: it says up to which serial it has looked.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from schemas.codec import encode
from schemas.errors import UsageError
from sinks.changes.feed import Known
from sinks.changes.pages import Page, Wanted, page_after, page_before
from sinks.http.answers import answer
from sinks.http.changes_atom import ATOM, Archive, Current, Links, archive_of, current_of, feed
from sinks.http.parameters import one_of, parameters
from sinks.http.streams.endpoint import Streams
from sinks.http.streams.frames import ChangeData
from sinks.http.streams.selection import Selection, selection, serial_of, since_of
from streams.log import LogUnavailable

LIMIT, LIMIT_MAX = 100, 1_000  # more is asked for in pages
READS_AT_ONCE = 8  # pages read out of the log at a time; others wait for their turn
PATH, ATOM_PATH = "/v1/changes", "/v1/changes.atom"


class ChangesPage(msgspec.Struct, frozen=True):
    """All selected changes in (`after`, `through`], ascending by serial.

    `head`: the last serial that was read of the journal. `base`: rows up to it are not held.
    `next`: the page of what comes after this one, also if nothing has yet; `previous`: of what was
    before, null where nothing is held.
    """

    changes: list[ChangeData]
    after: int
    through: int
    head: int
    base: int
    next: str
    previous: str | None


class ChangesPages:
    """Both endpoints over the log of some streams."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._turn = asyncio.Semaphore(READS_AT_ONCE)

    async def page(self, request: Request) -> Response:
        """By `since` (a serial or a time) upwards, by `before` downwards, else the newest ones."""
        values = parameters(request, ("since", "before", "limit", "project", "kind"))
        selected = selection(values)
        since, before = one_of(values, "since"), one_of(values, "before")
        limit = _limit(one_of(values, "limit"))
        if since is not None and before is not None:
            raise UsageError("since and before exclude each other")
        known = self._known()
        wanted = _wanted(selected)
        if since is not None:
            start = await self._serial(known, since_of(since))
            found = await self._after(known, start, limit, wanted)
        else:
            last = known.head.serial if before is None else serial_of(before) - 1
            found = await self._before(known, max(0, last), limit, wanted)
        return answer(request, encode(self._said(known, found, selected, limit)))

    async def _after(self, known: Known, since: int, limit: int, wanted: Wanted) -> Page:
        held = self._streams.recent.after(since, limit, wanted)
        if held is not None:
            return held
        async with self._turn:
            return await page_after(self._streams.log, known.head, since, limit, wanted)

    async def _before(self, known: Known, through: int, limit: int, wanted: Wanted) -> Page:
        recent = self._streams.recent
        held = recent.before(min(through, recent.through), limit, wanted)
        if held is not None:
            return held
        async with self._turn:
            return await page_before(self._streams.log, known.head, through, limit, wanted)

    async def _serial(self, known: Known, since: int | datetime) -> int:
        if isinstance(since, datetime):
            return await self._streams.after_time(known, since)
        return since

    def _known(self) -> Known:
        if self._streams.known is None:
            raise LogUnavailable("the journal has not been read", hint="start pypistream run")
        return self._streams.known

    def _said(self, known: Known, found: Page, selected: Selection, limit: int) -> ChangesPage:
        more: list[tuple[str, str]] = [*_query(selected)]
        if limit != LIMIT:
            more.append(("limit", str(limit)))
        previous = None
        if found.after > known.head.base:
            previous = f"{PATH}?{urlencode([('before', str(found.after + 1)), *more])}"
        return ChangesPage(
            changes=[self._streams.told(change) for change in found.changes],
            after=found.after,
            through=found.through,
            head=known.head.serial,
            base=known.head.base,
            next=f"{PATH}?{urlencode([('since', str(found.through)), *more])}",
            previous=previous,
        )

    async def atom(self, request: Request) -> Response:
        """The newest changes, or by `archive` what came to an end at that serial."""
        values = parameters(request, ("archive", "project", "kind"))
        selected = selection(values)
        archive = one_of(values, "archive")
        known, log, wanted = self._known(), self._streams.log, _wanted(selected)
        document: Archive | Current
        async with self._turn:
            if archive is None:
                document = await current_of(log, known.head, wanted)
            else:
                document = await archive_of(log, known.head, serial_of(archive), wanted)
        url = f"{request.url.scheme}://{request.url.netloc}{ATOM_PATH}"
        links = Links(url, tuple(_query(selected)), known.config.log_id)
        told = [self._streams.told(change) for change in document.page.changes]
        return answer(request, feed(document, told, links), ATOM)


def _wanted(selected: Selection) -> Wanted:
    """A selection, of changes."""
    return lambda change: selected.admits(change.project, change.entry.kind.value)


def _limit(text: str | None) -> int:
    if text is None:
        return LIMIT
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(LIMIT_MAX))):
        raise UsageError("limit is no number", hint=f"from 1 to {LIMIT_MAX}")
    if not 1 <= int(text) <= LIMIT_MAX:
        raise UsageError("limit is out of range", hint=f"from 1 to {LIMIT_MAX}")
    return int(text)


def _query(selected: Selection) -> list[tuple[str, str]]:
    """A selection as parameters, always in the same order: links are compared."""
    return [
        *(("project", glob) for glob in selected.globs),
        *(("kind", kind) for kind in sorted(selected.kinds)),
    ]


def routes(streams: Streams) -> list[BaseRoute]:
    """`/v1/changes` and `/v1/changes.atom`."""
    pages = ChangesPages(streams)
    return [
        Route(PATH, pages.page, methods=["GET"]),
        Route(ATOM_PATH, pages.atom, methods=["GET"]),
    ]
