"""Keeps removed files, with what was last known of them.

`--keep-removed` sets how much is kept of each. These are the files that `releases` had and no
longer has, as far as this view saw it; so a rebuilt view knows less. A file that is back is not
removed.
"""

from __future__ import annotations

import sqlite3

import msgspec

from schemas.codec import NO_JSON, encode
from schemas.compression import decompress
from schemas.releases import SlimFile
from sinks.removed import HASHES, NONE
from sinks.serving.rows import slim_of

_file = msgspec.json.Decoder(SlimFile)

FILES_MAX = 20_000  # of one project: 8 MB; the newest releases' are kept


class GoneFiles:
    """The table `gone_file`, within the caller's transaction. Raises sqlite3.Error, DumpCorrupt.

    `keep`: one of KEEP_REMOVED.
    """

    def __init__(self, connection: sqlite3.Connection, keep: str) -> None:
        self._keep = keep
        self._run = connection.execute
        self._many = connection.executemany

    def replace(self, number: int, value: bytes | None) -> None:
        """Call it before `releases` of project `number` becomes `value`, None = no releases."""
        if self._keep == NONE:
            return
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
            [(number, name, held[name][0], self._kept(held[name][1])) for name in lost],
        )

    def cut_down(self) -> None:
        """Delete what was kept under a setting that kept more."""
        if self._keep == NONE:
            self._run("DELETE FROM gone_file")
        elif self._keep == HASHES:
            rows = self._run("SELECT id, filename, body FROM gone_file")
            less = [(self._kept(_file.decode(body)), number, name) for number, name, body in rows]
            self._many("UPDATE gone_file SET body = ? WHERE id = ? AND filename = ?", less)

    def _kept(self, file: SlimFile) -> bytes:
        if self._keep == HASHES:
            file = SlimFile(filename=file.filename, digests=file.digests, url=file.url)
        return encode(file)


def _files(value: bytes) -> dict[str, tuple[str, SlimFile]]:
    """Version and file by file name, the newest release's last; empty for a malformed value."""
    try:
        slim = slim_of(value)
    except NO_JSON:
        return {}
    return {
        file.filename: (version, file) for version, files in slim.releases.items() for file in files
    }
