"""`/_control/…`: drive the stand-in, switch faults, read counters, ask for the truth.

Control requests are not counted, not delayed and never spoilt.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from upstream.standin.changes import KINDS as CHANGE_KINDS
from upstream.standin.faults import KINDS, BadFault, Faults
from upstream.standin.http_types import Answer, Exchange, Request, plain
from upstream.standin.living import Living, UnsuitableChange
from upstream.standin.site import Site
from upstream.standin.stats import Stats
from upstream.standin.vocabulary import normalized
from upstream.standin.world import Edition, Status

NDJSON = b"application/x-ndjson"
TRUTH_CHUNK_BYTES = 1 << 18  # so that a truth of a gigabyte neither fills memory nor dribbles
CHANGES_MAX = 1_000_000  # of one call; a test of the 50 000-row limit needs some
_OK, _BAD, _UNKNOWN, _CONFLICT = 200, 400, 404, 409

Handler = Callable[[Request, dict[str, Any]], Any]


class Control:
    """The control routes of one stand-in."""

    def __init__(self, site: Site, faults: Faults, stats: Stats, living: Living) -> None:
        self._site, self._world = site, site.world
        self._faults, self._stats, self._living = faults, stats, living
        self._routes: dict[tuple[str, str], Handler] = {
            ("GET", "serial"): lambda _, __: {"serial": self._world.journal.last_serial},
            ("GET", "journal"): self._journal,
            ("POST", "change"): self._change,
            ("GET", "change/kinds"): self._change_kinds,
            ("POST", "rate"): self._rate,
            ("GET", "faults"): lambda _, __: [fault.shown() for fault in self._faults.active],
            ("GET", "faults/kinds"): self._fault_kinds,
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): lambda _, __: {"removed": self._faults.remove()},
            ("GET", "stats"): lambda _, __: self._stats.shown(),
            ("POST", "stats/reset"): self._reset,
            ("GET", "requests"): self._requests,
        }

    async def handle(self, request: Request, exchange: Exchange) -> None:
        """Answer one control request."""
        path = request.path.removeprefix("/_control/").rstrip("/")
        if (request.method, path) == ("GET", "truth"):
            await self._truth(request, exchange)
            return
        handler = self._routes.get((request.method, path))
        if request.method == "DELETE" and path.startswith("faults/"):
            handler = self._remove_fault
        if handler is None:
            await _send(exchange, _UNKNOWN, {"error": f"no control route {request.method} {path}"})
            return
        try:
            given = orjson.loads(request.body) if request.body.strip() else {}
            if not isinstance(given, dict):
                await _send(exchange, _BAD, {"error": "the body is no JSON object"})
                return
            await _send(exchange, _OK, handler(request, given))
        except UnsuitableChange as error:
            await _send(exchange, _CONFLICT, {"error": str(error)})
        except (BadFault, ValueError, TypeError) as error:
            await _send(exchange, _BAD, {"error": str(error)})

    def _journal(self, request: Request, given: dict[str, Any]) -> Any:
        del given
        since = int(request.query.get("since", "0"))
        return [list(row) for row in self._world.journal.since(since, None)]

    def _change(self, request: Request, given: dict[str, Any]) -> Any:
        """Make `count` changes of `kind` (null = drawn by weight); the last one is answered."""
        del request
        kind, project = given.get("kind"), given.get("project")
        spread = float(given.get("spread", 0.0))
        change = None
        for _ in range(min(int(given.get("count", 1)), CHANGES_MAX)):
            if kind is None:
                change = self._living.random_change(spread)
            else:
                change = self._living.change(str(kind), project, spread)
        if change is None:
            message = "count must be at least 1"
            raise BadFault(message)
        edition = change.it.edition
        return {
            "project": change.it.name,
            "display_name": edition.display_name,
            "status": edition.status,
            "serial": change.serial,
            "last_serial": edition.serial,
            "version": change.it.version,
            "rows": [list(row) for row in change.rows],
        }

    def _change_kinds(self, request: Request, given: dict[str, Any]) -> Any:
        del request, given
        return [
            {"kind": kind.name, "description": kind.description, "weight": kind.weight}
            for kind in CHANGE_KINDS.values()
        ]

    def _rate(self, request: Request, given: dict[str, Any]) -> Any:
        del request
        self._living.changes_per_second = max(0.0, float(given["changes_per_second"]))
        return {"changes_per_second": self._living.changes_per_second}

    def _fault_kinds(self, request: Request, given: dict[str, Any]) -> Any:
        del request, given
        return [
            {
                "kind": kind.name,
                "description": kind.description,
                "routes": kind.routes,
                "params": dict(kind.params),
                "raw": kind.raw,
            }
            for kind in KINDS.values()
        ]

    def _add_fault(self, request: Request, given: dict[str, Any]) -> Any:
        del request
        return self._faults.add(given, self._site).shown()

    def _remove_fault(self, request: Request, given: dict[str, Any]) -> Any:
        del given
        return {"removed": self._faults.remove(int(request.path.rpartition("/")[2]))}

    def _reset(self, request: Request, given: dict[str, Any]) -> Any:
        del request, given
        self._stats.reset()
        return {}

    def _requests(self, request: Request, given: dict[str, Any]) -> Any:
        del given
        since = float(request.query.get("since", "0"))
        return [dataclasses.asdict(asked) for asked in self._stats.since(since)]

    async def _truth(self, request: Request, exchange: Exchange) -> None:
        names = [normalized(request.query["name"])] if "name" in request.query else None
        bodies = request.query.get("documents", "1") != "0"
        headers = [(b"content-type", NDJSON)]
        await exchange.send({"type": "http.response.start", "status": _OK, "headers": headers})
        send: Callable[[bytes], Awaitable[None]] = lambda chunk: exchange.send(  # noqa: E731
            {"type": "http.response.body", "body": chunk, "more_body": True}
        )
        parts, size = [], 0
        for name in list(self._world.names) if names is None else names:
            line = self.truth_line(name, bodies=bodies)
            parts.append(line)
            size += len(line)
            if size >= TRUTH_CHUNK_BYTES:
                await send(b"".join(parts))
                parts, size = [], 0
        await send(b"".join(parts))
        await exchange.send({"type": "http.response.body", "body": b""})

    def truth_line(self, name: str, *, bodies: bool = True) -> bytes:
        """One line: what is true of a normalised name."""
        project = self._world.project(name)
        edition = project.edition if project is not None else None
        head: dict[str, Any] = {
            "name": name,
            "display_name": edition.display_name if edition is not None else None,
            "status": edition.status if edition is not None else Status.NONE,
            "serial": edition.serial if edition is not None else 0,
            "etag": edition.etag if edition is not None else "",
        }
        document = b"null"
        if bodies and edition is not None and edition.served:
            document = self._document(edition)
        return orjson.dumps(head)[:-1] + b',"document":' + document + b"}\n"

    def _document(self, edition: Edition) -> bytes:
        if edition.ref is None:
            return b"null"
        raw = self._world.store.raw(edition.ref).rstrip(b"\n")
        # The oldest documents are indented: one line each only when written anew.
        return orjson.dumps(orjson.loads(raw)) if b"\n" in raw else raw


async def _send(exchange: Exchange, status: int, value: Any) -> None:
    await plain(
        exchange, Answer(status, [(b"content-type", b"application/json")], orjson.dumps(value))
    )
