"""Looks at SQLite and at a log file, for `pypistream doctor`; nothing here writes to a log."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

from schemas.errors import LogCorrupt
from streams.log import LogUnavailable
from streams.sqlite_errors import MEND, storage_errors
from streams.sqlite_schema import READER_CACHE_KIB, connect

INSTRUCTIONS_BETWEEN_LOOKS = 100_000  # of SQLite's machine, about 10 ms: how exact the limit is


def sqlite_version() -> str:
    """Of the library that Python is linked with."""
    return sqlite3.sqlite_version


def check_wal(folder: Path) -> None:
    """Write and read back a small file in WAL mode, as the log does, in `folder`.

    Raises LogUnavailable if this file system cannot do it, else as `storage_errors`.
    """
    path = folder / "check.sqlite"
    with storage_errors(path):
        connection = connect(path, cache_kib=READER_CACHE_KIB, create=True)
        try:
            [(mode,)] = connection.execute("PRAGMA journal_mode = WAL").fetchall()
            connection.execute("CREATE TABLE t (x INTEGER PRIMARY KEY)")
            connection.execute("INSERT INTO t VALUES (1)")
            rows = connection.execute("SELECT x FROM t").fetchall()
        finally:
            connection.close()
    if mode != "wal" or rows != [(1,)]:
        raise LogUnavailable(
            f"{folder}: SQLite's WAL mode does not work here (journal mode {mode!r})",
            hint="put the data directory on a local disk: network file systems lack what it needs",
        )


def check_structure(path: Path, seconds_max: float | None) -> bool:
    """Run SQLite's own check of pages and indexes; False if it did not finish in time.

    Raises LogCorrupt with SQLite's first complaint, else as `storage_errors`.
    """
    deadline = None if seconds_max is None else time.monotonic() + seconds_max
    with storage_errors(path):
        connection = connect(path, cache_kib=READER_CACHE_KIB)
        try:
            if deadline is not None:
                connection.set_progress_handler(
                    lambda: int(time.monotonic() > deadline), INSTRUCTIONS_BETWEEN_LOOKS
                )
            [(answer,)] = connection.execute("PRAGMA quick_check(1)").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                return False
            raise
        finally:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
    if answer != "ok":
        raise LogCorrupt(f"{path}: {answer}", hint=MEND)
    return True
