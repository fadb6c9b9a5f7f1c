"""Where a dump's frames begin, and how changes are merged into them. Pure.

A table is a sequence of lines in name order, cut into sections. A section begins where a hash of
the line's name says so, neither too soon after the last one nor too late. Since the borders depend
only on names, the same rows give the same bytes in whatever order they came. A change of a line
touches only its own section; where a name comes or goes, borders can move until the two rows of
sections meet again, mostly within a section or two (content-defined chunking, as FastCDC has it).
A section's text is one zstd frame, or several if it is over 16 MiB.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import TypeGuard
from zlib import crc32

from schemas.errors import DumpCorrupt
from schemas.topics import RECORD_BYTES_MAX

Line = tuple[str, bytes]
"""Name and its line, newline included."""

Change = tuple[str, bytes | None]
"""Name and its new line; None = the line goes."""

BORDERS = 2
"""Which rule `is_border` is: files that were cut by another one are made anew, once."""

LINE_BYTES_MAX = 4 * RECORD_BYTES_MAX  # room for keys that the drop-in adds to a record

_NAME = itemgetter(0)

ARRAY_OPEN, ARRAY_NEXT, ARRAY_CLOSE = b"[\n", b",\n", b"\n]\n"


def is_border(name: str, before: int, section_names: int) -> bool:
    """Whether a section begins at `name`, after one that has `before` lines.

    Sections have about `section_names` lines: 3/4 of that at least, then up to the next name whose
    hash says so, 5/4 at most. A change makes a whole section anew, and long ones are met more often
    than short ones: by the hash alone a changed section would have twice the average.
    """
    quarter = section_names // 4
    if before < 3 * quarter:
        return False
    return before >= 5 * quarter or crc32(name.encode()) % quarter == 0


def latest(sources: Sequence[Iterable[Sequence[Change]]]) -> Iterator[Change]:
    """Merge sequences in name order, the newest source first: one change per name, the newest.

    A name occurs once in each of them. They come in batches, none of them empty, and are merged
    batch by batch: one by one a line takes ten times as long.
    """
    return chain.from_iterable(_together(sources))


def _together(sources: Sequence[Iterable[Sequence[Change]]]) -> Iterator[Sequence[Change]]:
    if len(sources) == 1:
        yield from sources[0]
        return
    oldest_first = [each for each in map(_Batches, reversed(sources)) if each.batch]
    while oldest_first:
        upto = min(each.batch[-1][0] for each in oldest_first)
        found: dict[str, bytes | None] = {}
        ended = False
        for each in oldest_first:
            found.update(each.upto(upto))
            ended = ended or not each.batch
        yield sorted(found.items(), key=_NAME)
        if ended:
            oldest_first = [each for each in oldest_first if each.batch]


class _Batches:
    """A source. `batch` is its current batch, of which lines from `_start` on are left.

    Empty = the end.
    """

    def __init__(self, source: Iterable[Sequence[Change]]) -> None:
        self._rest = iter(source)
        self._start = 0
        self.batch = next(self._rest, ())

    def upto(self, name: str) -> Sequence[Change]:
        """Take the lines up to and including `name` from the current batch."""
        start, batch = self._start, self.batch
        if batch[start][0] > name:
            return ()
        self._start = bisect_right(batch, name, start, key=_NAME)
        taken = batch[start : self._start]
        if self._start == len(batch):
            self._start, self.batch = 0, next(self._rest, ())
        return taken


def merge(
    firsts: Sequence[str],
    load: Callable[[int], Iterable[Line]],
    changes: Iterable[Change],
    section_names: int,
) -> Iterator[int | list[Line]]:
    """Merge `changes` (name order, one per name) into the sections that begin at `firsts`.

    Yields the new sections in order: the number of an old one that stays as it is, or new lines.
    `load` reads an old section's lines. Holds one section at a time.
    """
    if not firsts:
        yield from _sections(changes, section_names)
        return
    feed = _Peekable(changes)
    pending: int | list[Line] | None = None
    for number, first in enumerate(firsts):
        end = firsts[number + 1] if number + 1 < len(firsts) else None
        if not feed.any_before(end) and not _goes_on(pending, first, section_names):
            if pending is not None:
                yield pending
            pending = number
            continue
        for name, line in _apply(load(number), feed.before(end)):
            if isinstance(pending, int) and name != first:  # the border between them is gone
                pending = list(load(pending))
            if _goes_on(pending, name, section_names):
                pending.append((name, line))
                continue
            if pending is not None:
                yield pending
            pending = [(name, line)]
    if pending is not None:
        yield pending


def _goes_on(
    pending: int | list[Line] | None, name: str, section_names: int
) -> TypeGuard[list[Line]]:
    """Whether `name` belongs to a section of which these lines are known so far.

    An old section that stays as it is ends where the next old one begins.
    """
    return isinstance(pending, list) and not is_border(name, len(pending), section_names)


def _sections(changes: Iterable[Change], section_names: int) -> Iterator[list[Line]]:
    """New sections from these changes, where there was nothing before."""
    section: list[Line] = []
    for name, line in changes:
        if line is None:
            continue
        if section and is_border(name, len(section), section_names):
            yield section
            section = []
        section.append((name, line))
    if section:
        yield section


def neighbours(sections: Iterable[int | list[Line]]) -> Iterator[range | list[Line]]:
    """The output of `merge`, with successive old sections as one range of numbers."""
    kept = range(0)
    for section in sections:
        if isinstance(section, int) and section == kept.stop:
            kept = range(kept.start, section + 1)
            continue
        if kept:
            yield kept
        if isinstance(section, int):
            kept = range(section, section + 1)
        else:
            kept = range(0)
            yield section
    if kept:
        yield kept


class _Peekable:
    """Changes in name order, taken piece by piece."""

    def __init__(self, changes: Iterable[Change]) -> None:
        self._rest = iter(changes)
        self._next = next(self._rest, None)

    def any_before(self, end: str | None) -> bool:
        return self._next is not None and (end is None or self._next[0] < end)

    def before(self, end: str | None) -> Iterator[Change]:
        while self._next is not None and (end is None or self._next[0] < end):
            change, self._next = self._next, next(self._rest, None)
            yield change


def _apply(lines: Iterable[Line], changes: Iterable[Change]) -> Iterator[Line]:
    found: dict[str, bytes | None] = dict(lines)
    found.update(changes)
    for name in sorted(found):
        line = found[name]
        if line is not None:
            yield name, line


def lines_of(frames: Iterable[bytes]) -> Iterator[bytes]:
    """Lines without their newline, from a text that was cut into frames anywhere.

    Raises DumpCorrupt if the text ends within a line, or a line is longer than any of ours.
    """
    return chain.from_iterable(_batches_of(frames, ended=False))


def ended_lines_of(frames: Iterable[bytes]) -> Iterator[Sequence[bytes]]:
    """Lines with their newline, so that lines that are written again are copied once, not twice.

    In batches, those that end in one frame; none is empty.
    """
    return _batches_of(frames, ended=True)


def _cut(text: bytes, *, ended: bool) -> tuple[list[bytes], bytes]:
    """The lines, and the rest. For documents `find` takes half the time of `split`."""
    lines = []
    start = 0
    while end := text.find(b"\n", start) + 1:
        lines.append(text[start : end if ended else end - 1])
        start = end
    return lines, text[start:]


def _batches_of(frames: Iterable[bytes], *, ended: bool) -> Iterator[Sequence[bytes]]:
    open_line: list[bytes] = []
    open_bytes = 0
    for frame in frames:
        lines, rest = _cut(frame, ended=ended)
        first = lines[0] if lines else rest
        open_bytes += len(first)
        if open_bytes > LINE_BYTES_MAX:
            raise DumpCorrupt(f"a line of over {LINE_BYTES_MAX} bytes")
        if not lines:
            open_line.append(rest)
            continue
        lines[0] = b"".join((*open_line, first))
        yield lines
        open_line, open_bytes = [rest], len(rest)
    if open_bytes:
        raise DumpCorrupt("the file ends within a line", hint="download it again")


def array_text(documents: Sequence[bytes | memoryview], *, opens: bool) -> bytes:
    """A section of the one JSON array: every element is preceded by `,` and a newline.

    Only the array's first section begins with `[` instead: one byte is all that differs, so the
    opening needs no frame of its own (a one-shot reader would take that frame for the whole file).
    """
    text = ARRAY_NEXT.join((b"", *documents))
    return reopened(text, opens=opens)


def reopened(text: bytes, *, opens: bool) -> bytes:
    """The section as the array's first one, or as a later one."""
    begins = ARRAY_OPEN if opens else ARRAY_NEXT
    return text if not text or text.startswith(begins) else begins + text[len(begins) :]
