"""`/dumps/`: what the dump sink publishes, as static files would be: Range, ETag, immutable names.

    /dumps/                         what there is, as JSON
    /dumps/manifest.json            of the newest complete dump
    /dumps/<file>                   a file of that dump; its ETag is the sha256 of the manifest
    /dumps/.versions/<n>/<file>     of the dump that a manifest names, while it is kept
    /dumps/sha256/<hex>/<file>      the same file by content: never anything else, for ever
    /dumps/full/<file>              of a dump that is kept, its hash in its name; and their manifest
    /dumps/deltas/<file>            what leads from dump to dump, and its manifest

Only files that a manifest names are opened, or ones whose name has the shape of ours.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from schemas.errors import DumpCorrupt
from schemas.manifest import DELTAS, FULL, MANIFEST_FILE, DumpFile, Manifest
from sinks.dump.reader import DumpReader
from sinks.http.answers import json_answer, problem, unchanged
from sinks.http.files import file_answer
from sinks.publication import VERSIONS

ROOT = "/dumps/"
FOREVER = "public, max-age=31536000, immutable"
FRESH = "public, no-cache"  # it may be kept, and asked for again by its ETag
SOON_SECONDS = 60  # when to look again for a first dump

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_VERSION = re.compile(r"[0-9]{1,18}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TYPES = {
    ".zst": "application/zstd",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
}


class _Found(NamedTuple):
    """A file to send. `etag` is strong: these bytes and no others."""

    path: Path
    etag: str
    cache: str


class Listed(msgspec.Struct, frozen=True):
    """A file in the list: where it is now, and where it will be for as long as it is kept.

    `watermark`: what it reflects. Tables are made less often: theirs may lie behind the list's.
    """

    name: str
    url: str
    immutable_url: str
    bytes: int
    sha256: str
    rows: int
    watermark: int | None


class Listing(msgspec.Struct, frozen=True):
    """`GET /dumps/`."""

    created: str
    watermark: int | None
    names: int
    coverage: float | None
    manifest: str
    deltas: str | None
    full: str | None
    files: list[Listed]


class Dumps:
    """The endpoints over a directory of dumps."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: tuple[tuple[int, int], DumpReader] | None = None

    def routes(self) -> list[BaseRoute]:
        """For the application."""
        return [
            Route(ROOT, self._list),
            Route(f"{ROOT}{{name}}", self._current),
            Route(f"{ROOT}{VERSIONS}/{{version}}/{{name}}", self._of_version),
            Route(f"{ROOT}sha256/{{sha256}}/{{name}}", self._by_content),
            Route(f"{ROOT}{DELTAS}/{{name}}", self._delta),
            Route(f"{ROOT}{FULL}/{{name}}", self._full),
        ]

    def newest(self) -> Manifest | None:
        """The manifest of the newest complete dump; None if there is none. Blocks."""
        reader = self._reader()
        return None if reader is None else reader.manifest

    async def _list(self, request: Request) -> Response:
        reader = await asyncio.to_thread(self._reader)
        if reader is None:
            return _nothing_yet()
        manifest = reader.manifest
        beside = {
            name: f"{ROOT}{name}/{MANIFEST_FILE}"
            for name in (DELTAS, FULL)
            if (self._folder / name / MANIFEST_FILE).is_file()
        }
        listing = Listing(
            created=manifest.created,
            watermark=manifest.watermark,
            names=manifest.names,
            coverage=manifest.coverage,
            manifest=f"{ROOT}{MANIFEST_FILE}",
            deltas=beside.get(DELTAS),
            full=beside.get(FULL),
            files=[_listed(name, file, manifest) for name, file in sorted(manifest.files.items())],
        )
        return json_answer(request, listing)

    async def _current(self, request: Request) -> Response:
        name = _checked(request, "name", _NAME)
        reader = await asyncio.to_thread(self._reader)
        if reader is None:
            return _nothing_yet()
        if name == MANIFEST_FILE:
            # One path for one version: the file of that name is replaced while it is read.
            path = reader.directory / MANIFEST_FILE
            tag = f'"{reader.manifest.version}-{reader.manifest.created}"'
            return await _send(request, _Found(path, tag, FRESH))
        return await _send(request, _file_of(reader, name, FRESH))

    async def _of_version(self, request: Request) -> Response:
        version = _checked(request, "version", _VERSION)
        name = _checked(request, "name", _NAME)
        reader = await asyncio.to_thread(self._version, version)
        if reader is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        if name == MANIFEST_FILE:
            tag = f'"{version}-{reader.manifest.created}"'
            return await _send(request, _Found(reader.directory / name, tag, FRESH))
        return await _send(request, _file_of(reader, name, FRESH))

    async def _by_content(self, request: Request) -> Response:
        sha256 = _checked(request, "sha256", _SHA256)
        name = _checked(request, "name", _NAME)
        path = await asyncio.to_thread(self._with_content, name, sha256)
        if path is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return await _send(request, _Found(path, f'"{sha256}"', FOREVER))

    async def _delta(self, request: Request) -> Response:
        return await self._hashed(request, DELTAS)

    async def _full(self, request: Request) -> Response:
        return await self._hashed(request, FULL)

    async def _hashed(self, request: Request, folder: str) -> Response:
        """A file of a folder whose names hold hashes, or its manifest."""
        name = _checked(request, "name", _NAME)
        path = self._folder / folder / name
        if name == MANIFEST_FILE:
            known = await asyncio.to_thread(_stamp, path)
            if known is None:
                raise HTTPException(HTTPStatus.NOT_FOUND)
            return await _send(request, _Found(path, f'"{known[0]:x}-{known[1]:x}"', FRESH))
        # Its name holds a part of its hash, and never stands for anything else.
        return await _send(request, _Found(path, f'"{name}"', FOREVER))

    def _reader(self) -> DumpReader | None:
        stamp = _stamp(self._folder / MANIFEST_FILE)
        if stamp is None:
            return None
        if self._read is None or self._read[0] != stamp:
            try:
                self._read = (stamp, DumpReader(self._folder))
            except DumpCorrupt:
                return None
        return self._read[1]

    def _version(self, version: str) -> DumpReader | None:
        folder = self._folder / VERSIONS / version
        current = self._reader()
        if current is not None and current.directory.name == version:
            return current
        try:
            return DumpReader(folder) if folder.is_dir() else None
        except DumpCorrupt:
            return None

    def _with_content(self, name: str, sha256: str) -> Path | None:
        for reader in self._versions():
            known = reader.manifest.files.get(name)
            if known is not None and known.sha256 == sha256:
                return reader.directory / name
        return None

    def _versions(self) -> Iterator[DumpReader]:
        current = self._reader()
        if current is None:
            return
        yield current
        for folder in sorted((self._folder / VERSIONS).glob("[0-9]*"), reverse=True):
            if folder != current.directory and (reader := self._version(folder.name)) is not None:
                yield reader


