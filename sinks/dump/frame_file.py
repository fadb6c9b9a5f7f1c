"""One file of concatenated frames and, beside it, the directory of its sections.

Both are written once and never changed. The directory is one zstd frame of JSON (so that it has a
checksum). It has each section's CRC, so that copying an old frame cannot carry a flipped bit into a
new dump, whose SHA-256 would then seem to prove it right.
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec

from schemas.codec import NO_JSON
from schemas.compression import compress, compress_together, decompress, read_frames
from schemas.errors import DumpCorrupt
from schemas.manifest import EXCEPTION_NAMES_MAX
from sinks.dump.frames import ARRAY_CLOSE, ARRAY_OPEN, Line, array_text, reopened
from sinks.durable import begin_sync, sync_file, write_synced

WRITE_BUFFER_BYTES = 64 * 1024  # whatever is larger, a batch or a copied piece, passes it by
DIRECTORY_LEVEL = 1  # read and written once per dump, only by us
AHEAD_MAX = 2  # batches waiting to be compressed and written; bounds memory
BATCH_BYTES = 2 * 1024 * 1024  # compressed at once: the thread takes the GIL once for them
COPY_BYTES = 1024 * 1024  # of kept sections at once: it stays in the cache from reading to writing
SYNC_BYTES = 4 * 1024 * 1024  # after so many the disk begins to write, not only at the end
READ_ONLY = 0o444  # published files are the store's own: an edit in place would damage both


@dataclass(frozen=True, slots=True)
class Output:
    """A file that a table is rendered to.

    element   None: the lines themselves (JSON Lines). Else what `element` makes of what the table's
              `look` found in each, newline included; None leaves the line out.
    is_array  the file is one JSON array of what `element` makes, without newlines then
    head      what comes before the first line, newline included, in a frame of its own
    note      a word on a line worth counting in the manifest (an exception's status), or None
    """

    file: str
    level: int
    element: Callable[[Any], bytes | memoryview | None] | None = None
    is_array: bool = False
    head: bytes = b""
    note: Callable[[bytes], str | None] | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """One table, of `section_names` lines a section on average.

    `outputs[0]` has the lines unchanged: merges read it. `look`: computes from a line, once for all
    outputs, what `element` gets; `held`: the line preceded by a note of that, made when the line
    comes in, which `look` also accepts.
    """

    name: str
    section_names: int
    outputs: tuple[Output, ...]
    look: Callable[[bytes], object] | None = None
    held: Callable[[bytes], bytes] = lambda line: line

    def found(self, lines: Sequence[Line]) -> Sequence[object]:
        """The result of `look` for each of these."""
        return () if self.look is None else [self.look(line) for _, line in lines]


class Section(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A run of frames that is copied or rewritten as a whole. `opens`: begins a JSON array."""

    first: str
    rows: int
    uncompressed_bytes: int
    bytes: int
    crc: int
    opens: bool = False
    notes: dict[str, list[str]] = {}


class FrameFile(msgspec.Struct, frozen=True):
    """A finished file.

    `notes`: how many lines have each note; `noted`: the first names with theirs.

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
        """A section as stored in the file."""
        return bytes(self._read(number, number + 1, bytearray()))

    def pieces(self, numbers: range) -> Iterator[memoryview]:
        """Neighbouring sections as stored in the file, some at a time. For any thread.

        A piece is good until the next is asked for: new memory for each takes as long as reading.
        """
        buffer = bytearray(COPY_BYTES)
        start = numbers.start
        while start < numbers.stop:
            upto = self._starts[start] + COPY_BYTES
            end = bisect_right(self._starts, upto, start + 2, numbers.stop + 1) - 1
            yield self._read(start, end, buffer)
            start = end

    def _read(self, start: int, end: int, buffer: bytearray) -> memoryview:
        at = self._starts[start]
        size = self._starts[end] - at
        whole = memoryview(buffer if size <= len(buffer) else bytearray(size))[:size]
        found = os.preadv(self._file.fileno(), [whole], at)  # threads share the file's position
        frames = view = whole[:found]
        for section in self.sections[start:end]:
            piece, view = view[: section.bytes], view[section.bytes :]
            if len(piece) != section.bytes or crc32(piece) != section.crc:
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

    Lines are compressed by `compressing`, threads that all files of a table share, so that the file
    with the most work can use both cores. A thread of the writer's own copies, hashes and writes,
    in the order of the calls. All of these release the GIL, so the next lines are merged meanwhile.
    """

    def __init__(self, root: Path, stem: str, output: Output, compressing: Executor) -> None:
        self._output = output
        self._compressing = compressing
        self._path = root / f"{stem}-{output.file}"
        self._directory = root / f"{stem}-{output.file}.directory"
        self._opened = False
        self._batch: list[tuple[bytes, Section]] = []
        self._batch_bytes = 0
        self._doing: deque[Future[None]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="frames")
        # From here on used only by the thread, until `finish`.
        self._sections: list[Section] = []
        self._hash = hashlib.sha256()
        self._bytes = self._begun_bytes = self._head_bytes = 0
        self._file = self._path.open("wb", buffering=WRITE_BUFFER_BYTES)

    def keep(self, old: FrameFileReader, numbers: range) -> None:
        """Copy neighbouring sections; one that begins the array, now or before, is rewritten."""
        start = numbers.start
        for number in numbers:
            section = old.sections[number]
            opens = self._opens(section.uncompressed_bytes)
            if section.opens != opens:
                self._copy(old, range(start, number))
                text = reopened(old.text(number), opens=opens)
                self._compress(text, msgspec.structs.replace(section, opens=opens))
                start = number + 1
        self._copy(old, range(start, numbers.stop))

    def make(self, lines: Sequence[Line], found: Sequence[object] = ()) -> None:
        """Render and compress new lines; `found`: the result of the table's `look` for each."""
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
        """Close the array and begin to sync both files, while other writers end."""
        self._end_batch()
        self._do(self._end)

    def finish(self) -> FrameFile:
        """After `end`: wait until both files are synced; returns what was written."""
        while self._doing:
            self._doing.popleft().result()
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
        """The end of the array."""
        if not self._output.is_array:
            return b""
        return ARRAY_CLOSE if self._opened else ARRAY_OPEN + ARRAY_CLOSE

    @property
    def paths(self) -> tuple[Path, Path]:
        """The file and its directory, which are rubbish until they are finished."""
        return self._path, self._directory

    def close(self) -> None:
        """Close the file, finished or not. Idempotent; never raises."""
        self._thread.shutdown(cancel_futures=True)
        with suppress(OSError):
            self._file.close()  # flushes, which a full disk refuses again

    def _opens(self, size: int) -> bool:
        """Whether the next element begins the array: true once."""
        opens = self._output.is_array and not self._opened and size > 0
        self._opened = self._opened or opens
        return opens

    def _do(self, action: Callable[..., None], *given: object) -> None:
        """Run it in the thread, after earlier jobs. Raises what one of those has raised."""
        self._doing.append(self._thread.submit(action, *given))
        while len(self._doing) > AHEAD_MAX:
            self._doing.popleft().result()

    def _compress(self, text: bytes, section: Section) -> None:
        self._batch.append((text, section))
        self._batch_bytes += len(text)
        if self._batch_bytes >= BATCH_BYTES:
            self._end_batch()

    def _copy(self, old: FrameFileReader, numbers: range) -> None:
        self._end_batch()
        self._do(self._put_kept, old, numbers)

    def _end_batch(self) -> None:
        if self._batch:
            texts = [text for text, _ in self._batch if text]
            made = self._compressing.submit(compress_together, texts, self._output.level)
            self._do(self._put_made, made, self._batch)
            self._batch, self._batch_bytes = [], 0

    def _put_made(
        self, compressed: Future[list[bytes]], batch: Sequence[tuple[bytes, Section]]
    ) -> None:
        made = compressed.result()
        rest = iter(made)
        for text, section in batch:
            frames = next(rest) if text else b""  # no line has an element
            sizes = {"uncompressed_bytes": len(text), "bytes": len(frames), "crc": crc32(frames)}
            self._sections.append(msgspec.structs.replace(section, **sizes))
        self._put(b"".join(made))

    def _put_kept(self, old: FrameFileReader, numbers: range) -> None:
        for piece in old.pieces(numbers):
            self._put(piece)
        self._sections += old.sections[numbers.start : numbers.stop]

    def _put(self, frames: bytes | memoryview) -> None:
        if self._output.head and not self._bytes:
            head = compress(self._output.head, self._output.level)
            self._head_bytes = len(head)
            frames = b"".join((head, frames))
        self._hash.update(frames)
        self._file.write(frames)
        self._bytes += len(frames)
        if self._bytes - self._begun_bytes >= SYNC_BYTES:
            begin_sync(self._file, self._begun_bytes)
            self._begun_bytes = self._bytes

    def _end(self) -> None:
        if not self._bytes or self._tail:
            self._put(compress(self._tail, self._output.level))
        os.fchmod(self._file.fileno(), READ_ONLY)
        sync_file(self._file)
        write_synced(
            self._directory, compress(msgspec.json.encode(self._sections), DIRECTORY_LEVEL)
        )
