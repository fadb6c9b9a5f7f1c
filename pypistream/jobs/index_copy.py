"""A copy of upstream's index with its ETag, so that 40 MB are not sent again unchanged.

One zstd file in the data directory, in the index's own format (PEP 691) with two keys added. It may
be deleted at any time; one that cannot be read, or comes from another upstream, is ignored.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from schemas.codec import NO_JSON
from schemas.compression import compress_frames, read_frames
from schemas.errors import DumpCorrupt, UpstreamUnavailable
from upstream.index import API_MAJOR, parse_serial_map
from upstream.source import NotModified, SerialMap, Upstream

FILE = "index.json.zst"
PART_LINES = 20_000  # a megabyte
LEVEL = 3  # a fifth of the size at 300 MB/s; read once per run


class _Whose(msgspec.Struct):
    """Our own keys."""

    upstream: str
    etag: str


class IndexCopy:
    """The copy in `folder`; None, or a folder that does not exist = no copy is kept."""

    def __init__(self, folder: Path | None, upstream_url: str) -> None:
        self._path = folder / FILE if folder is not None and folder.is_dir() else None
        self._url = upstream_url

    async def fetch(self, upstream: Upstream) -> SerialMap:
        """The present index: the copy, if upstream says it is unchanged. Raises Retriable."""
        answer = await upstream.serial_map(self._etag())
        if isinstance(answer, SerialMap):
            self._keep(answer)
            return answer
        copy = self._copy()
        if copy is not None:
            return copy
        again = await upstream.serial_map()  # deleted meanwhile, or damaged behind its first frame
        if isinstance(again, NotModified):
            raise UpstreamUnavailable("the index answered 304, and no ETag was sent")
        self._keep(again)
        return again

    def _etag(self) -> str:
        whose = self._whose()
        return "" if whose is None or whose.upstream != self._url else whose.etag

    def _whose(self) -> _Whose | None:
        """The keys in the first frame, which is small so that reading it is cheap."""
        if self._path is None:
            return None
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(next(read_frames(file), b""), type=_Whose)
        except (OSError, DumpCorrupt, *NO_JSON):
            return None

    def _copy(self) -> SerialMap | None:
        whose = self._whose()
        if self._path is None or whose is None:
            return None
        try:
            with self._path.open("rb") as file:
                frames = read_frames(file)
                next(frames)
                return parse_serial_map(b"".join(frames), whose.etag)
        except (OSError, DumpCorrupt, UpstreamUnavailable):
            return None

    def _keep(self, index: SerialMap) -> None:
        """Replace the copy as a whole; if it cannot be written there is none next time."""
        if self._path is None or not index.etag:
            return
        aside = self._path.with_name(f".{FILE}.{os.getpid()}")
        whose = msgspec.json.encode(_Whose(self._url, index.etag))
        try:
            with aside.open("wb") as file:
                for part in (whose, *_body(index)):
                    file.write(compress_frames(part, LEVEL))
            aside.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)


def _body(index: SerialMap) -> Iterator[bytes]:
    """The index's JSON, part by part."""
    meta = {"_last-serial": index.last_serial, "api-version": f"{API_MAJOR}.0"}
    yield b'{"meta":%b,"projects":[' % msgspec.json.encode(meta)
    for start in range(0, len(index.projects), PART_LINES):
        lines = msgspec.json.encode(index.projects[start : start + PART_LINES])[1:-1]
        yield b",%b" % lines if start else lines
    yield b"]}"
