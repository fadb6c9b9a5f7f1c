"""One file of concatenated frames and, beside it, the directory of its sections.

Both are written once and never changed. The directory is one zstd frame of JSON (so that it has a
checksum); it keeps each section's CRC, so that copying an old frame cannot carry a flipped bit into
a new dump whose sha256 would then vouch for it.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec

from schemas.codec import NO_JSON
from schemas.compression import compress, compress_frames, decompress, read_frames
from schemas.errors import DumpCorrupt
from schemas.manifest import EXCEPTION_NAMES_MAX
from sinks.dump.frames import ARRAY_CLOSE, ARRAY_OPEN, Line, array_text, reopened
from sinks.durable import sync_file, write_synced

WRITE_BUFFER_BYTES = 1024 * 1024  # sections are ~40 KB; larger writes spare system calls
DIRECTORY_LEVEL = 1  # read and written once per dump, by us alone
THREADS = 1  # compress for each file: a second costs more in handing over than it takes off
AHEAD_MAX = 4  # sections that wait or are compressed; bounds memory
READ_ONLY = 0o444  # published files are the store's own: an edit in place would damage both


@dataclass(frozen=True, slots=True)
class Output:
    """A file that a table is rendered to.

    element   None: the lines themselves (JSON Lines). Else the file is one JSON array of what
              `element` makes of what the table's `look` found in each; None leaves the line out.
    head      what comes before the first line, newline included, in a frame of its own: then
              `element` makes lines, newline included, and the file is no array.
    note      a word on a line worth counting in the manifest (an exception's status), or None
    """

    file: str
    level: int
    element: Callable[[Any], bytes | None] | None = None
    head: bytes = b""
    note: Callable[[bytes], str | None] | None = None

    @property
    def is_array(self) -> bool:
        """Whether the file is one JSON array."""
        return self.element is not None and not self.head


@dataclass(frozen=True, slots=True)
class Table:
    """One table, of `section_names` lines a section on average.

    `outputs[0]` holds its lines as they are (no `element`): merges read it. `look`: what `element`
    of the others is given of a line, found once for all of them.
    """

    name: str
    section_names: int
    outputs: tuple[Output, ...]
    look: Callable[[bytes], object] | None = None

    def found(self, lines: Sequence[Line]) -> Sequence[object]:
        """What `look` finds in each of these."""
        return () if self.look is None else [self.look(line) for _, line in lines]


class Section(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A run of frames that is copied or made anew as a whole. `opens`: begins a JSON array."""

    first: str
    rows: int
    uncompressed_bytes: int
    bytes: int
    crc: int
    opens: bool = False
    notes: dict[str, list[str]] = {}


class FrameFile(msgspec.Struct, frozen=True):
    """A finished file. `notes`: how many lines per word; `noted`: the first names with theirs.

    `head_bytes`: of the frame before its first section.
    """

    file: str
    directory: str
    bytes: int
    uncompressed_bytes: int
    rows: int
    sha256: str
    notes: dict[str, int] = {}
    noted: list[tuple[str, str]] = []
    head_bytes: int = 0


_sections = msgspec.json.Decoder(list[Section])


class FrameFileReader:
    """Reads single sections. Raises DumpCorrupt where CRC, frame checksum or size do not agree."""

    def __init__(self, root: Path, source: FrameFile) -> None:
        self.sections = _read_directory(root / source.directory)
        self._starts = list(accumulate((s.bytes for s in self.sections), initial=source.head_bytes))
        self._file = (root / source.file).open("rb")

    def frames(self, number: int) -> bytes:
        """A section as it lies in the file."""
        section = self.sections[number]
        self._file.seek(self._starts[number])
        frames = self._file.read(section.bytes)
        if len(frames) != section.bytes or crc32(frames) != section.crc:
            raise DumpCorrupt(
                f"{self._file.name}: section {section.first!r} is damaged",
                hint="pypistream rebuild dump",
            )
        return frames

    def text(self, number: int) -> bytes:
        """A section decompressed."""
        return b"".join(read_frames(BytesIO(self.frames(number))))

    def close(self) -> None:
        """Idempotent."""
        self._file.close()


def check_whole(root: Path, file: FrameFile) -> None:
    """Raises DumpCorrupt if the file is not what it was when it was written."""
    with (root / file.file).open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if digest != file.sha256:
        raise DumpCorrupt(f"{root / file.file} is damaged", hint="pypistream rebuild dump")


def _read_directory(path: Path) -> list[Section]:
    try:
        return _sections.decode(decompress(path.read_bytes()))
    except NO_JSON as error:
        raise DumpCorrupt(f"{path}: {error}", hint="pypistream rebuild dump") from error


class FrameFileWriter:
    """Writes a file section by section, in name order, until `end`.

    Threads of its own compress (zstd lets go of the interpreter): meanwhile the next are merged. At
    the end they sync: the disk takes several files at once in little more than one's time.
    """

    def __init__(self, root: Path, stem: str, output: Output) -> None:
        self._output = output
        self._path = root / f"{stem}-{output.file}"
        self._directory = root / f"{stem}-{output.file}.directory"
        self._sections: list[Section] = []
        self._hash = hashlib.sha256()
        self._opened = False
        self._bytes = 0
        self._file = self._path.open("wb", buffering=WRITE_BUFFER_BYTES)
        self._thread = ThreadPoolExecutor(THREADS, thread_name_prefix="zstd")
        self._waiting: deque[tuple[Section, bytes | Future[bytes]]] = deque()
        self._head_bytes = 0
        self._syncs: tuple[Future[None], ...] = ()

    def keep(self, old: FrameFileReader, number: int) -> None:
        """Copy a section, made anew only if it begins the array now, or no more."""
        section = old.sections[number]
        opens = self._opens(section.uncompressed_bytes)
        if section.opens == opens:
            self._enqueue(section, old.frames(number))
        else:
            text = reopened(old.text(number), opens=opens)
            self._compress(text, msgspec.structs.replace(section, opens=opens))

    def make(self, lines: Sequence[Line], found: Sequence[object] = ()) -> None:
        """Render and compress new lines; `found`: what the table's `look` has of each."""
        element, note = self._output.element, self._output.note
        rows = len(lines)
        opens = False
        if element is None:
            text = b"".join([line for _, line in lines])
        else:
            elements = [made for made in map(element, found) if made is not None]
            rows = len(elements)
            opens = self._opens(rows)
            array = self._output.is_array
            text = array_text(elements, opens=opens) if array else b"".join(elements)
        notes: dict[str, list[str]] = {}
        if note is not None:
            for name, line in lines:
                if word := note(line):
                    notes.setdefault(word, []).append(name)
        self._compress(text, Section(lines[0][0], rows, 0, 0, 0, opens, notes))

    def end(self) -> None:
        """Close the array and have both files synced: other writers end meanwhile."""
        while self._waiting:
            self._write_next()
        if not self._bytes or self._tail:
            self._put(compress(self._tail, self._output.level))
        directory = compress(msgspec.json.encode(self._sections), DIRECTORY_LEVEL)
        os.fchmod(self._file.fileno(), READ_ONLY)
        self._syncs = (
            self._thread.submit(sync_file, self._file),
            self._thread.submit(write_synced, self._directory, directory),
        )

    def finish(self) -> FrameFile:
        """After `end`: wait until both files are synced, and say what was written."""
        for sync in self._syncs:
            sync.result()
        self._file.close()
        noted = [(name, word) for s in self._sections for word in s.notes for name in s.notes[word]]
        counts: dict[str, int] = {}
        for _, word in noted:
            counts[word] = counts.get(word, 0) + 1
        uncompressed = sum(s.uncompressed_bytes for s in self._sections)
        return FrameFile(
            file=self._path.name,
            directory=self._directory.name,
            bytes=self._bytes,
            uncompressed_bytes=len(self._output.head) + uncompressed + len(self._tail),
            rows=sum(s.rows for s in self._sections),
            sha256=self._hash.hexdigest(),
            notes=dict(sorted(counts.items())),
            noted=sorted(noted)[:EXCEPTION_NAMES_MAX],
            head_bytes=self._head_bytes,
        )

    @property
    def _tail(self) -> bytes:
        """What closes the array, now that all of it is there."""
        if not self._output.is_array:
            return b""
        return ARRAY_CLOSE if self._opened else ARRAY_OPEN + ARRAY_CLOSE

    @property
    def paths(self) -> tuple[Path, Path]:
        """The file and its directory, as long as they are not finished: rubbish."""
        return self._path, self._directory

    def close(self) -> None:
        """Let go of the file, finished or not. Idempotent; never raises."""
        self._thread.shutdown(cancel_futures=True)
        with suppress(OSError):
            self._file.close()  # flushes, which a full disk refuses again

    def _opens(self, size: int) -> bool:
        return self._output.is_array and not self._opened and size > 0

    def _compress(self, text: bytes, section: Section) -> None:
        sized = msgspec.structs.replace(section, uncompressed_bytes=len(text))
        level = self._output.level
        frames = self._thread.submit(compress_frames, text, level) if text else b""
        self._enqueue(sized, frames)

    def _enqueue(self, section: Section, frames: bytes | Future[bytes]) -> None:
        self._opened = self._opened or section.opens
        self._waiting.append((section, frames))
        while len(self._waiting) > AHEAD_MAX:
            self._write_next()

    def _write_next(self) -> None:
        section, frames = self._waiting.popleft()
        if isinstance(frames, Future):
            frames = frames.result()
            section = msgspec.structs.replace(section, bytes=len(frames), crc=crc32(frames))
        self._sections.append(section)
        self._put(frames)

    def _put(self, frames: bytes) -> None:
        if self._output.head and not self._bytes:
            head = compress(self._output.head, self._output.level)
            self._head_bytes = len(head)
            frames = head + frames
        self._hash.update(frames)
        self._file.write(frames)
        self._bytes += len(frames)
