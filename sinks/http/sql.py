"""`GET /v1/sql`: SQL on the published snapshot, if the operator has switched it on.

Each query is a process of its own that is killed after some seconds (`sinks.duckdb.process`); few
run at a time, and a client has so many a minute. All limits are in the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from schemas.codec import encode
from schemas.errors import QueryFailed, UsageError
from sinks.duckdb.process import (
    BYTES_MAX,
    CSV,
    FORMATS,
    JSON,
    PARQUET,
    ROWS_MAX,
    SQL_CHARACTERS_MAX,
    Bounds,
    ask,
)
from sinks.http.answers import JSON as JSON_TYPE
from sinks.http.answers import problem
from sinks.http.parameters import one_of, parameters
from sinks.http.quota import Limit, Quota

PATH = "/v1/sql"
AT_ONCE = 2  # a process of up to 1 GiB each
PER_MINUTE = 10  # of one client, those that were refused too
LIMIT = Limit("sql", PER_MINUTE, own=True)
BUSY_RETRY_SECONDS = 2  # usual queries take less than one

_TYPES = {
    JSON: JSON_TYPE,
    CSV: "text/csv; charset=utf-8",
    PARQUET: "application/vnd.apache.parquet",
}


class SqlLimits(msgspec.Struct, frozen=True):
    """What a query may have; part of every answer in JSON, and in the header `X-SQL-Limits`."""

    rows: int = ROWS_MAX
    bytes: int = BYTES_MAX
    characters: int = SQL_CHARACTERS_MAX
    seconds: float = Bounds().wall_seconds
    cpu_seconds: int = Bounds().cpu_seconds
    memory_bytes: int = Bounds().memory_bytes
    at_once: int = AT_ONCE
    per_minute: int = PER_MINUTE


class SqlConsole:
    """The endpoint. `scratch`: a directory of ours beside the snapshot; `on`: it is switched on."""

    def __init__(
        self,
        snapshot: Path,
        scratch: Path,
        now: Callable[[], float],
        *,
        on: bool,
        bounds: Bounds | None = None,
    ) -> None:
        self.on = on
        self.bounds = bounds or Bounds()
        self.limits = SqlLimits(
            seconds=self.bounds.wall_seconds,
            cpu_seconds=self.bounds.cpu_seconds,
            memory_bytes=self.bounds.memory_bytes,
        )
        self._snapshot = snapshot
        self._scratch = scratch
        self._quota = Quota(LIMIT, now)
        self._running = 0

    def routes(self) -> list[BaseRoute]:
        """For the application."""
        return [Route(PATH, self._sql, methods=["GET"])]

    async def _sql(self, request: Request) -> Response:
        if not self.on:
            hint = "started with --sql it would be; the dump (/dumps/) has all that it would ask"
            return problem(HTTPStatus.NOT_FOUND, "SQL is not switched on here", hint)
        sql, format_name = _asked(request)
        if self._running >= AT_ONCE:
            return _busy()
        if refusal := self._quota.refusal(request):
            return refusal
        self._running += 1
        try:
            return await self._until_gone(request, sql, format_name)
        except QueryFailed as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error), error.hint)
        finally:
            self._running -= 1

    async def _until_gone(self, request: Request, sql: str, format_name: str) -> Response:
        """The answer; a query whose client has gone is ended."""
        asking = asyncio.create_task(self._answered(sql, format_name))
        leaving = asyncio.create_task(_gone(request))
        try:
            await asyncio.wait({asking, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody reads it
            return asking.result()
        finally:
            for task in (asking, leaving):
                task.cancel()
            await asyncio.wait({asking, leaving})

    async def _answered(self, sql: str, format_name: str) -> Response:
        body, truncated = await ask(self._snapshot, self._scratch, sql, format_name, self.bounds)
        headers = {
            "Cache-Control": "no-store",
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Expose-Headers": "X-SQL-Truncated, X-SQL-Limits",
            "X-SQL-Truncated": truncated or "no",
            "X-SQL-Limits": ", ".join(f"{k}={v}" for k, v in _fields(self.limits)),
        }
        if format_name == JSON:
            limits = encode(self.limits)
            told = b"null" if not truncated else encode(truncated)
            body = b'%b,\n"truncated":%b,"limits":%b}\n' % (body, told, limits)
        else:
            headers["Content-Disposition"] = f'attachment; filename="answer.{format_name}"'
        return Response(body, headers=headers, media_type=_TYPES[format_name])


def _asked(request: Request) -> tuple[str, str]:
    """SQL and format. Raises UsageError."""
    given = parameters(request, ("q", "format"))
    sql, asked = (one_of(given, "q") or "").strip(), one_of(given, "format")
    format_name = JSON if asked is None else asked
    if not sql:
        raise UsageError("no SQL", hint=f"{PATH}?q=SELECT+name,version+FROM+projects+LIMIT+5")
    if format_name not in FORMATS:
        raise UsageError("no such format", hint=f"one of {', '.join(FORMATS)}")
    return sql, format_name


def _fields(limits: SqlLimits) -> list[tuple[str, object]]:
    return [(name, getattr(limits, name)) for name in limits.__struct_fields__]


def _busy() -> Response:
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "other queries run",
        "ask again later, or download the dump (/dumps/)",
        {"Retry-After": str(BUSY_RETRY_SECONDS)},
    )


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
