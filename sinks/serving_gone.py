"""Files that are gone, with what was last known of them: what a removal leaves to be asked about.

They are what `releases` had and has no more, as this view saw it; so a view that was built anew
knows less. A file that is there again is not gone.
"""

from __future__ import annotations

import sqlite3

import msgspec

from schemas.codec import encode
from schemas.compression import decompress
from schemas.releases import SlimFile
from sinks.serving_rows import slim_of

FILES_MAX = 20_000  # of one project: 8 MB; the newest releases' are kept


class GoneFiles:
    """The table `gone_file`, within the caller's transaction. Raises sqlite3.Error, DumpCorrupt."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._run = connection.execute
        self._many = connection.executemany

    def replace(self, number: int, value: bytes | None) -> None:
        """`releases` of project `number` is about to become `value`, None = nothing."""
        row = self._run("SELECT packed, body FROM releases WHERE id = ?", (number,)).fetchone()
        gone = self._run("SELECT filename FROM gone_file WHERE id = ?", (number,)).fetchall()
        if row is None and not gone:
            return
        held = _files(decompress(row[1]) if row[0] else row[1]) if row is not None else {}
        left = _files(value) if value is not None else {}
        self._many(
            "DELETE FROM gone_file WHERE id = ? AND filename = ?",
            [(number, name) for (name,) in gone if name in left],
        )
        lost = [name for name in held if name not in left][-FILES_MAX:]
        self._many(
            "INSERT OR REPLACE INTO gone_file VALUES (?, ?, ?, ?)",
            [(number, name, held[name][0], encode(held[name][1])) for name in lost],
        )


def _files(value: bytes) -> dict[str, tuple[str, SlimFile]]:
    """Version and file by file name, the newest release's last; nothing if it is no such value."""
    try:
        slim = slim_of(value)
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return {
        file.filename: (version, file) for version, files in slim.releases.items() for file in files
    }
