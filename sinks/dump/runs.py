"""Runs: changes in name order that wait in a file until they are merged.

A line is stored as its table holds it (`lines.held`): a note of a line or two may precede it, so
that a merge need not examine the document again. Both are in one frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from schemas.compression import compress, read_frames
from schemas.errors import DumpCorrupt
from sinks.dump.frame_file import WRITE_BUFFER_BYTES
from sinks.dump.frames import Change
from sinks.dump.lines import NOTE_LINES_MAX, change_of_held, gone_line
from sinks.durable import sync_file

RUN_CHUNK_BYTES = 256 * 1024  # a run's frame, which each open run has in memory while merging
RUN_LEVEL = 1  # a run is read once; 5 % of the dump's compression time


class Run(msgspec.Struct, frozen=True):
    """A file of changes. `rows` reveals a run that was truncated at the end of a frame."""

    file: str
    tier: int
    rows: int


def write_run(path: Path, changes: Iterable[Change], tier: int) -> Run:
    """Write changes, one per name and in name order, as a run."""
    rows = 0
    chunk: list[bytes] = []
    chunk_bytes = 0
    with path.open("wb", buffering=WRITE_BUFFER_BYTES) as file:
        for name, line in changes:
            chunk.append(gone_line(name) if line is None else line)
            chunk_bytes += len(chunk[-1])
            rows += 1
            if chunk_bytes >= RUN_CHUNK_BYTES:
                file.write(compress(b"".join(chunk), RUN_LEVEL))
                chunk, chunk_bytes = [], 0
        if chunk:
            file.write(compress(b"".join(chunk), RUN_LEVEL))
        sync_file(file)
    return Run(path.name, tier, rows)


def read_run(root: Path, run: Run) -> Iterator[Sequence[Change]]:
    """The changes of a run, frame by frame. Raises DumpCorrupt."""
    rows = 0
    with (root / run.file).open("rb") as file:
        for frame in read_frames(file):
            changes = _changes_of(frame)
            rows += len(changes)
            yield changes
    if rows != run.rows:
        raise DumpCorrupt(
            f"{run.file} has {rows} rows, not {run.rows}", hint="pypistream rebuild dump"
        )


def _changes_of(frame: bytes) -> Sequence[Change]:
    changes = []
    start = 0
    while start < len(frame):
        line = start
        if (lines := frame[start]) <= NOTE_LINES_MAX:
            line = _after(frame, start, lines)
        end = _after(frame, line, 1)
        changes.append(change_of_held(frame[start:end], line - start))
        start = end
    return changes


def _after(frame: bytes, at: int, lines: int) -> int:
    """The position after so many lines."""
    for _ in range(lines):
        if not (at := frame.find(b"\n", at) + 1):
            raise DumpCorrupt("a run's frame ends within a line", hint="pypistream rebuild dump")
    return at
