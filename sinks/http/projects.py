"""Projects one by one: all that is held of a name, what depends on it, lists, and the search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Raw
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from schemas.codec import NO_JSON
from schemas.errors import InvalidName, UsageError
from schemas.names import NormalizedName, normalize
from schemas.records import Status
from schemas.releases import SlimFile
from sinks.http.answers import json_answer, not_ready, problem
from sinks.http.library import PAGE_MAX, Library
from sinks.http.parameters import one_of, parameters

PAGE_USUAL = 100
PAGE = ("after", "limit")  # parameters of every list
WORDS_MAX, WORDS_CHARACTERS_MAX = 8, 200  # each narrows the search; a name has no more
ROOT = "/v1/projects"

_document = msgspec.json.Decoder(dict[str, Raw])


class Project(msgspec.Struct, frozen=True):
    """`GET /v1/projects/<name>`.

    serial      of the document; `event_serial` of the newest event known; `stale`: that is newer
    status      what `state` holds: ok, pending, parked, stale or dead
    info, ownership, vulnerabilities   as the document has them; null = it has none
    latest      the version that `info` describes
    releases    by version, ascending; `releases_held` "latest" = only those the document has
    releases_omitted   how many of the lowest were too many for a record
    dependents  how many projects' latest releases depend on this one
    """

    name: str
    display_name: str
    serial: int
    event_serial: int
    stale: bool
    status: str
    latest: str | None
    info: Raw | None
    ownership: Raw | None
    vulnerabilities: Raw | None
    releases_held: str
    releases_omitted: int
    releases: dict[str, list[SlimFile]]
    dependents: int
    links: dict[str, str]


class ListedProject(msgspec.Struct, frozen=True):
    """A project in a list."""

    name: str
    display_name: str
    version: str | None
    summary: str | None
    serial: int


class ProjectList(msgspec.Struct, frozen=True):
    """`GET /v1/projects`; `next` is the next page's address, null on the last."""

    projects: list[ListedProject]
    next: str | None


class DependentProject(msgspec.Struct, frozen=True):
    """A project that depends on the one asked for; `optional`: only for extras of its own."""

    name: str
    display_name: str
    requirements: tuple[str, ...]
    optional: bool


class DependentList(msgspec.Struct, frozen=True):
    """`GET /v1/projects/<name>/reverse-dependencies`; `count` is of all pages."""

    name: str
    count: int
    dependents: list[DependentProject]
    next: str | None


class Projects:
    """The endpoints."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def routes(self) -> list[BaseRoute]:
        """For the application."""
        return [
            Route(ROOT, self._list),
            Route(f"{ROOT}/{{name}}", self._one),
            Route(f"{ROOT}/{{name}}/reverse-dependencies", self._dependents),
        ]

    async def _list(self, request: Request) -> Response:
        given = parameters(request, ("q", *PAGE))
        if self._library.view() is None:
            return not_ready()
        limit, after = page_of(given)
        words = (one_of(given, "q") or "").split()
        if words:
            if len(words) > WORDS_MAX or sum(map(len, words)) > WORDS_CHARACTERS_MAX:
                raise UsageError(f"at most {WORDS_MAX} words, {WORDS_CHARACTERS_MAX} characters")
            found, more = self._library.search(words, limit), False
        else:
            found = self._library.projects(after, limit)
            more = len(found) == limit
        lines = [ListedProject(*line) for line in found]
        following = next_page(ROOT, found[-1].name, limit) if more else None
        return json_answer(request, ProjectList(lines, following))

    async def _one(self, request: Request) -> Response:
        parameters(request, ())
        if self._library.view() is None:
            return not_ready()
        name = name_in(request)
        if name != request.path_params["name"]:
            return moved(f"{ROOT}/{quote(name)}")
        document, state = self._library.document(name), self._library.state(name)
        if document is None:
            return absent(self._library, name)
        try:
            parts = _document.decode(document.body)
        except NO_JSON:
            parts = {}
        line, releases = self._library.listed(name), self._library.releases(name)
        project = Project(
            name=name,
            display_name=line.display_name if line else name,
            serial=document.serial,
            event_serial=max(document.serial, state.event if state else 0),
            stale=bool(document.stale),
            status=(state.status if state else Status.OK).value,
            latest=line.version if line else None,
            info=parts.get("info"),
            ownership=parts.get("ownership"),
            vulnerabilities=parts.get("vulnerabilities"),
            releases_held=releases.held if releases else "latest",
            releases_omitted=releases.omitted if releases else 0,
            releases=releases.slim.releases if releases else {},
            dependents=self._library.dependent_count(name),
            links={
                "document": f"/pypi/{name}/json",
                "reverse_dependencies": f"{ROOT}/{name}/reverse-dependencies",
            },
        )
        headers = {"X-PyPI-Last-Serial": str(document.serial)}
        return json_answer(request, project, headers=headers)

    async def _dependents(self, request: Request) -> Response:
        given = parameters(request, PAGE)
        if self._library.view() is None:
            return not_ready()
        name = name_in(request)
        address = f"{ROOT}/{quote(name)}/reverse-dependencies"
        if name != request.path_params["name"]:
            return moved(address)
        limit, after = page_of(given)
        found = self._library.dependents(name, after, limit)
        following = next_page(address, found[-1].name, limit) if len(found) == limit else None
        lines = [DependentProject(*line) for line in found]
        count = self._library.dependent_count(name)
        return json_answer(request, DependentList(name, count, lines, following))


def page_of(given: Mapping[str, Sequence[str]]) -> tuple[int, str]:
    """`limit` and `after` of a list. Raises UsageError."""
    asked = one_of(given, "limit")
    text = str(PAGE_USUAL) if asked is None else asked
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < len("10000") else 0
    if not 1 <= limit <= PAGE_MAX:
        raise UsageError(f"limit is {text[:20]!r}", hint=f"a number from 1 to {PAGE_MAX}")
    return limit, one_of(given, "after") or ""


def next_page(address: str, after: str, limit: int) -> str:
    """Where a list goes on."""
    return f"{address}?{urlencode({'after': after, 'limit': limit})}"


def absent(library: Library, name: NormalizedName) -> Response:
    """404 for a project that is not published, with why."""
    state = library.state(name)
    if state is None:
        hint = "no project of that name is known here"
    elif state.gone:
        hint = f"it was removed, as of serial {state.gone}"
    else:
        hint = f"it is known, and nothing is published: its status is {state.status}"
    return problem(HTTPStatus.NOT_FOUND, "Not Found", hint)


def name_in(request: Request) -> NormalizedName:
    """The path's name, normalised. HTTPException 404 if it is none."""
    try:
        return normalize(request.path_params["name"])
    except InvalidName as error:
        raise HTTPException(HTTPStatus.NOT_FOUND) from error


def moved(address: str) -> Response:
    """Another spelling leads there."""
    return Response(status_code=HTTPStatus.MOVED_PERMANENTLY, headers={"Location": address})
