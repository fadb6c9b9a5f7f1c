"""Opens a connection to any of our SQLite files."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

BUSY_SECONDS = 5.0  # how long to wait for another process's transaction; ours take well below 1 s


def open_connection(
    path: Path, pragmas: Iterable[str], *, statements_cached: int, create: bool
) -> sqlite3.Connection:
    """A connection without implicit transactions; threads may pass it on but not share it.

    Raises sqlite3.Error.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=statements_cached,
    )
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()
    except BaseException:
        connection.close()
        raise
    return connection
