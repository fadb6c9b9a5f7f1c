"""`/metrics` for Prometheus. A scrape costs one look at the view and no query.

Figures of the process that fetches come from the file it keeps (`sinks.http.figures`), everything
about the log from the view that is served.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from schemas.manifest import Manifest
from schemas.records import Status
from sinks.http.exposition import TEXT, Family, family
from sinks.http.figures import Figures, read_figures
from sinks.http.observed import Requests
from sinks.http.status import ServiceStatus, StatusPages
from sinks.http.streams.endpoint import Streams

PATH = "/metrics"

INFO = Family("pypistream_info", "gauge", "Always 1; the program's version.")
SERVING = Family("pypistream_serving", "gauge", "1 while requests can be answered from a view.")
TROUBLE = Family(
    "pypistream_trouble", "gauge", "1 while the reading of the log waits for something."
)
HEAD = Family("pypistream_head_serial", "gauge", "The newest serial read from upstream.")
WATERMARK = Family("pypistream_watermark_serial", "gauge", "All serials up to it are reflected.")
LAG = Family("pypistream_lag_serials", "gauge", "Serials between head and watermark.")
LAG_SECONDS = Family("pypistream_lag_seconds", "gauge", "Age of the watermark.")
VIEW_AGE = Family("pypistream_view_age_seconds", "gauge", "Age of what is served, against the log.")
PROJECTS = Family("pypistream_projects", "gauge", "Projects that are published.")
REMOVED = Family("pypistream_removed_projects", "gauge", "Names whose project is gone.")
NAMES = Family(
    "pypistream_names", "gauge", "Names by status: ok, parked, dead, stale, absent, pending."
)
EXCEPTIONS = Family("pypistream_exceptions", "gauge", "Names the watermark does not speak for.")
COVERAGE = Family("pypistream_coverage_ratio", "gauge", "Share of the names it does speak for.")
BACKFILL_NAMES = Family("pypistream_backfill_names", "gauge", "Names of an open backfill.")
BACKFILL_DONE = Family("pypistream_backfill_done", "gauge", "Those of them that are done.")
REBUILDS = Family("pypistream_view_rebuilds_total", "counter", "How often the view began anew.")
PUBLISHED_AGE = Family(
    "pypistream_published_age_seconds", "gauge", "Since a dump or snapshot came."
)
PUBLISHED_BYTES = Family("pypistream_published_bytes", "gauge", "Size of the newest one.")
FETCHES = Family("pypistream_fetches_total", "counter", "Answers of upstream by outcome.")
QUEUED = Family("pypistream_fetches_queued", "gauge", "Names that are owed a fetch, now or later.")
IN_FLIGHT = Family("pypistream_fetches_in_flight", "gauge", "Requests to upstream under way.")
RECORDS_LAG = Family("pypistream_changelog_lag_records", "gauge", "Journal records not decided.")
FIGURES_AGE = Family(
    "pypistream_process_figures_age_seconds", "gauge", "Since a role noted its own."
)
STARTED = Family("pypistream_process_start_time_seconds", "gauge", "When a role's process began.")
SSE_CLIENTS = Family("pypistream_stream_clients", "gauge", "Clients that listen.")
SSE_DROPPED = Family("pypistream_stream_dropped_total", "counter", "Clients that were too slow.")
REQUESTS = Family("pypistream_http_requests_total", "counter", "Requests by route and status.")
REQUEST_SECONDS = Family(
    "pypistream_http_request_seconds_total", "counter", "Time they took by route; no streams."
)
OPEN = Family("pypistream_http_requests_open", "gauge", "Requests under way, streams among them.")

FAMILIES = tuple(each for each in list(globals().values()) if isinstance(each, Family))
"""All there are, for whoever checks a dashboard against them."""


class Metrics:
    """The endpoint. `state`: where figures lie; `snapshot`: the DuckDB file; `now`: Unix time."""

    def __init__(
        self,
        pages: StatusPages,
        streams: Streams,
        requests: Requests,
        state: Path,
        snapshot: Path,
        now: Callable[[], float],
    ) -> None:
        self._pages = pages
        self._streams = streams
        self._requests = requests
        self._state = state
        self._snapshot = snapshot
        self._now = now

    def routes(self) -> list[BaseRoute]:
        """For the application."""
        return [Route(PATH, self._metrics)]

    async def _metrics(self, _request: Request) -> Response:
        return Response(await self.text(), headers={"Cache-Control": "no-store"}, media_type=TEXT)

    async def text(self) -> str:
        """What `/metrics` says."""
        status = await self._pages.status()
        files = await asyncio.to_thread(self._files)
        figures = await asyncio.to_thread(read_figures, self._state)
        health = self._pages.health()
        now = self._now()
        parts = [
            *_of_view(status, now),
            family(REBUILDS, [({}, health.rebuilds)]),
            *_of_published(files, now),
            *_of_processes(figures, now),
            *self._of_service(),
        ]
        return "".join(parts)

    def _files(self) -> dict[str, tuple[float, int]]:
        """When each published thing came and its bytes."""
        found = {}
        manifest = self._pages.dump()
        if manifest is not None:
            found["dump"] = _of_manifest(manifest)
        try:
            stat = self._snapshot.stat()
        except OSError:
            return found
        return {**found, "duckdb": (stat.st_mtime, stat.st_size)}

    def _of_service(self) -> Iterator[str]:
        streams, asked = self._streams, self._requests
        changes, metadata = streams.changes, streams.metadata
        clients = {"changes": len(changes.clients), "metadata": len(metadata.clients)}
        dropped = {"changes": changes.dropped, "metadata": metadata.dropped}
        yield family(SSE_CLIENTS, [({"stream": name}, n) for name, n in clients.items()])
        yield family(SSE_DROPPED, [({"stream": name}, n) for name, n in dropped.items()])
        yield family(
            REQUESTS,
            [
                ({"route": kind.route, "method": kind.method, "status": str(kind.status)}, count)
                for kind, count in sorted(asked.count.items())
            ],
        )
        seconds = sorted(asked.seconds.items())
        yield family(REQUEST_SECONDS, [({"route": route}, spent) for route, spent in seconds])
        yield family(OPEN, [({}, asked.open)])


def _of_view(status: ServiceStatus, now: float) -> Iterator[str]:
    yield family(INFO, [({"version": status.version}, 1)])
    yield family(SERVING, [({}, int(status.serving))])
    yield family(TROUBLE, [({}, int(bool(status.trouble)))])
    yield family(HEAD, [({}, status.head)])
    yield family(WATERMARK, [({}, status.watermark)])
    yield family(LAG, [({}, status.lag_serials)])
    yield family(LAG_SECONDS, [({}, status.lag_seconds)])
    as_of = unix_of(status.as_of) if status.as_of else None
    yield family(VIEW_AGE, [({}, None if as_of is None else max(0.0, now - as_of))])
    held = status.serving or None
    yield family(PROJECTS, [({}, held and status.projects)])
    yield family(REMOVED, [({}, held and status.removed)])
    named = [({"status": each.value}, status.names.get(each.value, 0)) for each in Status]
    yield family(NAMES, named if held else [])
    yield family(EXCEPTIONS, [({}, held and status.exceptions)])
    covered = None if status.coverage is None else status.coverage / 100
    yield family(COVERAGE, [({}, covered)])
    backfill = status.backfill
    yield family(BACKFILL_NAMES, [({}, backfill.names if backfill else None)])
    yield family(BACKFILL_DONE, [({}, backfill.done if backfill else None)])


def _of_published(files: dict[str, tuple[float, int]], now: float) -> Iterator[str]:
    yield family(
        PUBLISHED_AGE, [({"what": w}, max(0.0, now - came)) for w, (came, _) in files.items()]
    )
    yield family(PUBLISHED_BYTES, [({"what": what}, size) for what, (_, size) in files.items()])


def _of_processes(figures: Sequence[Figures], now: float) -> Iterator[str]:
    yield family(
        FETCHES,
        [
            ({"role": each.role, "outcome": outcome}, count)
            for each in figures
            for outcome, count in sorted(each.fetches.items())
        ],
    )
    yield family(QUEUED, [({"role": each.role}, each.queued) for each in figures])
    yield family(IN_FLIGHT, [({"role": each.role}, each.in_flight) for each in figures])
    yield family(
        RECORDS_LAG,
        [
            ({"role": each.role, "partition": str(partition)}, lag)
            for each in figures
            for partition, lag in sorted(each.lags.items())
        ],
    )
    yield family(
        FIGURES_AGE, [({"role": each.role}, max(0.0, now - each.written)) for each in figures]
    )
    yield family(STARTED, [({"role": each.role}, each.started) for each in figures])


def unix_of(time: str) -> float:
    """Unix seconds of a time as `schemas.codec.rfc3339` writes it."""
    moment = datetime.fromisoformat(time)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _of_manifest(manifest: Manifest) -> tuple[float, int]:
    return unix_of(manifest.created), sum(file.bytes for file in manifest.files.values())
