"""The DuckDB sink: the log's latest records as tables, and the position they stand at, in one file.

The live file belongs to this process alone. A batch is one transaction: a small one waits as it is
(`sinks.duckdb.intake`); the rows of others come through temporary tables, as texts that `from_json`
reads, and what they replace is deleted first. Positions are stored in the same transaction, and
records below them are skipped, so applying twice is applying once.

A publication is a copy of the file at a checkpoint. Until it is made there is no other checkpoint,
while batches go on being committed: see `sinks.duckdb.copying`. A file that has grown too long is
rewritten meanwhile: see `sinks.duckdb.compaction`.
"""

# ruff: noqa: S608  # what is put into SQL are names from this package, never values

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

import duckdb
import structlog

from schemas.errors import DiskFull, LogCorrupt, PypistreamError, ViewCorrupt
from schemas.records import Config
from schemas.topics import COMPACTED, Topic
from sinks import notes
from sinks.duckdb import lines, memo, progress
from sinks.duckdb.batches import ROW_REFUSED
from sinks.duckdb.compaction import Compaction
from sinks.duckdb.copying import FileCopy, LiveFile
from sinks.duckdb.errors import exhausts, first_line, invalidates, meaning
from sinks.duckdb.intake import Intake
from sinks.duckdb.layout import layout_statements
from sinks.duckdb.literals import literal
from sinks.duckdb.removed import carry_over, cut_down
from sinks.duckdb.rows import staged
from sinks.duckdb.schema import (
    PROGRESS,
    SCHEMA,
    VIEW_FORMAT,
    insert_progress,
    stage_statements,
)
from sinks.duckdb.snapshot import (
    FILLING,
    FOLLOWING,
    SNAPSHOT_FILE,
    UTC,
    wal_bytes,
    wal_of,
    writer_config,
)
from sinks.duckdb.staged import Staged, unpacked
from sinks.durable import storage
from sinks.locks import locked_with
from sinks.removed import ALL, HASHES
from sinks.sink import (
    Batch,
    Published,
    Reached,
    RecordsWanted,
    Rewound,
    Standing,
    Vector,
    positions_of,
)
from streams.log import Record, TopicPartition

LIVE_FILE, LOCK_FILE = "live.duckdb", "duckdb.lock"
SPILL_DIRECTORY = "duckdb-spill"
MEMORY_MB = 512  # of its own buffers: 192 MB were too few for the largest projects
MEMORY_SHARE = 16  # of a file it opens so much more: its indexes stay; 3 GB did not do with 512 MB
CHECKPOINT_AFTER = "64MB"  # of WAL: a checkpoint each 5 000 projects of a backfill, not each 1 000
NO_CHECKPOINT = "1TB"  # the same while the file is copied
# Of WAL while the file is copied; then the next batch waits for the copy. A commit to the tables
# adds 1 to 10 MB, however little it holds. To begin with so much after a kill takes 4 s.
WAL_BYTES_MAX = 512 * 1024 * 1024

T = TypeVar("T")
log_ = structlog.get_logger("sinks.duckdb")


