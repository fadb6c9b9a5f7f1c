"""`/v1/status` and `/healthz`: what is served, how complete and how fresh it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from schemas.codec import encode, rfc3339
from schemas.coverage import coverage
from schemas.manifest import Manifest
from schemas.records import Filter
from sinks.http.answers import JSON, json_answer
from sinks.http.library import Library, View


class Health(NamedTuple):
    """How the reading of the log goes. `trouble`: what it waits for, "" = nothing."""

    trouble: str = ""
    rebuilds: int = 0


class BackfillStatus(msgspec.Struct, frozen=True):
    """A backfill that the watermark waits for."""

    done: int
    names: int


class DumpStatus(msgspec.Struct, frozen=True):
    """The newest dump."""

    created: str
    watermark: int | None
    bytes: int


class ServiceStatus(msgspec.Struct, frozen=True):
    """`GET /v1/status`. Times in RFC 3339, UTC; null = not known, or no such claim.

    watermark   every serial up to it is reflected, but for the exceptions
    reached     the journal is whole from `base` up to here
    head        the newest serial read from upstream, and when
    lag_serials, lag_seconds   how far the watermark lies behind the head; how old it is
    as_of       everything in the log up to then is served
    names       by status; `coverage`: percent of them that the watermark speaks for
    """

    version: str
    serving: bool
    trouble: str
    log: str | None = None
    partitions: int | None = None
    filter: Filter | None = None
    releases_held: str | None = None
    source: str | None = None
    head: int | None = None
    head_time: str | None = None
    watermark: int | None = None
    watermark_time: str | None = None
    reached: int = 0
    base: int = 0
    lag_serials: int | None = None
    lag_seconds: float | None = None
    as_of: str | None = None
    projects: int = 0
    removed: int = 0
    names: dict[str, int] = {}
    exceptions: int = 0
    coverage: float | None = None
    backfill: BackfillStatus | None = None
    dump: DumpStatus | None = None


class StatusPages:
    """The endpoints. `dump` may block; `now` is Unix time in seconds."""

    def __init__(
        self,
        library: Library,
        health: Callable[[], Health],
        dump: Callable[[], Manifest | None],
        now: Callable[[], float],
        version: str,
    ) -> None:
        self._library = library
        self.health = health
        self.dump = dump
        self._now = now
        self._version = version

    def routes(self) -> list[BaseRoute]:
        """For the application."""
        return [Route("/v1/status", self._status), Route("/healthz", self._healthz)]

    async def status(self) -> ServiceStatus:
        """What `/v1/status` says."""
        manifest = await asyncio.to_thread(self.dump)
        view, health = self._library.view(), self.health()
        if view is None:
            return ServiceStatus(self._version, serving=False, trouble=health.trouble)
        return _status_of(view, health, manifest, self._now(), self._version)

    async def _status(self, request: Request) -> Response:
        return json_answer(request, await self.status(), headers={"Cache-Control": "no-cache"})

    async def _healthz(self, _request: Request) -> Response:
        """200 while requests can be answered, whatever the log does; else 503."""
        health, ready = self.health(), self._library.view() is not None
        body = {"status": "ok" if ready else "starting", "trouble": health.trouble}
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return Response(encode(body), status, {"Cache-Control": "no-store"}, JSON)


def _status_of(
    view: View, health: Health, manifest: Manifest | None, now: float, version: str
) -> ServiceStatus:
    head, times = view.head, [cut.time for cut in view.vector.cuts if cut is not None]
    marked = min(times, default=0) if view.watermark is not None else 0
    dump = None
    if manifest is not None:
        size = sum(file.bytes for file in manifest.files.values())
        dump = DumpStatus(manifest.created, manifest.watermark, size)
    backfill = None
    if view.backfill_done is not None and view.backfill_names is not None:
        backfill = BackfillStatus(view.backfill_done, view.backfill_names)
    claimed = view.watermark is not None
    return ServiceStatus(
        version=version,
        serving=True,
        trouble=health.trouble,
        log=view.vector.log_id,
        partitions=view.config.partitions,
        filter=view.config.filter,
        releases_held=view.config.releases,
        source=head.source.value if head else None,
        head=head.serial if head else None,
        head_time=rfc3339(head.time) if head else None,
        watermark=view.watermark,
        watermark_time=rfc3339(marked) if marked else None,
        reached=view.reached,
        base=view.base,
        lag_serials=max(0, head.serial - (view.watermark or 0)) if head and claimed else None,
        lag_seconds=max(0.0, now - marked) if marked else None,
        as_of=rfc3339(view.as_of_ms / 1000) if view.as_of_ms else None,
        projects=view.projects,
        removed=view.removed,
        names={status.value: count for status, count in view.statuses.items() if count},
        exceptions=view.exceptions,
        coverage=coverage(view.names, view.exceptions) if claimed else None,
        backfill=backfill,
        dump=dump,
    )
