"""Bodies on disk: gzip members in a corpus file that is only read, and in one that grows.

Memory holds a reference per body; the operating system's page cache makes reading quick.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import zlib
from pathlib import Path
from typing import NamedTuple

GZIP_LEVEL = 1  # the corpus is made before readiness: time matters more than the last tenth


class BodyRef(NamedTuple):
    """Where a gzip-compressed body lies: bytes `offset`..`offset + length` of one of the files."""

    offset: int
    length: int
    raw: int  # bytes when decompressed
    live: bool  # in the growing file


def compressed(raw: bytes) -> bytes:
    """One gzip member without a time, so that equal bodies are equal bytes."""
    return gzip.compress(raw, GZIP_LEVEL, mtime=0)


def etag_of(raw: bytes) -> str:
    """A strong ETag, quotes included."""
    return f'"{hashlib.blake2b(raw, digest_size=16).hexdigest()}"'


class BodyStore:
    """Reads bodies of both files, appends to the growing one."""

    def __init__(self, corpus: Path | int) -> None:
        self._corpus = os.open(corpus, os.O_RDONLY) if isinstance(corpus, Path) else corpus
        # Without a name: gone with the process, however it ends.
        self._file = tempfile.TemporaryFile(prefix="standin-")  # noqa: SIM115 - closed in close()
        self._live = self._file.fileno()
        self._end = 0

    def gz(self, ref: BodyRef) -> bytes:
        """The compressed body."""
        return os.pread(self._live if ref.live else self._corpus, ref.length, ref.offset)

    def raw(self, ref: BodyRef) -> bytes:
        """The body."""
        return zlib.decompress(self.gz(ref), wbits=31, bufsize=ref.raw)

    def add(self, raw: bytes) -> BodyRef:
        """Keep a body."""
        content = compressed(raw)
        ref = BodyRef(self._end, len(content), len(raw), live=True)
        os.pwrite(self._live, content, self._end)
        self._end += len(content)
        return ref

    def close(self) -> None:
        """Give both files back."""
        os.close(self._corpus)
        self._file.close()
