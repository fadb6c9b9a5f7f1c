"""`/v1/query`: which files of a project fit an environment; one by GET, many by POST.

A batch's queries are answered in their order, each from one cut of the log; one that cannot be
answered has its error in its place, and the others are answered all the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from schemas.errors import InvalidName, UsageError
from schemas.names import NormalizedName
from sinks.http.answers import json_answer, not_ready, problem
from sinks.http.library import Library
from sinks.http.quota import Limit, Quota
from sinks.http.resolver.answer import Answer, answer
from sinks.http.resolver.decide import Query
from sinks.http.resolver.query import Given, given_of_object, given_of_pairs, query_of

ROOT = "/v1/query"
BATCH_QUERIES_MAX = 200  # some 60 ms of work, other requests are answered in between
BATCH_SECONDS_MAX = 5.0  # of a batch: a query of the largest projects there are takes 0.1 s
BATCH_BYTES_MAX = 256 * 1024  # of a request: 200 queries of a kilobyte each, and some
PARAMETERS_MAX = 200  # of an address, all that may be there several times at their most
BATCH_FILES_MAX = 20_000  # of all answers together: some 12 MB
LIMIT = Limit("query", 6_000)  # of one client, each of a batch: a second or two of work
_EXAMPLE = '{"queries": [{"project": "requests"}], "python": "3.13"}'

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Refusal(msgspec.Struct, frozen=True):
    """In place of an answer: what went wrong and what to do. `status` is HTTP's."""

    status: int
    error: str
    hint: str


class Answers(msgspec.Struct, frozen=True):
    """Of a batch, in the order of its queries."""

    answers: list[Answer | Refusal]


_LATE = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "the queries before this one took too long",
    f"a batch has {BATCH_SECONDS_MAX:.0f} s: ask for fewer at once",
)


def routes(library: Library, now: Callable[[], float] = time.monotonic) -> list[BaseRoute]:
    """For the application. `now`: monotonic seconds."""
    queries = Queries(library, Quota(LIMIT, now))
    return [
        Route(ROOT, queries.one, methods=["GET"]),
        Route(ROOT, queries.many, methods=["POST"]),
    ]


class Queries:
    """The endpoints."""

    def __init__(self, library: Library, quota: Quota) -> None:
        self._library = library
        self._quota = quota

    async def one(self, request: Request) -> Response:
        """GET."""
        if self._library.view() is None:
            return not_ready()
        if refusal := self._quota.refusal(request):
            return refusal
        found = self._answer(query_of(given_of_pairs(_pairs(request.scope["query_string"]))))
        if isinstance(found, Refusal):
            return problem(found.status, found.error, found.hint)
        return json_answer(request, found, headers={"X-PyPI-Last-Serial": str(found.serial)})

    async def many(self, request: Request) -> Response:
        """POST."""
        if self._library.view() is None:
            return not_ready()
        given = _batch(await request.body())
        if refusal := self._quota.refusal(request, len(given)):
            return refusal
        answers: list[Answer | Refusal] = []
        room, loop = BATCH_FILES_MAX, asyncio.get_running_loop()
        deadline = loop.time() + BATCH_SECONDS_MAX
        for each in given:
            found = _LATE if loop.time() > deadline else self._bounded(each, room)
            answers.append(found)
            room -= len(found.files) if isinstance(found, Answer) else 0
            await asyncio.sleep(0)
        return json_answer(request, Answers(answers))

    def _bounded(self, given: Given | UsageError, room: int) -> Answer | Refusal:
        try:
            if isinstance(given, UsageError):
                raise given
            query = query_of(given)
        except (UsageError, InvalidName) as error:
            return Refusal(HTTPStatus.BAD_REQUEST, str(error), error.hint)
        if query.limit > room:
            return Refusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "the answers before this one have too many files",
                f"{BATCH_FILES_MAX} in all: ask for fewer at once, or with a lower limit",
            )
        return self._answer(query)

    def _answer(self, query: Query) -> Answer | Refusal:
        document = self._library.document(query.project)
        releases = self._library.releases(query.project)
        if document is None:
            return Refusal(HTTPStatus.NOT_FOUND, "Not Found", self._why_not(query.project))
        if releases is None:
            hint = f"its document is at /pypi/{query.project}/json"
            return Refusal(HTTPStatus.NOT_FOUND, "its releases cannot be read here", hint)
        return answer(query, document, releases)

    def _why_not(self, name: NormalizedName) -> str:
        state = self._library.state(name)
        if state is None:
            return "no project of that name is known here"
        if state.gone:
            return f"it was removed, as of serial {state.gone}"
        return f"it is known, and nothing is published: its status is {state.status}"


def _pairs(query: bytes) -> list[tuple[str, str]]:
    """Names and values in an address. Raises UsageError if they are too many."""
    try:
        return parse_qsl(
            query.decode("latin-1"), keep_blank_values=True, max_num_fields=PARAMETERS_MAX
        )
    except ValueError as error:
        raise UsageError("too many parameters", hint=f"at most {PARAMETERS_MAX}") from error


def _batch(body: bytes) -> list[Given | UsageError]:
    """Read a batch; a query that cannot be read is its error. Raises UsageError, HTTPException."""
    if len(body) > BATCH_BYTES_MAX:
        text = f"a batch may have {BATCH_BYTES_MAX} bytes"
        raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
    try:
        common = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError("the body is no JSON object", hint=_EXAMPLE) from error
    queries = common.pop("queries", None)
    if not isinstance(queries, list):
        raise UsageError("no list of queries", hint=_EXAMPLE)
    if len(queries) > BATCH_QUERIES_MAX:
        hint = f"at most {BATCH_QUERIES_MAX} at once"
        raise UsageError(f"{len(queries)} queries", hint=hint)
    shared = given_of_object(common)
    given: list[Given | UsageError] = []
    for each in queries:
        try:
            given.append(given_of_object(each, shared))
        except UsageError as error:
            given.append(error)
    return given
