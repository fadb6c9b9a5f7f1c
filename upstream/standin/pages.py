"""The index: `/simple/` and `/simple/<name>/`, as JSON (PEP 691) or HTML (PEP 503)."""

from __future__ import annotations

import html
import math
from typing import Any, NamedTuple

import orjson

from upstream.standin.http_types import (
    GZIP_FROM_BYTES,
    VARY,
    Answer,
    Headers,
    Request,
    text,
)
from upstream.standin.store import compressed, etag_of
from upstream.standin.world import Edition, Project, Status, World

JSON_TYPE = b"application/vnd.pypi.simple.v1+json"
HTML_TYPE = b"application/vnd.pypi.simple.v1+html"
PLAIN_TYPE = b"text/html; charset=utf-8"
API_VERSION = "1.4"
CACHE_10_MINUTES = (b"cache-control", b"max-age=600, public")
_MOVED = 301
_NOT_ACCEPTABLE = 406


class _Page(NamedTuple):
    raw: bytes
    gz: bytes
    etag: str
    serial: int


class Pages:
    """Renders the index; the large one is kept until something changes."""

    def __init__(self, world: World, lag_seconds: float) -> None:
        self._world = world
        self._lag = lag_seconds
        self._kept: dict[bytes, tuple[object, _Page]] = {}

    def answer(self, request: Request, moment: float | None = None) -> Answer:
        """Either page, in the form that the client prefers."""
        kind = preferred(request.headers.get(b"accept", b"*/*"))
        if kind is None:
            return text(_NOT_ACCEPTABLE, "neither JSON nor HTML is acceptable")
        if moment is None and self._lag > 0:
            moment = self._world.clock() - self._lag
        if not request.project:
            return _answered(request, self._index(kind, moment), kind)
        if request.project != request.name:
            return Answer(_MOVED, [(b"location", f"/simple/{request.name}/".encode())])
        return self._detail(request, kind, moment)

    def _index(self, kind: bytes, moment: float | None) -> _Page:
        world = self._world
        # A lagging page is as it was at a moment, and moments pass: kept for a second.
        state: object = world.revision if moment is None else (world.revision, int(moment))
        form = JSON_TYPE if kind == JSON_TYPE else HTML_TYPE
        if form in self._kept and self._kept[form][0] == state:
            return self._kept[form][1]
        now = math.inf if moment is None else moment
        serial = world.journal.last_serial_at(now)
        listed = [
            edition for edition in world.listed_at(now) if edition.status is not Status.QUARANTINED
        ]
        if form == JSON_TYPE:
            raw = orjson.dumps(
                {
                    "meta": {"_last-serial": serial, "api-version": API_VERSION},
                    "projects": [
                        {"_last-serial": edition.serial, "name": edition.display_name}
                        for edition in listed
                    ],
                }
            )
        else:
            raw = _index_html(listed, serial)
        page = _Page(raw, compressed(raw), etag_of(raw), serial)
        self._kept[form] = (state, page)
        return page

    def _detail(self, request: Request, kind: bytes, moment: float | None) -> Answer:
        project = self._world.projects.get(request.name)
        edition = None
        if project is not None:
            edition = project.edition if moment is None else project.edition_at(moment)
        if project is None or edition is None or not edition.listed:
            return text(404, "404 Not Found")
        host = request.headers.get(b"host", b"127.0.0.1").decode("latin-1")
        page = self._project_page(project, edition, f"http://{host}/files/{project.name}/")
        raw = orjson.dumps(page) if kind == JSON_TYPE else _project_html(page, edition)
        content = compressed(raw) if request.takes_gzip else b""
        return _answered(request, _Page(raw, content, etag_of(raw), edition.serial), kind)

    def _project_page(self, project: Project, edition: Edition, base: str) -> dict[str, Any]:
        status: dict[str, str] = {"status": "active"}
        if edition.status is Status.QUARANTINED:
            status = {"status": "quarantined", "reason": "made up"}
        elif project.archived:
            status = {"status": "archived"}
        document = self._world.document(edition) if edition.status is Status.OK else None
        releases = document["releases"] if document is not None else {}
        return {
            "alternate-locations": [],
            "files": [_file(file, base) for files in releases.values() for file in files],
            "meta": {"_last-serial": edition.serial, "api-version": API_VERSION},
            "name": project.name,
            "project-status": status,
            # Those of files: a release without any is in the JSON API's document alone.
            "versions": [version for version, files in releases.items() if files],
        }


