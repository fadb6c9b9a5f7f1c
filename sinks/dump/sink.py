"""The dump sink: the compacted topics as files to download, complete and consistent at one cut.

    DIR/dumps/          what readers see (see `publication`), described in docs/dumps.md
    DIR/state/frames/   what the sink stands at (see `frame_store`)
    DIR/state/tables/   the DuckDB file and Parquet files that it adds (see `table_set`)

Between publications changes wait in memory and in runs, so positions on disk move only when a run
is written: after a crash the feed reads a little again, which has no effect.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from operator import attrgetter
from pathlib import Path

import msgspec

from schemas.codec import NO_JSON, rfc3339
from schemas.coverage import coverage
from schemas.errors import DataDirectoryVersion, DumpCorrupt, PypistreamError
from schemas.manifest import (
    DELTAS,
    FULL,
    MANIFEST_FILE,
    Backfill,
    DeltaManifest,
    DumpFile,
    ExceptionName,
    Exceptions,
    Manifest,
    hashed_name,
    places,
)
from schemas.records import Places
from schemas.topics import COMPACTED, Offset, Topic
from sinks.dump.delta_file import Mark, Step
from sinks.dump.delta_folder import DeltaFolder
from sinks.dump.forgetting import forget_behind, must_go, word_of
from sinks.dump.frame_file import FrameFile, Output, Table
from sinks.dump.frame_store import BUFFER_BYTES_MAX, FrameStore
from sinks.dump.full_folder import FullFolder
from sinks.dump.keep import Keep
from sinks.dump.lines import LATEST_HEAD, change_of, exception_of, held, package_of
from sinks.dump.reader import DumpReader
from sinks.dump.table_set import TableSets
from sinks.durable import storage
from sinks.publication import Publication
from sinks.sink import Batch, Positions, Published, Reached, Standing, Vector
from streams.log import TopicPartition
from streams.progress import redacted_under, watermark

DROP_IN_LEVEL = 5  # as the peer's, so that its readers get files of the same size
LINES_LEVEL = 4  # a third of level 5's time for 7 % more bytes
# A change costs the time of its section, on average ~0.5 MB. Small sections compress badly: for
# documents, 64 names cost 3 % more bytes than 128, and 256 save 1.5 %.
DOCUMENTS_PER_SECTION, RELEASES_PER_SECTION, STATES_PER_SECTION = 128, 32, 1024
STATE_FILE = "state.jsonl.zst"

TABLES = (
    Table(
        Topic.METADATA,
        DOCUMENTS_PER_SECTION,
        (
            Output("packages.jsonl.zst", LINES_LEVEL, attrgetter("line")),
            Output("pypicache.json.zst", DROP_IN_LEVEL, attrgetter("drop_in"), is_array=True),
            Output("latest.csv.zst", LINES_LEVEL, attrgetter("latest"), head=LATEST_HEAD),
        ),
        look=package_of,
        held=held,
    ),
    Table(Topic.RELEASES, RELEASES_PER_SECTION, (Output("releases.jsonl.zst", LINES_LEVEL),)),
    Table(Topic.STATE, STATES_PER_SECTION, (Output(STATE_FILE, LINES_LEVEL, note=exception_of),)),
)

KEEP = Keep()
_EMPTY = Standing("", {})


class _Note(msgspec.Struct, frozen=True):
    """The note stored with the rows: a `Standing` as JSON."""

    log_id: str
    positions: tuple[tuple[Topic, int, int], ...]
    as_of_ms: int = 0


_note = msgspec.json.Decoder(_Note | None)


class DumpSink:
    """A `Sink`. `dumps` and `frames` should lie on one file system: files are linked.

    `keep`: how long deltas and whole dumps are kept. `tables`: where the DuckDB file and Parquet
    files come from, None = the dump has none.
    """

    name = "dump"
    topics = COMPACTED

    def __init__(
        self, dumps: Path, frames: Path, keep: Keep = KEEP, tables: TableSets | None = None
    ) -> None:
        self._keep = keep
        self._tables = tables
        self._dumps = dumps
        self._frames = frames
        self._store: FrameStore | None = None
        self._standing = _EMPTY
        self._reached: Reached | None = None

    def standing(self) -> Standing:
        """Open the store; raises DumpCorrupt, DataDirectoryInUse, StorageFailed."""
        self._opened()
        return self._standing

    def apply(self, batch: Batch) -> None:
        """Remember a batch.

        If much is in memory, that is written first, which may raise DiskFull.
        """
        store = self._opened()
        changes = [(record.topic, change_of(record)) for record in batch.records]
        if store.buffered_bytes >= BUFFER_BYTES_MAX:
            store.flush(_encoded(self._standing))
        for topic, change in changes:
            store.put(topic, change)
        self._standing = Standing(batch.config.log_id, dict(batch.positions), batch.as_of_ms)
        self._reached = None

    def reached(self, at: Reached) -> None:
        """Note the cut: `publish` may follow."""
        self._standing = self._standing._replace(as_of_ms=at.as_of_ms)
        self._reached = at

    def publish(self, now_ms: int) -> Published:
        """Merge, link, switch. Nothing that was published is touched before the switch."""
        at = self._reached
        assert at is not None, "publish without reached: the feed's order is broken"
        store = self._opened()
        before = self.published()
        mark = self._word(at.vector, before)

        def goes(log: str, end: Places) -> bool:
            return must_go(mark, log, end)

        files = store.merge(_encoded(self._standing), self._step(at, now_ms)._replace(goes=goes))
        self._publish_deltas(store, at, now_ms)
        manifest = _manifest(at, files, now_ms)
        paths = {name: self._frames / file.file for name, file in files.items()}
        manifest = self._with_tables(manifest, paths, now_ms, mark)
        full = FullFolder(self._dumps / FULL)
        full.offer({file.file: paths[name] for name, file in manifest.files.items()})
        alone = before is not None and goes(before.log_id, places(before.cuts))
        version = Publication(self._dumps).publish(paths, manifest, alone=alone)
        manifest = msgspec.structs.replace(manifest, version=version.name)
        full.publish(
            *(manifest, now_ms, self._keep), lambda each: goes(each.log, places(each.vector))
        )
        with storage(version):
            size = sum(file.stat().st_size for file in version.iterdir())
        return Published(self._dumps / MANIFEST_FILE, size, manifest.watermark)

    def published(self) -> Vector | None:
        """The vector in the manifest that readers see; None if there is none to be read."""
        try:
            manifest = DumpReader(self._dumps).manifest
        except DumpCorrupt:
            return None
        return Vector(manifest.log, manifest.vector)

    def reset(self) -> None:
        """Forget everything; a damaged store is moved to `<frames>.damaged`, the last one only."""
        self._standing, self._reached = _EMPTY, None
        try:
            self._opened().reset()
        except (DumpCorrupt, DataDirectoryVersion):
            self.close()
            aside = self._frames.with_name(f"{self._frames.name}.damaged")
            with storage(self._frames):
                shutil.rmtree(aside, ignore_errors=True)
                self._frames.rename(aside)
            self._opened()
        self._standing = _EMPTY

    def close(self) -> None:
        """Close the store. Changes in memory are written, or else read from the log again."""
        store, self._store = self._store, None
        if store is None:
            return
        if store.buffered_bytes:
            with suppress(PypistreamError):
                store.flush(_encoded(self._standing))
        store.close()

    def _step(self, at: Reached, now_ms: int) -> Step:
        claim = watermark(at.vector.cuts)
        mark = Mark(at.vector.log_id, places(at.vector.cuts))
        keep_ms = int(self._keep.deltas * 1000)
        return Step(mark, claim.serial, claim.base, claim.reached, now_ms, keep_ms)

    def _word(self, at: Vector, before: Vector | None) -> Mark | None:
        """The mark behind which to delete: as requested, or this place if rules were made since."""
        mark = word_of(self._dumps)
        if before is None or redacted_under(before.cuts) >= redacted_under(at.cuts):
            return mark
        if not must_go(mark, before.log_id, places(before.cuts)):
            forget_behind(self._dumps, at.log_id, places(at.cuts))
        return word_of(self._dumps)

    def _with_tables(
        self, manifest: Manifest, paths: dict[str, Path], now_ms: int, mark: Mark | None
    ) -> Manifest:
        """The manifest with the newest tables, their paths among `paths`."""
        at = Vector(manifest.log, manifest.vector)
        sets, found = self._tables, None
        if sets is not None:
            found = sets.newest(at, now_ms, mark)
        if sets is None or found is None:
            return manifest
        for name in found.files:
            paths[name] = sets.path(found, name)
        files = dict(sorted({**manifest.files, **found.dump_files()}.items()))
        return msgspec.structs.replace(manifest, files=files, tables=found.manifest())

    def _publish_deltas(self, store: FrameStore, at: Reached, now_ms: int) -> None:
        """Before the dump itself, so that a reader of the dump finds the deltas that follow it."""
        manifest = DeltaManifest(
            created=rfc3339(now_ms / 1000),
            log=at.vector.log_id,
            deltas=tuple(each.delta for each in store.deltas if not each.left_ms),
            filter=at.config.filter,
            releases=at.config.releases,
        )
        files = {each.delta.file: self._frames / each.file for each in store.deltas}
        DeltaFolder(self._dumps / DELTAS).publish(files, manifest)

    def _opened(self) -> FrameStore:
        if self._store is None:
            with storage(self._dumps):
                Publication(self._dumps)  # removes what a killed run left there
            store = FrameStore(self._frames, TABLES)
            try:
                self._standing = _decoded(store.note)
            except DumpCorrupt:
                store.close()
                raise
            self._store = store
        return self._store


def _manifest(at: Reached, files: Mapping[str, FrameFile], now_ms: int) -> Manifest:
    noted = files[STATE_FILE]
    claim = watermark(at.vector.cuts)
    backfill = None
    if claim.backfill_done is not None and claim.backfill_names is not None:
        backfill = Backfill(claim.backfill_done, claim.backfill_names)
    excepted = sum(noted.notes.values())
    return Manifest(
        created=rfc3339(now_ms / 1000),
        log=at.vector.log_id,
        vector=at.vector.cuts,
        watermark=claim.serial,
        base=claim.base,
        reached=claim.reached,
        backfill=backfill,
        exceptions=Exceptions(
            counts=noted.notes,
            names=tuple(ExceptionName(name, status) for name, status in noted.noted),
            omitted=excepted - len(noted.noted),
        ),
        names=noted.rows,
        coverage=None if claim.serial is None else coverage(noted.rows, excepted),
        filter=at.config.filter,
        releases=at.config.releases,
        files={
            name: DumpFile(
                *(file.bytes, file.sha256, file.rows, file.uncompressed_bytes),
                hashed_name(name, file.sha256),
            )
            for name, file in sorted(files.items())
        },
    )


def _encoded(standing: Standing) -> bytes:
    positions = tuple((at.topic, at.partition, offset) for at, offset in standing.positions.items())
    return msgspec.json.encode(_Note(standing.log_id, positions, standing.as_of_ms))


def _decoded(note: bytes) -> Standing:
    try:
        stored = _note.decode(note)
    except NO_JSON as error:
        raise DumpCorrupt(
            f"the dump's positions: {error}", hint="pypistream rebuild dump"
        ) from error
    if stored is None:
        return _EMPTY
    positions: Positions = {
        TopicPartition(topic, partition): Offset(offset)
        for topic, partition, offset in stored.positions
    }
    return Standing(stored.log_id, positions, stored.as_of_ms)
