"""The page: `/` and what it leads to, as HTML that needs no scripts; scripts make it live.

    /                   status, changes per minute, live feed, newest and removed projects, dumps
    /project/<name>/    releases, files, dependencies, reverse dependencies, history
    /search/?q=         projects by words
    /changes/ /removed/ /exceptions/    lists of which `/` shows the first lines
    /sql/               questions in SQL, where `/v1/sql` is switched on
    /static/            style and scripts

Nothing is loaded from anywhere else (the Content-Security-Policy says so to browsers), and nothing
of what authors wrote is HTML (`sinks.http.page.rendering`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from schemas.errors import InvalidName
from schemas.manifest import Manifest
from schemas.names import normalize
from schemas.records import SERIAL_MAX
from sinks.duckdb.cookbook import RECIPES
from sinks.http.answers import HTML, RETRY_SECONDS, answer
from sinks.http.library import Library
from sinks.http.page import assets
from sinks.http.page.minutes import Minutes
from sinks.http.page.overview import named, overview
from sinks.http.page.project import Asked, project_page
from sinks.http.page.rendering import HEADERS, project_path, rendered
from sinks.http.status import ServiceStatus

LIST_SHOWN = 100
SEARCH_SHOWN = 50
WORDS_MAX, QUERY_CHARACTERS_MAX = 8, 200  # each narrows the search; a name has no more
SQL_CHARACTERS_MAX = 4_000  # what fits an address
OVERVIEW_SECONDS = 1.0  # a rendered first page serves all who ask within it: it costs milliseconds


class Pages:
    """The endpoints. `newest_dump` may block; `sql`: whether `/v1/sql` is there."""

    def __init__(
        self,
        library: Library,
        status: Callable[[], Awaitable[ServiceStatus]],
        newest_dump: Callable[[], Manifest | None],
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sql: bool = False,
    ) -> None:
        self._library = library
        self._status = status
        self._newest_dump = newest_dump
        self._now = now
        self._monotonic = monotonic
        self._sql = sql
        self._minutes = Minutes(library)
        self._first_page = b""
        self._renewed = 0.0
        self._renewing = asyncio.Lock()
        self._turn = asyncio.Lock()

    def routes(self) -> list[BaseRoute]:
        """For the application."""
        routes: list[BaseRoute] = [
            Route("/", self._overview),
            Route("/project/{name}/", self._project),
            Route("/project/{name}", self._project),
            Route("/search/", self._search),
            Route("/changes/", self._changes),
            Route("/removed/", self._removed),
            Route("/exceptions/", self._exceptions),
            *assets.routes(),
        ]
        if self._sql:
            routes.append(Route("/sql/", self._sql_box))
        return routes

    async def _overview(self, request: Request) -> Response:
        if self._library.view() is None:
            return await self._starting()
        async with self._renewing:
            if not self._first_page or self._monotonic() >= self._renewed + OVERVIEW_SECONDS:
                self._first_page = await self._render_overview()
                self._renewed = self._monotonic()
        return _page(request, self._first_page)

    async def _render_overview(self) -> bytes:
        manifest = await asyncio.to_thread(self._newest_dump)
        status = await self._status()
        counts = await self._minutes.look(self._now())
        shown = overview(self._library, manifest, counts, self._now())
        return await self._render("overview.html", status=status, **_of(shown))

    async def _project(self, request: Request) -> Response:
        if self._library.view() is None:
            return await self._starting()
        asked = request.path_params["name"]
        try:
            name = normalize(asked)
        except InvalidName:
            return await self._not_found(request, asked)
        if request.url.path != project_path(name):
            return RedirectResponse(project_path(name), HTTPStatus.MOVED_PERMANENTLY, HEADERS)
        values = request.query_params
        wanted = Asked(
            values.get("release", ""),
            values.get("releases") == "all",
            _serial(values.get("before")),
            values.get("after", ""),
        )
        found = project_page(self._library, name, wanted)
        if found is None:
            return await self._not_found(request, asked)
        body = await self._render("project.html", asked=wanted, **_of(found))
        return _page(request, body, HTTPStatus.OK if found.document else HTTPStatus.NOT_FOUND)

    async def _search(self, request: Request) -> Response:
        if self._library.view() is None:
            return await self._starting()
        asked = request.query_params.get("q", "")[:QUERY_CHARACTERS_MAX]
        words = asked.split()[:WORDS_MAX]
        found = self._library.search(words, SEARCH_SHOWN) if words else []
        body = await self._render("search.html", query=asked, found=found, most=SEARCH_SHOWN)
        return _page(request, body)

    async def _changes(self, request: Request) -> Response:
        if self._library.view() is None:
            return await self._starting()
        before = _serial(request.query_params.get("before"))
        rows = self._library.recent(frozenset(), before, LIST_SHOWN + 1)
        following = rows[LIST_SHOWN - 1].serial if len(rows) > LIST_SHOWN else None
        shown = named(rows[:LIST_SHOWN])
        return _page(request, await self._render("changes.html", rows=shown, following=following))

    async def _removed(self, request: Request) -> Response:
        if self._library.view() is None:
            return await self._starting()
        before = _serial(request.query_params.get("before"))
        rows = self._library.removed(before, LIST_SHOWN + 1)
        following = rows[LIST_SHOWN - 1].serial if len(rows) > LIST_SHOWN else None
        body = await self._render("removed.html", rows=rows[:LIST_SHOWN], following=following)
        return _page(request, body)

    async def _exceptions(self, request: Request) -> Response:
        if self._library.view() is None:
            return await self._starting()
        rows = self._library.exceptions(request.query_params.get("after", ""), LIST_SHOWN + 1)
        following = rows[LIST_SHOWN - 1][0] if len(rows) > LIST_SHOWN else None
        status = await self._status()
        body = await self._render(
            "exceptions.html", rows=rows[:LIST_SHOWN], following=following, status=status
        )
        return _page(request, body)

    async def _sql_box(self, request: Request) -> Response:
        asked = request.query_params.get("q", "")[:SQL_CHARACTERS_MAX]
        body = await self._render("sql.html", query=asked or RECIPES[0].sql, cookbook=RECIPES)
        return _page(request, body)

    async def _starting(self) -> Response:
        body = await self._render("starting.html", status=await self._status())
        headers = {**HEADERS, "Retry-After": str(RETRY_SECONDS), "Cache-Control": "no-store"}
        return Response(body, HTTPStatus.SERVICE_UNAVAILABLE, headers, HTML)

    async def _not_found(self, request: Request, name: str) -> Response:
        body = await self._render("missing.html", name=name)
        return _page(request, body, HTTPStatus.NOT_FOUND)

    async def _render(self, template: str, **context: object) -> bytes:
        """What was asked of the library before is rendered beside the loop, one page at a time.

        A usual page takes 5 ms, one of a thousand releases 40: others go on meanwhile.
        """
        async with self._turn:
            return await asyncio.to_thread(rendered, template, sql=self._sql, **context)


def _of(facts: tuple[object, ...]) -> dict[str, object]:
    """A named tuple's fields: what its template calls them."""
    return facts._asdict()  # type: ignore[attr-defined,no-any-return]


def _page(request: Request, body: bytes, status: int = HTTPStatus.OK) -> Response:
    made = answer(request, body, HTML, headers=HEADERS)
    if made.status_code == HTTPStatus.OK:
        made.status_code = status
    return made


def _serial(text: str | None) -> int | None:
    """A serial in an address; whatever is none asks for the newest."""
    if (
        text is None
        or not (text.isascii() and text.isdecimal())
        or len(text) > len(str(SERIAL_MAX))
    ):
        return None
    return min(int(text), SERIAL_MAX)