def _file(file: dict[str, Any], base: str) -> dict[str, Any]:
    metadata = file.get("core-metadata", False)
    digests = file.get("digests")
    yanked = file.get("yanked", False)
    # A made-up share of the wheels has attestations; what the address holds is not made up.
    attested = bool(metadata) and file["size"] % 4 == 0
    return {
        "core-metadata": metadata,
        "data-dist-info-metadata": metadata,
        "filename": file["filename"],
        "hashes": {"sha256": digests["sha256"]} if digests else {"md5": file["md5_digest"]},
        "provenance": base + file["filename"] + ".provenance" if attested else None,
        "requires-python": file.get("requires_python"),
        "size": file["size"],
        "upload-time": file.get("upload_time_iso_8601", f"{file['upload_time']}.000000Z"),
        "url": base + file["filename"],
        "yanked": (file["yanked_reason"] or True) if yanked else False,
    }


def preferred(accept: bytes) -> bytes | None:
    """The media type to answer with; None if the client takes neither form."""
    ranked: list[tuple[float, bytes]] = []
    for part in accept.lower().split(b","):
        kind, _, parameters = part.strip().partition(b";")
        quality = parameters.strip().removeprefix(b"q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            weight = 1.0
        ranked.append((weight, kind.strip()))
    # The order among equals is the client's own; `*/*` is HTML, as with the real index.
    for _, kind in sorted(ranked, key=lambda entry: -entry[0]):
        if kind in {JSON_TYPE, b"application/vnd.pypi.simple.latest+json"}:
            return JSON_TYPE
        if kind in {HTML_TYPE, b"application/vnd.pypi.simple.latest+html"}:
            return HTML_TYPE
        if kind in {b"text/html", b"*/*", b"text/*"}:
            return PLAIN_TYPE
    return None


def _answered(request: Request, page: _Page, kind: bytes) -> Answer:
    headers: Headers = [
        (b"content-type", kind),
        (b"etag", page.etag.encode()),
        (b"x-pypi-last-serial", b"%d" % page.serial),
        CACHE_10_MINUTES,
        VARY,
    ]
    if request.etag == page.etag:
        return Answer(304, headers[1:])
    if request.takes_gzip and len(page.raw) >= GZIP_FROM_BYTES:
        return Answer(200, [*headers, (b"content-encoding", b"gzip")], page.gz)
    return Answer(200, headers, page.raw)


def _index_html(listed: list[Edition], serial: int) -> bytes:
    links = "\n".join(
        f'    <a href="/simple/{edition.display_name}/">{edition.display_name}</a>'
        for edition in listed
    )
    head = f'<meta name="pypi:repository-version" content="{API_VERSION}">'
    page = f"<!DOCTYPE html>\n<html>\n  <head>{head}<title>Simple index</title></head>\n  <body>\n"
    return f"{page}{links}\n  </body>\n</html>\n<!--SERIAL {serial}-->".encode()


def _project_html(page: dict[str, Any], edition: Edition) -> bytes:
    links = []
    for file in page["files"]:
        (kind, digest), *_ = file["hashes"].items()
        attributes = ""
        if file["requires-python"]:
            attributes += f' data-requires-python="{html.escape(file["requires-python"])}"'
        if file["yanked"] is not False:
            reason = file["yanked"] if isinstance(file["yanked"], str) else ""
            attributes += f' data-yanked="{html.escape(reason)}"'
        if file["core-metadata"]:
            sha256 = file["core-metadata"]["sha256"]
            attributes += f' data-core-metadata="sha256={sha256}"'
        url = html.escape(f"{file['url']}#{kind}={digest}")
        links.append(f'<a href="{url}"{attributes}>{html.escape(file["filename"])}</a><br />')
    name = html.escape(page["name"])
    head = f"<!DOCTYPE html>\n<html>\n<head><title>Links for {name}</title></head>\n<body>\n"
    body = "\n".join(links)
    return f"{head}{body}\n</body>\n</html>\n<!--SERIAL {edition.serial}-->".encode()
