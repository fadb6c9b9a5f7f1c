"""`GET /simple/`: every published name with the serial of its document, as PEP 691 JSON.

Another pypistream reconciles with it, so it is served only while there is a watermark: a name that
an incomplete log lacks would look like a removed project. The list is written into a file, page by
page between other requests, and again when it has changed and is old enough.
"""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from schemas.codec import encode
from sinks.durable import discard, storage
from sinks.http.answers import encoding_for, not_ready, unchanged
from sinks.http.files import file_answer
from sinks.http.library import PAGE_MAX, Library
from sinks.sink import Vector
from streams.clock import Clock

MEDIA_TYPE = "application/vnd.pypi.simple.v1+json"
API_VERSION = "1.0"  # the fields here are all of that version's
RENEW_SECONDS_MIN = 1.0  # the list of all names is too long to be written for each request
RENEW_SHARE_MAX = 0.05  # of the time at most goes into writing it: some seconds at PyPI's size
GZIP_LEVEL = 1
KEPT = 2  # the one before is still being sent to somebody
NAME = "simple"
_GZIP_WINDOW = 31  # zlib's window bits: 15 of window, 16 for a gzip header


class _Written(NamedTuple):
    vector: Vector
    serial: int
    etag: str
    fresh_until_ms: float


class SimpleIndex:
    """The endpoint; `folder` is where its files lie, which nobody else writes."""

    def __init__(self, library: Library, folder: Path, clock: Clock) -> None:
        self._library = library
        self._folder = folder
        self._clock = clock
        self._written: _Written | None = None
        self._turn = asyncio.Lock()

    def routes(self) -> list[BaseRoute]:
        """For the application."""
        return [Route("/simple/", self._get)]

    async def _get(self, request: Request) -> Response:
        view = self._library.view()
        if view is None:
            return not_ready()
        if view.watermark is None:
            return not_ready("the list is not complete: a backfill is owed, or under way")
        async with self._turn:
            written = await self._up_to_date()
        headers = {
            "ETag": written.etag,
            "Cache-Control": "public, no-cache",
            "Vary": "Accept-Encoding",
            "Access-Control-Allow-Origin": "*",
            "X-PyPI-Last-Serial": str(written.serial),
        }
        if same := unchanged(request, headers):
            return same
        path = self._file(written)
        if encoding_for(request.headers.get("accept-encoding", "")):
            path = _packed(path)
            headers["Content-Encoding"] = "gzip"
        return await file_answer(path, MEDIA_TYPE, headers)

    async def _up_to_date(self) -> _Written:
        view, written = self._library.view(), self._written
        assert view is not None
        if written is not None:
            fresh = self._clock.now_ms() < written.fresh_until_ms
            if written.vector == view.vector or fresh:
                return written
        begun_ms = self._clock.now_ms()
        serial = view.watermark or 0
        aside = self._folder / f".{NAME}.new"
        with storage(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as plain, _packed(aside).open("wb") as packed:
                digest = await self._write(_Both(plain, packed), serial)
            ended_ms = self._clock.now_ms()
            rest_ms = max(RENEW_SECONDS_MIN * 1000, (ended_ms - begun_ms) / RENEW_SHARE_MAX)
            etag = f'W/"{serial}-{digest}"'
            written = _Written(view.vector, serial, etag, ended_ms + rest_ms)
            _packed(aside).replace(_packed(self._file(written)))
            aside.replace(self._file(written))
        self._written = written
        self._remove_old()
        return written

    async def _write(self, out: _Both, serial: int) -> str:
        meta = {"_last-serial": serial, "api-version": API_VERSION}
        out.write(b'{"meta":' + encode(meta) + b',"projects":[')
        after, first = "", True
        while page := self._library.projects(after, PAGE_MAX):
            lines = [
                encode({"name": line.display_name, "_last-serial": line.serial}) for line in page
            ]
            out.write((b"" if first else b",\n") + b",\n".join(lines))
            after, first = page[-1].name, False
            await asyncio.sleep(0)
        out.write(b"]}\n")
        return out.finish()

    def _file(self, written: _Written) -> Path:
        return self._folder / f"{NAME}-{written.etag[3:-1]}.json"

    def _remove_old(self) -> None:
        files = sorted(
            self._folder.glob(f"{NAME}-*.json"), key=lambda path: path.stat().st_mtime_ns
        )
        for path in files[:-KEPT]:
            discard(path, _packed(path))


class _Both:
    """The same bytes as they are and as gzip, and a hash of them."""

    def __init__(self, plain: BinaryIO, packed: BinaryIO) -> None:
        self._plain, self._packed = plain, packed
        self._packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        self._hash = hashlib.blake2b(digest_size=8)

    def write(self, piece: bytes) -> None:
        self._plain.write(piece)
        self._packed.write(self._packer.compress(piece))
        self._hash.update(piece)

    def finish(self) -> str:
        self._packed.write(self._packer.flush())
        return self._hash.hexdigest()


def _packed(path: Path) -> Path:
    return path.with_name(f"{path.name}.gz")
