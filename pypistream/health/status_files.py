"""The files of a data directory for `status`: size, and time of the last write."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import msgspec

from pypistream.data_dir import DataDir
from schemas.codec import rfc3339


class FileReport(msgspec.Struct):
    """A file or directory under the data directory; bytes and the time it was last written."""

    path: str
    bytes: int
    time: str


class _Size(msgspec.Struct):
    """Bytes and time of everything at and below a path."""

    bytes: int = 0
    seconds: float = 0.0

    def add(self, path: Path) -> Self:
        try:
            stat = path.stat()
        except OSError:
            return self  # it was removed meanwhile
        if not path.is_dir():
            self.bytes += stat.st_size
        self.seconds = max(self.seconds, stat.st_mtime)
        return self


def files_of(data: DataDir) -> list[FileReport]:
    """The log with its WAL, the snapshot, every published dump file, and `state/` as a whole."""
    sizes: dict[str, _Size] = {}
    for path in (data.log, data.snapshot):
        if path.exists():
            sizes[path.name] = _Size().add(path)
    wal = data.log.with_name(f"{data.log.name}-wal")
    if wal.exists():
        sizes[wal.name] = _Size().add(wal)
    for path in sorted(data.dumps.glob("[!.]*")):
        if path.is_file():
            sizes[f"dumps/{path.name}"] = _Size().add(path)
    own = _Size()
    for path in data.state.rglob("*"):
        own.add(path)
    sizes["state/"] = own
    return [FileReport(name, size.bytes, rfc3339(size.seconds)) for name, size in sizes.items()]
