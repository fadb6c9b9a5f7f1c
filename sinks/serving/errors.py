"""What SQLite's errors about the serving view mean (result codes: sqlite.org/rescode.html)."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from schemas.errors import DiskFull, PypistreamError, StorageFailed, ViewCorrupt

_PRIMARY = 0xFF  # extended result codes carry the primary one in their low byte
_CORRUPT = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_ERROR,  # a table of ours is missing: our statements themselves are right
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
}


def meaning(error: sqlite3.Error, path: Path) -> PypistreamError:
    """The leaf that says what to do."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # raised by Python's binding: a text that is no UTF-8, mostly
        return ViewCorrupt(f"{path}: what is stored cannot be read: {error}")
    primary = code & _PRIMARY
    if primary == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return DiskFull(f"no space left for {path}", hint=f"make room on the disk of {path}")
    if primary in _CORRUPT:
        return ViewCorrupt(f"{path}: {error}")
    return StorageFailed(f"{path} cannot be written or read: {error} ({error.sqlite_errorname})")


@contextlib.contextmanager
def view_errors(path: Path) -> Iterator[None]:
    """Let nothing of SQLite's own errors out."""
    try:
        yield
    except sqlite3.Error as error:
        raise meaning(error, path) from error
    except UnicodeDecodeError as error:  # a message of SQLite's that quotes a damaged text
        raise ViewCorrupt(f"{path}: its tables are damaged") from error
