"""Counts the commas of a JSON text by their depth, from its bytes alone: nothing is decoded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate, compress

CHUNK_BYTES = 256 * 1024  # taken apart at a time: what is between strings becomes a list of pieces
_OTHERS = bytes(set(range(256)) - set(b"[]{},"))
_END_OF_ESCAPES = re.compile(rb"\\*+.?", re.DOTALL)
_STEP = [0] * 256
for _each in b"[{":
    _STEP[_each] = 1
for _each in b"]}":
    _STEP[_each] = -1
_IS_COMMA = [each == ord(",") for each in range(256)]


def commas_by_depth(text: bytes) -> Iterator[Counter[int]]:
    """The commas so far, by the number of brackets around them, after each chunk.

    For a text that is no JSON the counts mean nothing.
    """
    found: Counter[int] = Counter()
    depth = 0
    for signs in _signs(text):
        depths = list(accumulate(map(_STEP.__getitem__, signs), initial=depth))
        found.update(compress(depths, map(_IS_COMMA.__getitem__, signs)))
        depth = depths[-1]
        yield found


def _signs(text: bytes) -> Iterator[bytes]:
    """Brackets and commas outside of strings."""
    at, inside = 0, False
    while at < len(text):
        end = min(at + CHUNK_BYTES, len(text))
        if text[end - 1 : end] == b"\\":  # an escape is not cut in two
            match = _END_OF_ESCAPES.match(text, end)
            end = match.end() if match else end
        pieces = text[at:end].replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')
        yield b"".join(pieces[inside::2]).translate(None, _OTHERS)
        inside ^= not len(pieces) % 2
        at = end
