"""Deltas in the dump's store: their files, and how long these are kept. Format: docs/dumps.md.

A delta is written with the merge that brings its changes into the dump, and is named by the same
index: after a kill at any moment none is missing and none superfluous.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge as heap_merge
from pathlib import Path
from typing import NamedTuple

import msgspec

from schemas.codec import rfc3339
from schemas.compression import compress_frames
from schemas.manifest import Delta
from schemas.records import Places
from schemas.topics import Topic
from sinks.dump.frames import Change
from sinks.dump.lines import delta_line
from sinks.durable import sync_file

DELTA_LEVEL = 4  # as the dump's lines
FRAME_BYTES = 1024 * 1024  # a delta of a minute is one frame; no reader needs more memory
WRITE_BUFFER_BYTES = 1024 * 1024
READ_ONLY = 0o444  # published files are the store's own: an edit in place would damage both
LISTED_MAX = 2_016  # a week of one every five minutes; an entry has ~0.4 KB, 1 KB on 12 partitions
LINGER_MS = 3_600_000  # how long a file stays after the manifest has dropped it
_HASH_CHARACTERS = 16  # of the SHA-256 in a file's name: no two files will collide


class Mark(msgspec.Struct, frozen=True):
    """The log and the cut at which the store's base stands."""

    log: str
    places: Places


class DeltaFile(msgspec.Struct, frozen=True):
    """A delta in the store. `left_ms`: when the manifest dropped it, 0 = still listed."""

    file: str
    log: str
    created_ms: int
    delta: Delta
    left_ms: int = 0


class Step(NamedTuple):
    """The cut to which a merge brings the base.

    `watermark`, `base`, `reached` are what it claims; `keep_ms` 0 = no deltas. `goes`: whether a
    delta that ends there, of that log, is not to be kept whatever its age.
    """

    mark: Mark
    watermark: int | None
    base: int
    reached: int
    now_ms: int
    keep_ms: int
    goes: Callable[[str, Places], bool] = lambda _log, _end: False

    def follows(self, before: Mark | None) -> bool:
        """Whether a delta leads from `before` to here."""
        if not self.keep_ms or before is None or before.log != self.mark.log:
            return False
        return before.places != self.mark.places


def write_delta(
    path: Path, number: int, changes: Sequence[tuple[Topic, Iterable[Change]]], before: Mark,
    step: Step,
) -> DeltaFile:  # fmt: skip
    """Write the changes of all topics, each in name order, as one file in name order."""
    sha256 = hashlib.sha256()
    rows = size = uncompressed = 0
    with path.open("wb", buffering=WRITE_BUFFER_BYTES) as file:
        for text, lines in _chunks(_by_name(changes)):
            frames = compress_frames(text, DELTA_LEVEL)
            sha256.update(frames)
            file.write(frames)
            rows, size, uncompressed = rows + lines, size + len(frames), uncompressed + len(text)
        os.fchmod(file.fileno(), READ_ONLY)
        sync_file(file)
    digest = sha256.hexdigest()
    delta = Delta(
        file=f"{number:09}-{digest[:_HASH_CHARACTERS]}.jsonl.zst",
        bytes=size,
        sha256=digest,
        rows=rows,
        uncompressed_bytes=uncompressed,
        created=rfc3339(step.now_ms / 1000),
        start=before.places,
        end=step.mark.places,
        watermark=step.watermark,
        base=step.base,
        reached=step.reached,
    )
    return DeltaFile(path.name, step.mark.log, step.now_ms, delta)


def is_whole(folder: Path, made: DeltaFile) -> bool:
    """Whether the file is still what was written."""
    try:
        with (folder / made.file).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == made.delta.sha256
    except FileNotFoundError:
        return False


def _by_name(changes: Sequence[tuple[Topic, Iterable[Change]]]) -> Iterator[bytes]:
    """The lines of all topics, grouped by name."""
    numbered = [_numbered(order, rows) for order, (_, rows) in enumerate(changes)]
    for name, order, line in heap_merge(*numbered):
        yield delta_line(changes[order][0], name, line)


def _numbered(order: int, rows: Iterable[Change]) -> Iterator[tuple[str, int, bytes | None]]:
    # The order decides between equal names before lines are ever compared.
    for name, line in rows:
        yield name, order, line


def _chunks(lines: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Texts of about FRAME_BYTES with their number of lines; without lines one empty text."""
    chunk: list[bytes] = []
    held, any_yet = 0, False
    for line in lines:
        chunk.append(line)
        held += len(line)
        if held >= FRAME_BYTES:
            yield b"".join(chunk), len(chunk)
            chunk, held, any_yet = [], 0, True
    if chunk or not any_yet:
        yield b"".join(chunk), len(chunk)


def retained(deltas: Sequence[DeltaFile], step: Step) -> tuple[DeltaFile, ...]:
    """The `deltas` (old to new) that are kept: those to be listed, and those dropped recently.

    Pure.

    Listed are those of the step's log that are young enough, LISTED_MAX at most.
    """
    now_ms = step.now_ms
    deltas = [each for each in deltas if not step.goes(each.log, each.delta.end)]
    named = [each for each in deltas if each.log == step.mark.log and not each.left_ms]
    young = {e.file for e in named[-LISTED_MAX:] if now_ms - e.created_ms <= step.keep_ms}
    kept = []
    for each in deltas:
        if each.file in young:
            kept.append(each)
        elif not each.left_ms:
            kept.append(msgspec.structs.replace(each, left_ms=max(1, now_ms)))
        elif now_ms - each.left_ms <= LINGER_MS:
            kept.append(each)
    return tuple(kept)