class DuckDBView:
    """See `sinks.sink.Sink`. `state`: the directory of its files, `target`: what it publishes.

    `keep_removed`: one of KEEP_REMOVED.
    """

    name = "duckdb"
    topics = (*COMPACTED, Topic.CHANGELOG)

    def __init__(self, state: Path, target: Path, keep_removed: str = HASHES) -> None:
        self._live = state / LIVE_FILE
        self._spill = state / SPILL_DIRECTORY
        self._target = target
        self._keep = keep_removed
        self._lock: BinaryIO | None = None
        self._damaged = False
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._intake: Intake | None = None  # of the open file
        self._file: LiveFile | None = None
        self._copy: FileCopy | None = None
        self._standing = Standing("", {})
        self._at: Reached | None = None  # the cut that it stands at, if it does
        self._carried = False  # whether what the published file keeps was taken from it
        self._compaction = Compaction(self._live)
        self._storage = FOLLOWING

    @classmethod
    def in_directory(cls, data: Path, keep_removed: str = HASHES) -> DuckDBView:
        """The sink of a data directory."""
        return cls(data / "state", data / SNAPSHOT_FILE, keep_removed)

    def standing(self) -> Standing:
        """Where it stands."""
        self._run(lambda _: None)
        return self._standing

    def prepared(self, records: Sequence[Record], config: Config) -> Staged:
        """The rows that records make: nearly all of the work that is not DuckDB's."""
        return staged(records, config)

    def unpacked(self, data: bytes) -> Staged:
        """The same, packed in another process."""
        return unpacked(data)

    def apply(self, batch: Batch) -> None:
        """Take a batch in; what cannot be read becomes a row of `anomalies`."""
        try:
            self._go_on_with_new_file()
            elsewhere = batch.ready is not None and not batch.records
            self._open_next_for(FILLING if elsewhere else FOLLOWING)
            self._run(lambda connection: self._apply(connection, batch))
        finally:
            if isinstance(batch.ready, Staged):
                lines.remove(batch.ready.lines)

    def reached(self, at: Reached) -> None:
        """Note the cut; it is stored with the publication, which is all that needs it."""
        assert at.vector.log_id == self.standing().log_id
        self._assert_at(at)
        self._standing, self._at = self._standing._replace(as_of_ms=at.as_of_ms), at

    def publish(self, now_ms: int) -> Published:
        """Write the snapshot of the cut reached last, while nothing else is done."""
        try:
            published = self.hold(now_ms).copied()
        finally:
            self.release()
        assert published is not None, "nobody else writes to the live file"
        return published

    def hold(self, now_ms: int) -> FileCopy:
        """Checkpoint the cut reached last, and do so no more until its copy is made."""
        assert self._copy is None
        assert self._at is not None, "published between two cuts"
        at = self._at
        self._run(lambda connection: self._prepare_to_publish(connection, at, now_ms))
        self._compaction.hold()
        self._copy = self._run(lambda connection: self._held(connection, at))
        return self._copy

    def release(self) -> None:
        """Note what was published."""
        if self._copy is not None:
            self._run(self._let_go)

    def published(self) -> Vector | None:
        """The vector of the snapshot, as far as it is still there."""
        if not self._target.is_file():
            return None
        note = self._run(lambda connection: memo.recall(connection, memo.PUBLISHED))
        return None if note is None else notes.vector_of(note)

    def reset(self) -> None:
        """Begin with an empty live file; a damaged one is kept beside it (one, as evidence)."""
        self._close_file()
        self._copy = self._at = None
        self._own()
        self._compaction.clear()
        files = (self._live, wal_of(self._live))
        with storage(self._live):
            for path in files:
                if self._damaged and path.exists():
                    path.replace(path.with_name(f"{path.name}.damaged"))
                path.unlink(missing_ok=True)
        self._damaged = False
        self._run(lambda _: None)

    def close(self) -> None:
        """Close the live file, with nothing waiting in it, and release it to others."""
        if self._intake is not None:
            with contextlib.suppress(duckdb.Error):  # it is brought in some other time
                self._intake.bring_in()
        self._close_file()
        self._copy = self._at = None
        if self._lock is not None:
            self._compaction.end()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    def _close_file(self) -> None:
        """Close the live file, which checkpoints it; a copy that is being made is given up."""
        if self._copy is not None:
            self._copy.stop()
        connection, self._connection, self._intake = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(duckdb.Error):  # what was committed is in the WAL
                connection.close()
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _run(self, action: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Do something with the open file; an instance that became useless is opened anew once."""
        connection = self._connection or self._open()
        try:
            return action(connection)
        except duckdb.Error as error:
            with contextlib.suppress(duckdb.Error):  # an error may have ended the transaction
                connection.rollback()
            if not (exhausts(error) or invalidates(error)):
                raise self._meaning(error) from error
            self._close_file()
            # All of PyPI's file takes in 240 000 changes, then memory is short until it is closed.
            if not (exhausts(error) or isinstance(meaning(error, self._live), ViewCorrupt)):
                raise self._meaning(error) from error
            log_.warning("DuckDB gave up, the view is opened again", error=first_line(error))
            return self._second_try(action)

    def _second_try(self, action: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        try:
            return action(self._open())
        except duckdb.Error as error:
            self._close_file()
            raise self._meaning(error) from error

    def _meaning(self, error: duckdb.Error) -> PypistreamError:
        ours = meaning(error, self._live)
        self._damaged = self._damaged or isinstance(ours, ViewCorrupt)
        return ours

    def _own(self) -> None:
        """Keep every other process off these files."""
        if self._lock is None:
            self._lock = locked_with(self._live.with_name(LOCK_FILE), self._spill)
            self._compaction.clear()  # what a killed process left

    def _open(self) -> duckdb.DuckDBPyConnection:
        self._own()
        size = self._live.stat().st_size if self._live.exists() else 0
        megabytes = MEMORY_MB + size // MEMORY_SHARE // 1_000_000
        try:
            config = writer_config(megabytes, self._spill)
            config["checkpoint_threshold"] = CHECKPOINT_AFTER
            connection = duckdb.connect(config=config)
            self._connection = connection
            connection.execute(f"ATTACH {literal(self._live)} AS live ({self._storage})")
            connection.execute("USE live")
            connection.execute(UTC)
            self._prepare(connection)
        except ViewCorrupt:
            self._close_file()
            raise
        except LogCorrupt as error:
            self._close_file()
            self._damaged = True
            raise ViewCorrupt(f"{self._live}: {error}") from error
        except duckdb.Error as error:
            self._close_file()
            raise self._meaning(error) from error
        return connection

    def _prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the tables of a new file; learn where an old one stands."""
        known = "SELECT count(*) FROM duckdb_schemas() WHERE schema_name = ?"
        if not connection.execute(known, [SCHEMA]).fetchall()[0][0]:
            connection.begin()
            for statement in layout_statements():
                connection.execute(statement)
            memo.remember(connection, {memo.FORMAT: str(VIEW_FORMAT)})
            connection.commit()
        noted = memo.recall_all(connection)
        written = noted.get(memo.FORMAT)
        if written != str(VIEW_FORMAT):
            raise ViewCorrupt(f"{self._live} has format {written}, this version {VIEW_FORMAT}")
        for statement in stage_statements():
            connection.execute(statement)
        if noted.get(memo.KEPT) != self._keep:
            connection.begin()
            cut_down(connection, self._keep)
            memo.remember(connection, {memo.KEPT: self._keep})
            connection.commit()
        self._carried = noted.get(memo.CARRIED) is not None
        self._intake = Intake(connection, self._keep)
        self._standing = notes.standing_of(self._intake.standing)

    def _held(self, connection: duckdb.DuckDBPyConnection, at: Reached) -> FileCopy:
        """The file alone is the database, and stays as it is. Raises DiskFull."""
        if wal_bytes(self._live):  # a checkpoint needs room beside what it replaces
            raise DiskFull(f"no room to checkpoint {self._live}", hint="free twice its size first")
        with storage(self._live):
            self._file = self._file or LiveFile(self._live)
            copy = FileCopy(self._file, self._target, notes.vector_text(at.vector))
        connection.execute("SET checkpoint_threshold = ?", [NO_CHECKPOINT])
        return copy

    def _let_go(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Nobody copies the file any more."""
        copy = self._copy
        if copy is None:
            return
        copy.done.wait()
        self._copy = None
        connection.execute("SET checkpoint_threshold = ?", [CHECKPOINT_AFTER])
        if copy.published:
            memo.remember(connection, {memo.PUBLISHED: copy.cut})
            self._compaction.consider(connection, self._target)

    def _apply(self, connection: duckdb.DuckDBPyConnection, batch: Batch) -> None:
        if self._copy is not None and wal_bytes(self._live) > WAL_BYTES_MAX:
            self._let_go(connection)
        stored = self._standing.positions
        records = [
            record
            for record in batch.records
            if record.offset >= stored.get(TopicPartition(record.topic, record.partition), 0)
        ]
        places = {**stored, **batch.positions}
        standing = Standing(batch.config.log_id, places, batch.as_of_ms, batch.rules)
        rows = batch.ready if len(records) == len(batch.records) else None
        if not isinstance(rows, Staged):
            rows = staged(records, batch.config)
        if rows.lines and all(stored.get(at, -1) >= each for at, each in batch.positions.items()):
            return  # it had been committed when the file was opened again
        assert self._intake is not None
        self._at = None
        try:
            self._intake.take(rows, notes.standing_text(standing))
        except ROW_REFUSED as error:
            if not rows.lines:
                raise
            connection.rollback()
            raise RecordsWanted from error
        self._compaction.removals += any(rows.lost.values())
        self._standing = standing

    def _prepare_to_publish(
        self, connection: duckdb.DuckDBPyConnection, at: Reached, now_ms: int
    ) -> None:
        """Everything into the file itself, nothing left in its WAL."""
        self._assert_at(at)  # a reopened file, too
        standing = self._standing._replace(as_of_ms=at.as_of_ms)
        assert self._intake is not None
        self._intake.bring_in()
        connection.begin()
        connection.execute(f"DELETE FROM {PROGRESS.path}")
        connection.execute(insert_progress(), progress.parameters(progress.progress_row(at)))
        texts = {
            memo.CUT: notes.vector_text(at.vector),
            memo.STANDING: notes.standing_text(standing),
            memo.PUBLISHED_MS: str(now_ms),
        }
        if not self._carried:  # the first publication of a new file
            # The published file may hold what a rule leaves out: then take no more than hashes.
            keep = HASHES if self._keep == ALL and self._standing.rules else self._keep
            carry_over(connection, self._target, at.vector.log_id, keep)
            texts[memo.CARRIED] = at.vector.log_id
        memo.remember(connection, texts)
        connection.commit()
        if not self._carried:
            self._intake.measure()
        self._carried = True
        connection.execute("CHECKPOINT")

    def _assert_at(self, at: Reached) -> None:
        due = positions_of(at.vector, self.topics)
        assert all(self._standing.positions.get(key, 0) == place for key, place in due.items())

    def _open_next_for(self, storage: str) -> None:
        """Have row groups of that size added, if nobody copies the file."""
        if storage != self._storage and self._copy is None:
            self._close_file()
            self._storage = storage

    def _go_on_with_new_file(self) -> None:
        """If there is one, and nobody copies the old one. Raises Rewound."""
        if not self._compaction.ready() or self._copy is not None:
            return
        if self._connection is not None:
            with contextlib.suppress(duckdb.Error):  # it would be for nothing
                self._connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        self._close_file()
        self._at = None
        self._compaction.put_in_place()
        raise Rewound
