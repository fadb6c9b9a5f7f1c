"""Downloads files from another instance: small ones into memory, large ones to disk, verified.

PyPI is not asked for anything here, so the upstream client's pace and holds do not apply. Answers
are uncompressed (`identity`), redirects are followed. An interrupted download is resumed with a
range request if the server says that the file is still the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple, TypeVar

from schemas.errors import (
    BrokenBody,
    DiskFull,
    DumpCorrupt,
    NotPublished,
    Retriable,
    StorageFailed,
    UpstreamRefused,
    UpstreamUnavailable,
)
from upstream.client import FileAnswer, FileRequests
from upstream.settings import program_version

READ_SECONDS_MAX = 30.0  # between two pieces of an answer
SMALL_SECONDS_MAX = 120.0  # for all of a small file, since a slow drip would never end
TRIES_MAX = 5  # attempts in a row without a byte more; then the caller decides
RETRY_SECONDS = 1.0  # before the second attempt; doubled with each
REDIRECTS_MAX = 5  # ends a redirect loop
WRITE_BUFFER_BYTES = 1024 * 1024  # pieces are small, and are written into the page cache
_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_NO_SPACE = 28  # errno.ENOSPC

T = TypeVar("T")


class Fetched(NamedTuple):
    """A small file and its ETag ("" = none)."""

    body: bytes
    etag: str


class _Wanted(NamedTuple):
    """What a large file must be: its length in bytes, its SHA-256 in hex."""

    bytes: int
    sha256: str


class Downloads:
    """Gets files below `base_url`. Belongs to one event loop.

    Errors: NotPublished (404), UpstreamRefused (401, 403), UpstreamUnavailable and BrokenBody once
    the tries are used up, DumpCorrupt (another file than wanted), DiskFull, StorageFailed.
    """

    def __init__(self, base_url: str, *, retry_seconds: float = RETRY_SECONDS) -> None:
        self._base = base_url.rstrip("/")
        self._retry_seconds = retry_seconds
        self._files = FileRequests(
            base_url,
            user_agent=f"pypistream/{program_version()}",
            read_seconds=READ_SECONDS_MAX,
            redirects=REDIRECTS_MAX,
        )

    async def small(self, path: str, bytes_max: int, etag: str = "") -> Fetched | None:
        """A file of at most so many bytes; None if it is unchanged since `etag`."""

        async def once() -> Fetched | None:
            try:
                async with asyncio.timeout(SMALL_SECONDS_MAX):
                    return await self._whole(path, bytes_max, etag)
            except TimeoutError:
                message = f"{self._url(path)}: not there after {SMALL_SECONDS_MAX:.0f} s"
                raise UpstreamUnavailable(message) from None

        tries = 0
        while True:
            try:
                return await self._translated(once)
            except Retriable:
                tries += 1
                if tries == TRIES_MAX:
                    raise
            await self._wait(tries)

    async def _whole(self, path: str, bytes_max: int, etag: str) -> Fetched | None:
        headers = {"If-None-Match": etag} if etag else {}
        async with self._files.get(self._url(path), headers) as answer:
            if answer.status == HTTPStatus.NOT_MODIFIED and etag:
                return None
            self._check(answer, (HTTPStatus.OK,))
            body = bytearray()
            async for piece in answer.pieces:
                body += piece
                if len(body) > bytes_max:
                    raise DumpCorrupt(f"{answer.url} has over {bytes_max} bytes")
            return Fetched(bytes(body), answer.headers.get("etag", ""))

    async def large(self, path: str, into: Path, size: int, sha256: str) -> None:
        """Download a file of `size` bytes to `into`, resuming what an earlier call has got."""
        wanted = _Wanted(size, sha256)
        if await asyncio.to_thread(_is_right, into, wanted):
            return
        part = into.with_name(f"{into.name}.{wanted.sha256[:16]}.part")
        tries, most = 0, -1  # the most that was ever received: starting over is no progress
        while True:
            held = await asyncio.to_thread(_size, part)
            tries = 1 if held > most else tries + 1
            most = max(most, held)
            try:
                if held < wanted.bytes:
                    await self._translated(lambda: self._more(path, part, wanted))
                break
            except Retriable:
                if tries == TRIES_MAX:
                    raise
            await self._wait(tries)
        if not await asyncio.to_thread(_is_right, part, wanted):
            part.unlink(missing_ok=True)
            raise self._other(path)
        part.replace(into)

    async def close(self) -> None:
        """Close connections."""
        await self._files.close()

    async def _more(self, path: str, part: Path, wanted: _Wanted) -> None:
        """One request for what is missing, appended to `part`."""
        held = await asyncio.to_thread(_size, part)
        headers = {"Range": f"bytes={held}-"} if held else {}
        async with self._files.get(self._url(path), headers) as answer:
            if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                await asyncio.to_thread(part.unlink, missing_ok=True)
                raise self._other(path)  # it is shorter than what was received of it
            self._check(answer, (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT))
            ranged = answer.status == HTTPStatus.PARTIAL_CONTENT
            if ranged and not answer.headers.get("content-range", "").startswith(f"bytes {held}-"):
                raise BrokenBody(f"{answer.url}: another range than asked for")
            held = held if ranged else 0
            mode = "ab" if ranged else "wb"
            # What was received is kept when the answer ends early: the next request resumes there.
            # The file is opened here and not in a thread, where it would stay open if we were
            # cancelled.
            with part.open(mode, WRITE_BUFFER_BYTES) as file:
                async for piece in answer.pieces:
                    held += len(piece)
                    if held > wanted.bytes:
                        break  # another file, as its SHA-256 shows
                    file.write(piece)

    def _other(self, path: str) -> DumpCorrupt:
        return DumpCorrupt(
            f"{self._url(path)} is not the file its manifest describes",
            hint="a new dump may have come in between: fetch the manifest anew",
        )

    def _url(self, path: str) -> str:
        return f"{self._base}/{path}"

    def _check(self, answer: FileAnswer, good: tuple[HTTPStatus, ...]) -> None:
        status = answer.status
        if status in good:
            return
        message = f"{answer.url}: the server answered {status}"
        if status in _GONE:
            raise NotPublished(message, hint="is the address that of a folder `dumps`?")
        if status in _REFUSED:
            raise UpstreamRefused(message)
        raise UpstreamUnavailable(message)

    async def _translated(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno == _NO_SPACE:
                raise DiskFull(f"no space left for what is downloaded: {reason}") from error
            raise StorageFailed(f"what is downloaded cannot be written: {reason}") from error

    async def _wait(self, tries: int) -> None:
        # Jitter, no secret: many followers of one server should not return at the same moment.
        await asyncio.sleep(self._retry_seconds * 2 ** (tries - 1) * random.uniform(0.5, 1.0))


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _is_right(path: Path, wanted: _Wanted) -> bool:
    if _size(path) != wanted.bytes or not path.exists():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == wanted.sha256