def _file_of(reader: DumpReader, name: str, cache: str) -> _Found:
    known = reader.manifest.files.get(name)
    if known is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return _Found(reader.directory / name, f'"{known.sha256}"', cache)


def _listed(name: str, file: DumpFile, manifest: Manifest) -> Listed:
    return Listed(
        *(name, f"{ROOT}{name}", immutable_url(name, file), file.bytes, file.sha256, file.rows),
        made_at(name, manifest)[1],
    )


def immutable_url(name: str, file: DumpFile) -> str:
    """Where the file is for as long as it is kept, and never anything else."""
    return f"{ROOT}{FULL}/{file.file}" if file.file else f"{ROOT}sha256/{file.sha256}/{name}"


def made_at(name: str, manifest: Manifest) -> tuple[str, int | None]:
    """When the file was made, and the watermark that it reflects."""
    tables = manifest.tables
    if tables is not None and name in tables.files:
        return tables.created, tables.watermark
    return manifest.created, manifest.watermark


async def _send(request: Request, found: _Found) -> Response:
    """The file, or 304."""
    headers = {
        "ETag": found.etag,
        "Cache-Control": found.cache,
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "ETag, Content-Range, Accept-Ranges",
    }
    kind = _TYPES.get(found.path.suffix, "application/octet-stream")
    file = await file_answer(found.path, kind, headers)  # before 304: it may be gone
    return unchanged(request, headers) or file


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes when a file is replaced; None if it is not there."""
    try:
        known = path.stat()
    except OSError:
        return None
    return known.st_mtime_ns, known.st_ino


def _checked(request: Request, part: str, shape: re.Pattern[str]) -> str:
    text = str(request.path_params[part])
    if shape.fullmatch(text) is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return text


def _nothing_yet() -> Response:
    hint = "the first one is written some minutes after the start; `pypistream dump` writes one now"
    headers = {"Retry-After": str(SOON_SECONDS)}
    return problem(HTTPStatus.NOT_FOUND, "there is no dump yet", hint, headers)
