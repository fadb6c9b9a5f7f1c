"""Tells the dump sink that nothing published before a place may stay.

After a redaction older dumps and deltas still have the removed data. The command that rewrote the
names leaves a mark here and has a dump published; what lies behind the mark is then deleted.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from schemas.codec import NO_JSON
from schemas.errors import StorageFailed
from schemas.records import Places
from sinks.dump.delta_file import Mark
from sinks.dump.delta_reader import behind
from sinks.durable import storage, sync_directory, write_synced

WORD_FILE = ".forget.json"

_mark = msgspec.json.Decoder(Mark)


def forget_behind(dumps: Path, log: str, at: Places) -> None:
    """Durably mark for deletion every dump and delta that does not reach `at` of this log.

    They are deleted with the next publication into `dumps`: publish the DuckDB file first, since
    its tables are in the dump, then the dump. Raises DiskFull, StorageFailed.
    """
    aside = dumps / f"{WORD_FILE}.new"
    with storage(dumps):
        dumps.mkdir(parents=True, exist_ok=True)
        write_synced(aside, msgspec.json.encode(Mark(log, at)))
        aside.replace(dumps / WORD_FILE)
        sync_directory(dumps)


def word_of(dumps: Path) -> Mark | None:
    """The mark that was left; None if there is none. Raises StorageFailed."""
    path = dumps / WORD_FILE
    try:
        with storage(path):
            return _mark.decode(path.read_bytes()) if path.exists() else None
    except NO_JSON as error:
        hint = "repeat `pypistream redact`, which writes it anew"
        raise StorageFailed(f"{path} cannot be read: {error}", hint=hint) from error


def must_go(mark: Mark | None, log: str, at: Places) -> bool:
    """Whether something that stands at `at` of `log` has to be deleted. Pure."""
    return mark is not None and (log != mark.log or behind(at, mark.places))
