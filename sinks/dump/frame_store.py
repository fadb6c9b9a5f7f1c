"""Keeps tables of lines on disk, with the position in the log at which they stand.

    DIR/index.zst            what counts: replaced atomically; a file it does not name is rubbish
    DIR/<n>-packages.run     changes in name order, one per name, newer runs win (see `runs`)
    DIR/<n>-<output>         a rendered file and its directory (see `frame_file`): the base
    DIR/<n>.delta            what one merge brought into the base (see `delta_file`)

`put` keeps changes in memory; `flush` writes them as a run; `merge` brings runs and memory into the
base, whose files are exactly the published ones (by hard link). So a change is rewritten once per
tier of runs, log32(size / 32 MiB) times, not once per flush, and memory stays flat: a backfill in
random name order touches every section of the base only when it is published.

A crash at any byte leaves the last index and the files it names. What was in memory is read from
the log again: the note stored with the rows (the owner's positions) is accordingly older.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from io import BytesIO
from itertools import chain
from pathlib import Path

import msgspec

from schemas.codec import NO_JSON
from schemas.compression import COMPRESS_THREADS, compress, decompress, read_frames
from schemas.errors import DataDirectoryVersion, DumpCorrupt
from schemas.topics import Topic
from sinks.dump.delta_file import DeltaFile, Mark, Step, is_whole, retained, write_delta
from sinks.dump.frame_file import (
    FrameFile,
    FrameFileReader,
    FrameFileWriter,
    Table,
    check_whole,
)
from sinks.dump.frames import BORDERS, Change, Line, ended_lines_of, latest, merge, neighbours
from sinks.dump.lines import bare, name_of
from sinks.dump.runs import RUN_LEVEL, Run, read_run, write_run
from sinks.durable import discard, storage, sync_directory, write_synced
from sinks.locks import lock

FORMAT = 3
FORMAT_BY_HASH_ALONE = 2  # its files have other borders: they are made anew by the next merge
FORMAT_WITHOUT_NOTES = 1  # its runs have no notes, too: these are made when they are merged
BUFFER_BYTES_MAX = 32 * 1024 * 1024  # lines in memory before a run is written: ~2 000 projects
ENTRY_OVERHEAD_BYTES = 250  # a dict slot, two objects' headers and the name, measured on 3.11
# So many runs become one of the next tier, which bounds open files, and memory at 0.5 MB for each.
# With 8 the first backfill of 20 000 projects wrote two thirds of everything twice.
RUNS_PER_TIER_MAX = 32
FEW_CHANGES = 10_000  # up to this many changes a delta is always made: it takes a second at most
INDEX_FILE, LOCK_FILE = "index.zst", "lock"


class TableFiles(msgspec.Struct, frozen=True):
    """A table on disk: a file per output (none before the first merge), runs from old to new.

    `borders`: by which rule the base was cut into sections.
    """

    base: tuple[FrameFile, ...] = ()
    runs: tuple[Run, ...] = ()
    borders: int = 1

    def with_runs(self, runs: tuple[Run, ...]) -> TableFiles:
        """The same base."""
        return TableFiles(self.base, runs, self.borders)

    def is_current(self, table: Table) -> bool:
        """Whether the base has all there is, as this version would make it."""
        whole = len(self.base) == len(table.outputs)
        return whole and not self.runs and self.borders == BORDERS


class _Format(msgspec.Struct, frozen=True):
    format: int


class _Index(_Format, frozen=True):
    next: int
    note: msgspec.Raw
    tables: dict[str, TableFiles]
    mark: Mark | None = None
    deltas: tuple[DeltaFile, ...] = ()


_index = msgspec.json.Decoder(_Index)
_format = msgspec.json.Decoder(_Format)
_NO_NOTE = msgspec.Raw(b"null")


class FrameStore:
    """See the module's text. For one thread at a time.

    Raises DiskFull (nothing lost, try again), StorageFailed, DumpCorrupt (a stored frame is
    damaged: rebuild).
    """

    def __init__(self, root: Path, tables: Sequence[Table]) -> None:
        """Raises DataDirectoryInUse, DataDirectoryVersion, DumpCorrupt, StorageFailed."""
        self.root = root
        self._aside = root / f"{INDEX_FILE}.tmp"
        self._tables = {table.name: table for table in tables}
        self._buffers: dict[str, dict[str, bytes | None]] = {name: {} for name in self._tables}
        self._buffered_bytes = 0
        self._sound: dict[str, Sequence[FrameFile]] = {}  # found intact
        with storage(root):
            root.mkdir(parents=True, exist_ok=True)
            self._lock = lock(root / LOCK_FILE)
            try:
                self._current = self._load()
                self._remove_rubbish()
            except BaseException:
                os.close(self._lock)
                raise

    @property
    def note(self) -> bytes:
        """The owner's note, stored with the rows on disk; `null` at first."""
        return bytes(self._current.note)

    @property
    def buffered_bytes(self) -> int:
        """Roughly the bytes that the changes in memory take."""
        return self._buffered_bytes

    def put(self, table: str, change: Change) -> None:
        """Remember a change; a later one of the same name wins."""
        name, line = change
        if line is not None:
            line = self._tables[table].held(line)
        buffer = self._buffers[table]
        if name in buffer:
            self._buffered_bytes -= len(buffer[name] or b"")
        else:
            self._buffered_bytes += ENTRY_OVERHEAD_BYTES
        self._buffered_bytes += len(line or b"")
        buffer[name] = line

    def flush(self, note: bytes) -> None:
        """Make the changes in memory durable, and `note` with them."""
        with self._change(note) as change:
            for name in self._tables:
                files = change.tables[name]
                if buffer := self._buffers[name]:
                    run = change.write_run(name, iter(sorted(buffer.items())), tier=0)
                    files = files.with_runs((*files.runs, run))
                change.tables[name] = change.fold_tiers(name, files)

    def merge(self, note: bytes, step: Step | None = None) -> Mapping[str, FrameFile]:
        """Bring everything into the base; returns its files by the outputs' names.

        A table without changes keeps its files. `note` becomes durable with it. `step` says which
        cut this is: then what changed since the last one is kept as a delta, unless that is more
        than the base had: whoever is that far behind does better with the dump.
        """
        with self._change(note) as change:
            before = self._current.mark
            as_delta = step is not None and step.follows(before) and not self._grows_whole()
            fresh: list[tuple[Topic, Run]] = []
            for name, table in self._tables.items():
                files, buffer = change.tables[name], self._buffers[name]
                if buffer or not files.is_current(table):
                    memory = sorted(buffer.items())
                    if as_delta:
                        run = change.fold_all(name, files, memory)
                        fresh.append((Topic(name), run))
                        files, memory = files.with_runs((run,)), []
                    change.tables[name] = change.write_base(table, files, memory)
                else:
                    self._check(name, files.base)
            if as_delta and step is not None and before is not None:
                change.write_delta(fresh, before, step)
            change.mark = None if step is None else step.mark
            if step is not None:
                change.deltas = retained(change.deltas, step)
        return self.files()

    def _check(self, table: str, files: Sequence[FrameFile]) -> None:
        """Verify a file that an earlier process wrote, once, before it is published again."""
        if self._sound.get(table) != files:
            for file in files:
                check_whole(self.root, file)
            self._sound[table] = files

    def _grows_whole(self) -> bool:
        """Whether there are more changes than rows: a first dump, a backfill."""
        rows = changes = 0
        for name, files in self._current.tables.items():
            rows += files.base[0].rows if files.base else 0
            changes += len(self._buffers[name]) + sum(run.rows for run in files.runs)
        return changes > max(rows, FEW_CHANGES)

    @property
    def deltas(self) -> Sequence[DeltaFile]:
        """The deltas kept, from old to new."""
        return self._current.deltas

    def files(self) -> Mapping[str, FrameFile]:
        """The base as the last merge left it; empty before the first."""
        return {
            output.file: file
            for name, table in self._tables.items()
            for output, file in zip(table.outputs, self._current.tables[name].base, strict=False)
        }

    def reset(self) -> None:
        """Forget everything, durably."""
        empty = {name: TableFiles() for name in self._tables}
        with storage(self.root):
            # Deltas of published dumps are kept; a damaged one leads nowhere.
            kept = (each for each in self._current.deltas if is_whole(self.root, each))
            deltas = tuple(kept)
            self._replace_index(_Index(FORMAT, self._current.next, _NO_NOTE, empty, deltas=deltas))

    def close(self) -> None:
        """Release the directory without flushing. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @contextmanager
    def _change(self, note: bytes) -> Iterator[_Change]:
        """All or nothing: new files first, then the index that names them."""
        before = self._current
        change = _Change(self.root, before)
        try:
            with storage(self.root):
                yield change
                index = _Index(
                    *(FORMAT, change.next, msgspec.Raw(note), change.tables),
                    *(change.mark, change.deltas),
                )
                self._replace_index(index)
        except BaseException:
            if self._current is before:  # else the index names the new files already
                change.undo()
                discard(self._aside)
            raise

    def _replace_index(self, index: _Index) -> None:
        """Make a change effective; files that the new index does not name are then removed."""
        write_synced(self._aside, compress(msgspec.json.encode(index), RUN_LEVEL))
        sync_directory(self.root)
        self._aside.replace(self.root / INDEX_FILE)
        self._current = index
        for buffer in self._buffers.values():
            buffer.clear()
        self._buffered_bytes = 0
        sync_directory(self.root)
        self._remove_rubbish()

    def _load(self) -> _Index:
        path = self.root / INDEX_FILE
        empty = {name: TableFiles() for name in self._tables}
        if not path.exists():
            return _Index(FORMAT, 1, _NO_NOTE, empty)
        try:
            raw = decompress(path.read_bytes())
            made_by = _format.decode(raw).format
            if made_by not in {FORMAT_WITHOUT_NOTES, FORMAT_BY_HASH_ALONE, FORMAT}:
                raise DataDirectoryVersion(
                    f"{path} has format {made_by}, this version reads {FORMAT}",
                    hint="pypistream rebuild dump",
                )
            index = _index.decode(raw)
        except (*NO_JSON, DumpCorrupt) as error:
            raise DumpCorrupt(f"{path}: {error}", hint="pypistream rebuild dump") from error
        return msgspec.structs.replace(index, tables={**empty, **index.tables})

    def _remove_rubbish(self) -> None:
        kept = {INDEX_FILE, LOCK_FILE, *(each.file for each in self._current.deltas)}
        for files in self._current.tables.values():
            kept.update(run.file for run in files.runs)
            for file in files.base:
                kept.update((file.file, file.directory))
        discard(*(path for path in self.root.iterdir() if path.name not in kept))


class _Change:
    """New files of one flush or merge, not yet named by the index."""

    def __init__(self, root: Path, index: _Index) -> None:
        self._root = root
        self.next = index.next
        self.tables = dict(index.tables)
        self.mark = index.mark
        self.deltas = index.deltas
        self._made: list[Path] = []

    def undo(self) -> None:
        discard(*self._made)

    def fold_tiers(self, table: str, files: TableFiles) -> TableFiles:
        """While a tier is full, merge it into one run."""
        runs = files.runs
        while True:
            newest = runs[-RUNS_PER_TIER_MAX:]
            if len(newest) < RUNS_PER_TIER_MAX or newest[0].tier != newest[-1].tier:
                return files.with_runs(runs)
            changes = latest([read_run(self._root, run) for run in reversed(newest)])
            folded = self.write_run(table, changes, newest[-1].tier + 1)
            runs = (*runs[:-RUNS_PER_TIER_MAX], folded)

    def write_run(self, table: str, changes: Iterable[Change], tier: int) -> Run:
        """Write changes, one per name and in name order, as a run."""
        path = self._root / f"{self._number()}-{table}.run"
        self._made.append(path)
        return write_run(path, changes, tier)

    def fold_all(self, table: str, files: TableFiles, memory: Sequence[Change]) -> Run:
        """Merge everything that is not in the base yet into one run."""
        return self.write_run(table, self._fresh(files, memory), tier=0)

    def _fresh(
        self, files: TableFiles, memory: Sequence[Change], *older: Iterable[Sequence[Change]]
    ) -> Iterator[Change]:
        """Everything that is not in the base yet, and what these older sources have."""
        newest = [[memory]] if memory else []
        return latest([*newest, *(read_run(self._root, r) for r in reversed(files.runs)), *older])

    def write_delta(self, fresh: Sequence[tuple[Topic, Run]], before: Mark, step: Step) -> None:
        """Keep the changes of these runs as a delta."""
        path = self._root / f"{self._number()}.delta"
        self._made.append(path)
        changes = []
        for topic, run in fresh:
            held = chain.from_iterable(read_run(self._root, run))
            changes.append((topic, ((name, line and bare(line)) for name, line in held)))
        self.deltas = (*self.deltas, write_delta(path, self.next, changes, before, step))

    def write_base(self, table: Table, files: TableFiles, memory: Sequence[Change]) -> TableFiles:
        """Merge memory, runs and the old base into new files, one per output."""
        stem = self._number()
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(COMPRESS_THREADS, "compressing"))
            old = [stack.enter_context(closing(FrameFileReader(self._root, f))) for f in files.base]
            new = []
            for output in table.outputs:
                new.append(FrameFileWriter(self._root, stem, output, pool))
                self._made += new[-1].paths
                stack.callback(new[-1].close)

            def load(number: int) -> Iterator[Line]:
                for lines in ended_lines_of(read_frames(BytesIO(old[0].frames(number)))):
                    yield from [(name_of(line), line) for line in lines]

            firsts = [section.first for section in old[0].sections] if old else []
            if files.borders == BORDERS:
                changes = self._fresh(files, memory)
            else:
                held = (list(load(number)) for number in range(len(firsts)))
                changes, firsts = self._fresh(files, memory, held), []
            for section in neighbours(merge(firsts, load, changes, table.section_names)):
                found = () if isinstance(section, range) else table.found(section)
                for position, writer in enumerate(new):
                    if not isinstance(section, range):
                        writer.make(section, found)
                    elif position < len(old):
                        writer.keep(old[position], section)
                    else:  # an output that an older version did not have
                        for lines in (list(load(number)) for number in section):
                            writer.make(lines, table.found(lines))
            for writer in new:
                writer.end()
            base = tuple(writer.finish() for writer in new)
        return TableFiles(base, borders=BORDERS)

    def _number(self) -> str:
        self.next += 1
        return f"{self.next:09}"
