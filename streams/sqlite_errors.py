"""Translates SQLite's errors into ours (result codes: sqlite.org/rescode.html)."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from schemas.errors import LogBroken, LogCorrupt, LogFull, PypistreamError, UsageError
from streams.log import LogUnavailable

MEND = "bring back a backup, or move the file away and fetch all anew: pypistream run --backfill"

_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
}
_CORRUPT = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_ERROR,  # a table is missing: our statements themselves are right
    sqlite3.SQLITE_CONSTRAINT,  # an offset that is there already
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_TOOBIG,
}
_REFUSED = {
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_AUTH,
}
_PRIMARY = 0xFF  # extended result codes carry the primary one in their low byte


def translated(error: sqlite3.Error, path: Path) -> PypistreamError:
    """The error of ours that says what to do."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # raised by Python's binding
        if isinstance(error, sqlite3.ProgrammingError):
            return LogUnavailable(f"{path}: {error}")
        return LogCorrupt(f"{path}: a stored text cannot be read: {error}", hint=MEND)
    primary = code & _PRIMARY
    if primary == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return LogFull(
            f"{path}: no space left; nothing of the transaction was written",
            hint="make room on that disk, then start again; the log itself is whole",
        )
    if primary in _UNAVAILABLE:
        return LogUnavailable(
            f"{path}: {error}", hint="another process holds it; it is tried again"
        )
    if primary in _CORRUPT:
        return LogCorrupt(f"{path}: {error}", hint=MEND)
    if primary in _REFUSED:
        return refused(path, str(error))
    return LogBroken(
        f"{path}: {error} ({error.sqlite_errorname})",
        hint="check the disk, then start again; what was acknowledged before is safe",
    )


def refused(path: Path, said: str) -> UsageError:
    """Why the file is refused, and what to do; `said` is SQLite's own message.

    Only the folder is opened to find out: closing the file would release its locks. Never raises.
    """
    folder = path.parent
    with contextlib.suppress(OSError):
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return UsageError(
                f"{path} cannot be used: its disk is mounted read-only, and who reads a log writes "
                "beside it how far",
                hint=f"mount it writable (if nobody mounted it so, `dmesg` says why), or copy "
                f"{folder} to another disk and give that as --data",
            )
        barred = next((each for each in (folder, path) if not _open_to_us(each)), None)
        if barred is not None:
            return UsageError(
                f"{path} cannot be used: this user ({os.geteuid()}) may not write {barred}",
                hint=f"run it as user {barred.stat().st_uid}, whose it is, "
                f"or change owner or permissions of {folder}",
            )
    try:
        os.close(os.open(folder, os.O_RDONLY))
    except OSError as error:
        said = error.strerror or said
    return UsageError(
        f"{path} cannot be used: {said}", hint=f"check owner, permissions and disk of {folder}"
    )


def _open_to_us(path: Path) -> bool:
    needed = os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
    return not path.exists() or os.access(path, needed)


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Translate SQLite's errors in the block."""
    try:
        yield
    except sqlite3.Error as error:
        raise translated(error, path) from error
    except UnicodeDecodeError as error:  # a message of SQLite's that quotes a damaged text
        raise LogCorrupt(f"{path}: its tables are damaged", hint=MEND) from error
