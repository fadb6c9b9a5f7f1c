"""What DuckDB's errors mean to us."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

from schemas.errors import (
    DataDirectoryInUse,
    DiskFull,
    PypistreamError,
    StorageFailed,
    ViewCorrupt,
)

MESSAGE_CHARACTERS_MAX = 200  # DuckDB quotes whole values and statements

_NO_SPACE = ("No space left on device", "Disk quota exceeded", "File too large")
_REFUSED = ("Permission denied", "Read-only file system", "Input/output error", "Is a directory")
_LOCKED = "Could not set lock on file"
_HOLDER = re.compile(r" \(PID [0-9]+\)")
_NO_MEMORY = "Out of Memory Error"  # also inside the message of a failed commit
_INVALIDATED = "database has been invalidated"

FATAL = (duckdb.FatalException, duckdb.InternalException)
"""After one of these the instance must be opened again; what was committed is there."""


def first_line(error: BaseException) -> str:
    """An error in one line, without control characters."""
    line = str(error).strip().partition("\n")[0]
    return "".join(c if c.isprintable() else " " for c in line)[:MESSAGE_CHARACTERS_MAX]


def invalidates(error: duckdb.Error) -> bool:
    """Whether the connection cannot be used any more."""
    return isinstance(error, FATAL) or _INVALIDATED in str(error)


def exhausts(error: duckdb.Error) -> bool:
    """Whether memory ran out: after the file is reopened there may be enough."""
    return isinstance(error, duckdb.OutOfMemoryException) or _NO_MEMORY in str(error)


def meaning(error: duckdb.Error, path: Path) -> PypistreamError:
    """Our error for one that DuckDB raised about the file at `path`."""
    text = str(error)
    if any(sign in text for sign in _NO_SPACE):
        return DiskFull(f"no space left for {path}", hint=f"make room on the disk of {path}")
    if _LOCKED in text:
        holder = _HOLDER.search(text)
        return DataDirectoryInUse(
            f"another process{holder[0] if holder else ''} has {path} open",
            hint="stop it, or give this one another --data",
        )
    if any(sign in text for sign in _REFUSED):
        return StorageFailed(f"{path} cannot be written or read: {first_line(error)}")
    if exhausts(error):
        return StorageFailed(f"{path} needs more memory than its limit: {first_line(error)}")
    return ViewCorrupt(
        f"{path} cannot be used: {first_line(error)}", hint="pypistream rebuild duckdb"
    )
