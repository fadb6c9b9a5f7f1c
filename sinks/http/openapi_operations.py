"""Every address of the service in one table, from which the OpenAPI document is made. Data only."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from sinks.duckdb.process import FORMATS
from sinks.http.changes import LIMIT, LIMIT_MAX, ChangesPage
from sinks.http.dumps import Listing
from sinks.http.library import PAGE_MAX
from sinks.http.projects import PAGE_USUAL, DependentList, Project, ProjectList
from sinks.http.queries import Refusal
from sinks.http.resolver.answer import Answer
from sinks.http.resolver.query import FILES_DEFAULT, FILES_MAX
from sinks.http.sql import SqlLimits
from sinks.http.status import ServiceStatus
from sinks.http.versions import VersionDocument

JSON, HTML, TEXT = "application/json", "text/html", "text/plain"
SSE, ATOM, XML = "text/event-stream", "application/atom+xml", "text/xml"
SIMPLE, BYTES = "application/vnd.pypi.simple.v1+json", "application/octet-stream"


class Health(msgspec.Struct, frozen=True):
    """`GET /healthz`. `status`: `ok`, or `starting`; `trouble`: what it waits for."""

    status: str
    trouble: str


class Batch(msgspec.Struct, frozen=True):
    """`POST /v1/query`: each an Answer or a Refusal, in the order of the queries."""

    answers: list[Any]


class SqlRows(msgspec.Struct, frozen=True):
    """`GET /v1/sql` as JSON. `truncated`: `rows` or `bytes`, by which limit rows are missing."""

    columns: list[str]
    rows: list[list[Any]]
    truncated: str | None
    limits: SqlLimits


class Parameter(NamedTuple):
    """Of the address unless `place` says otherwise. `several`: may be repeated."""

    name: str
    text: str
    schema: dict[str, Any]
    place: str = "query"
    several: bool = False


class Operation(NamedTuple):
    """`gives`: the type of a 200 in JSON; None = `media` and nothing more is said of it.

    `problems`: which others may come, each a Problem.
    """

    method: str
    path: str
    tag: str
    summary: str
    media: str = JSON
    gives: Any = None
    parameters: tuple[Parameter, ...] = ()
    problems: tuple[int, ...] = (503,)
    body: str = ""


_TEXT: dict[str, Any] = {"type": "string"}
_SERIAL: dict[str, Any] = {"type": "integer", "minimum": 0}
AFTER = Parameter("after", "The last name of the page before.", _TEXT)
BEFORE = Parameter("before", "Only what lies below this serial.", _SERIAL)
PROJECT = Parameter("project", "Globs on normalised names, also with commas.", _TEXT, several=True)
KIND = Parameter("kind", "Kinds of changes, or `security`.", _TEXT, several=True)
SINCE = Parameter("since", "After this serial, or since this RFC 3339 time.", _TEXT)
CURSOR = Parameter("since", "After this id of the stream; 0 = everything first.", _TEXT)
LAST_ID = Parameter("Last-Event-ID", "What a client had last.", _TEXT, "header")
ARCHIVE = Parameter("archive", "The archive that ends at this serial, as links name it.", _SERIAL)
WORDS = Parameter("q", "Words, all of which are in name or summary.", _TEXT)


def _page(usual: int, most: int) -> Parameter:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": usual}
    return Parameter("limit", "How many at most.", schema)


PAGE = _page(PAGE_USUAL, PAGE_MAX)
CHANGES_PAGE = _page(LIMIT, LIMIT_MAX)
_QUERY = (
    Parameter("project", "The project.", _TEXT),
    Parameter("version", "A PEP 440 specifier.", _TEXT),
    Parameter("python", "Python's version, such as 3.13.", _TEXT),
    Parameter("implementation", "cp, pp, …", _TEXT),
    Parameter("platform", "A platform tag.", _TEXT, several=True),
    Parameter("abi", "An ABI tag.", _TEXT, several=True),
    Parameter("extra", "An extra, for markers.", _TEXT, several=True),
    Parameter("yanked", "Whether yanked files are shown.", _TEXT),
    Parameter("prerelease", "true, false, or auto as pip does it.", _TEXT),
    Parameter("before", "Only files that were uploaded before this time.", _TEXT),
    _page(FILES_DEFAULT, FILES_MAX),
)
_SQL = (
    Parameter("q", "One SELECT, or EXPLAIN of one.", _TEXT),
    Parameter("format", "The form of the answer.", {"enum": list(FORMATS), "default": FORMATS[0]}),
)
_ONE = (301, 404, 503)
_STREAM = (400, 429, 503)

EITHER = {"Batch": ("answers", (Answer, Refusal))}
"""Lists of one type or another, which a type of ours cannot say."""

OPERATIONS = (
    Operation(
        "GET", "/pypi/{name}/json", "documents", "A project's document, in PyPI's shape.",
        gives=dict[str, Any], problems=_ONE,
    ),
    Operation(
        "GET", "/pypi/{name}/{version}/json", "documents",
        "A release in PyPI's shape; of older ones what their files say.", gives=VersionDocument,
        problems=_ONE,
    ),
    Operation(
        "GET", "/v1/projects", "documents", "Projects by name, or by words.", gives=ProjectList,
        parameters=(WORDS, AFTER, PAGE), problems=(400, 503),
    ),
    Operation(
        "GET", "/v1/projects/{name}", "documents", "All that is held of a project.", gives=Project,
        problems=(301, 400, 404, 503),
    ),
    Operation(
        "GET", "/v1/projects/{name}/reverse-dependencies", "documents",
        "Projects whose latest release depends on it.", gives=DependentList,
        parameters=(AFTER, PAGE), problems=(301, 400, 404, 503),
    ),
    Operation(
        "GET", "/v1/query", "queries", "The files of a project that fit an environment.",
        gives=Answer, parameters=_QUERY, problems=(400, 404, 429, 503),
    ),
    Operation(
        "POST", "/v1/query", "queries", "Many such queries at once.", gives=Batch,
        problems=(400, 413, 429, 503), body=JSON,
    ),
    Operation(
        "GET", "/v1/sql", "queries", "SQL on the published snapshot, if it is switched on.",
        gives=SqlRows, parameters=_SQL, problems=(400, 404, 429, 503),
    ),
    *(
        Operation(
            "POST", path, "queries", "PyPI's XML-RPC API; faults come with 200.", XML,
            problems=(413, 429), body=XML,
        )
        for path in ("/pypi", "/pypi/", "/RPC2")
    ),
    Operation(
        "GET", "/v1/stream/changes", "streams", "Changes by serial, live, as server-sent events.",
        SSE, parameters=(SINCE, PROJECT, KIND, LAST_ID), problems=_STREAM,
    ),
    Operation(
        "GET", "/v1/stream/metadata", "streams", "Documents, live, as server-sent events.", SSE,
        parameters=(CURSOR, PROJECT, LAST_ID), problems=_STREAM,
    ),
    Operation(
        "GET", "/v1/changes", "streams", "The same changes in pages.", gives=ChangesPage,
        parameters=(SINCE, BEFORE, CHANGES_PAGE, PROJECT, KIND), problems=(400, 503),
    ),
    Operation(
        "GET", "/v1/changes.atom", "streams", "The same changes as a feed (RFC 4287, RFC 5005).",
        ATOM, parameters=(ARCHIVE, PROJECT, KIND), problems=(400, 503),
    ),
    Operation("GET", "/dumps/", "dumps", "What the newest dump has.", gives=Listing,
              problems=(404,)),
    Operation("GET", "/dumps/{name}", "dumps", "A file of the newest dump.", BYTES,
              problems=(404,)),
    Operation("GET", "/dumps/.versions/{version}/{name}", "dumps",
              "A file of the dump that a manifest names.", BYTES, problems=(404,)),
    Operation("GET", "/dumps/sha256/{sha256}/{name}", "dumps", "A file by its content.", BYTES,
              problems=(404,)),
    Operation("GET", "/dumps/full/{name}", "dumps", "A file of a dump that is kept, by its hash.",
              BYTES, problems=(404,)),
    Operation("GET", "/dumps/deltas/{name}", "dumps", "What leads from one dump to the next.",
              BYTES, problems=(404,)),
    Operation("GET", "/simple/", "dumps", "Every name with its serial, as PEP 691 has it.", SIMPLE),
    Operation("GET", "/v1/status", "operations", "What is served, how complete and how fresh.",
              gives=ServiceStatus, problems=()),
    Operation("GET", "/healthz", "operations", "Whether requests can be answered; 503 if not.",
              gives=Health, problems=()),
    Operation("GET", "/metrics", "operations", "Figures for Prometheus.", TEXT, problems=()),
    Operation("GET", "/v1/openapi.json", "operations", "This document.", gives=dict[str, Any],
              problems=()),
    Operation("GET", "/", "pages", "How things stand, live.", HTML),
    Operation("GET", "/project/{name}/", "pages", "A project.", HTML, problems=_ONE),
    Operation("GET", "/project/{name}", "pages", "The same; leads there.", HTML, problems=_ONE),
    Operation("GET", "/search/", "pages", "Projects by words.", HTML, parameters=(WORDS,)),
    Operation("GET", "/changes/", "pages", "Changes.", HTML, parameters=(BEFORE,)),
    Operation("GET", "/removed/", "pages", "Removed projects.", HTML, parameters=(BEFORE,)),
    Operation("GET", "/exceptions/", "pages", "Names the watermark does not speak for.", HTML,
              parameters=(AFTER,)),
    Operation("GET", "/sql/", "pages", "Questions in SQL, where that is switched on.", HTML,
              parameters=_SQL[:1]),
    Operation("GET", "/static/{digest}/{name}", "pages", "Style and scripts.", BYTES,
              problems=(404,)),
)  # fmt: skip
