"""The dump's tables: the DuckDB file and a Parquet file per table, all at one cut.

    DIR/state/tables/index.json   what counts: replaced atomically
    DIR/state/tables/<n>/         one set: `*.parquet`, and `pypi.duckdb`, a link to the published

They are made from the DuckDB file that is published at that time (by any process), so their cut may
lie before the dump's. That takes as much CPU as some thousand projects of a backfill, so it is done
in a process of its own, at its own interval, and never during a backfill; `ask` has the next call
make them at any time. If a set cannot be made that is logged and the set left out: no dump waits
for it.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from contextlib import suppress
from os import SEEK_END
from pathlib import Path
from tempfile import TemporaryFile
from threading import Timer
from typing import NamedTuple

import msgspec
import structlog

from schemas.codec import NO_JSON, rfc3339
from schemas.manifest import DumpFile, Tables, hashed_name, places
from sinks.duckdb.schema import VIEW_FORMAT
from sinks.dump.delta_file import Mark
from sinks.dump.forgetting import must_go
from sinks.durable import storage, sync_directory, write_synced
from sinks.exported import DUCKDB_FILE, Stood, TableFile, Told
from sinks.publication import link
from sinks.sink import Vector
from streams.progress import watermark

EVERY_SECONDS = 3_600.0
FIRST_SECONDS = 300.0  # after the start: a short run, or one with much to do first, is not slowed
EXPORT_SECONDS_MAX = 3_600.0  # 886 000 projects take minutes; what takes longer hangs
WORDS_BYTES_MAX = 4_096  # of a failed export's stderr
INDEX_FILE = "index.json"
MODULE = "sinks.duckdb.tables"

log_ = structlog.get_logger("sinks.dump.sink")


class TableSet(msgspec.Struct, frozen=True):
    """A finished set.

    `snapshot`: the file it was made from, by mtime and inode; `format`: of that.
    """

    folder: str
    created_ms: int
    snapshot: tuple[int, int]
    stood: Stood
    files: dict[str, TableFile]
    format: int = 0

    def manifest(self) -> Tables:
        """The set's entry in a dump's manifest."""
        claim = watermark(self.stood.cuts)
        return Tables(
            created=rfc3339(self.created_ms / 1000),
            vector=self.stood.cuts,
            watermark=claim.serial,
            base=claim.base,
            reached=claim.reached,
            files=tuple(sorted(self.files)),
            history_since=self.stood.history_since,
        )

    def dump_files(self) -> dict[str, DumpFile]:
        """The set's files in a dump's manifest."""
        return {
            name: DumpFile(
                *(file.bytes, file.sha256, file.rows, file.bytes), hashed_name(name, file.sha256)
            )
            for name, file in self.files.items()
        }


_index = msgspec.json.Decoder(TableSet)
_told = msgspec.json.Decoder(Told)


class Period(NamedTuple):
    """When a new set is due. `started_ms`: since when one could have been made."""

    every_ms: float
    started_ms: int

    def due(self, held: TableSet | None, vector: Vector, now_ms: int) -> bool:
        """Whether a set is due for a dump at `vector`. Pure."""
        claim = watermark(vector.cuts)
        if claim.serial is None and claim.backfill_done is not None:
            return False
        first_ms = min(self.every_ms, FIRST_SECONDS * 1000)
        if now_ms - self.started_ms < first_ms:
            return False
        if held is None or (held.manifest().watermark is None and claim.serial is not None):
            return True
        return now_ms - held.created_ms >= self.every_ms


class TableSets:
    """See the module's text. `every_seconds` 0 = there are none. Raises DiskFull, StorageFailed."""

    def __init__(self, snapshot: Path, root: Path, every_seconds: float = EVERY_SECONDS) -> None:
        self._snapshot = snapshot
        self._root = root
        self._every_ms = every_seconds * 1000
        self._period: Period | None = None
        self._failed_ms = -math.inf  # a failed one waits until the next is due
        self._asked = False

    def ask(self) -> None:
        """Have the next `newest` make a set if there is anything new."""
        self._asked = True

    def newest(self, vector: Vector, now_ms: int, mark: Mark | None = None) -> TableSet | None:
        """The set for a dump at `vector` of the same log, made now if it is due.

        A set behind `mark` does not count: see `sinks.dump.forgetting`.
        """
        asked, self._asked = self._asked, False
        self._period = self._period or Period(self._every_ms, now_ms)
        held = self._held(vector.log_id, mark)
        stamp = self._stamp()
        if not self._every_ms or stamp is None:
            return held if self._every_ms else None
        if held is not None and (held.snapshot == stamp or held.stood.cuts == vector.cuts):
            return held
        rests = now_ms < self._failed_ms + self._every_ms
        if not asked and (rests or not self._period.due(held, vector, now_ms)):
            return held
        with storage(self._root):
            made = self._made(stamp, now_ms)
            if made is not None:
                self._replace(made)
            self._failed_ms = now_ms if made is None else -math.inf
        return self._held(vector.log_id, mark)

    def path(self, found: TableSet, name: str) -> Path:
        """The path of a file of a set."""
        return self._root / found.folder / name

    def _stamp(self) -> tuple[int, int] | None:
        try:
            known = self._snapshot.stat()
        except OSError:
            return None
        return known.st_mtime_ns, known.st_ino

    def _held(self, log_id: str, mark: Mark | None) -> TableSet | None:
        try:
            held = _index.decode((self._root / INDEX_FILE).read_bytes())
        except (OSError, *NO_JSON):
            return None
        there = all(self.path(held, name).is_file() for name in held.files)
        stood = held.stood
        if not there or stood.log_id != log_id or held.format != VIEW_FORMAT:
            return None
        return None if must_go(mark, stood.log_id, places(stood.cuts)) else held

    def _made(self, stamp: tuple[int, int], now_ms: int) -> TableSet | None:
        numbers = [int(p.name) for p in self._root.glob("[0-9]*") if p.name.isdigit()]
        folder = self._root / f"{max(numbers, default=0) + 1:09}"
        folder.mkdir(parents=True)
        copy = folder / DUCKDB_FILE
        link(self._snapshot, copy)
        told = _exported(copy, folder)
        if told.stood is None:
            log_.warning("no tables for the dump", why=told.error)
            shutil.rmtree(folder, ignore_errors=True)
            return None
        return TableSet(folder.name, now_ms, stamp, told.stood, told.files, VIEW_FORMAT)

    def _replace(self, made: TableSet) -> None:
        aside = self._root / f"{INDEX_FILE}.new"
        write_synced(aside, msgspec.json.encode(made))
        aside.replace(self._root / INDEX_FILE)
        sync_directory(self._root)
        with suppress(OSError):  # the next one tries again
            for path in self._root.iterdir():
                if path.is_dir() and path.name != made.folder:
                    shutil.rmtree(path, ignore_errors=True)


def _exported(snapshot: Path, folder: Path) -> Told:
    """The message of the export process, which ends with us because we hold its stdin."""
    command = (sys.executable, "-m", MODULE, str(snapshot), str(folder))
    # A file for its stderr: an unread pipe would fill up and block it.
    with TemporaryFile() as words:
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words
        ) as process:
            assert process.stdout is not None
            ending = Timer(EXPORT_SECONDS_MAX, process.kill)
            ending.start()
            try:
                said = process.stdout.read()
            finally:
                ending.cancel()
        words.seek(max(0, words.seek(0, SEEK_END) - WORDS_BYTES_MAX))
        why = words.read()
    try:
        return _told.decode(said)
    except NO_JSON:
        last = why.decode(errors="replace").strip().rpartition("\n")[2]
        return Told(error=f"the export ended with {process.returncode}: {last}")
