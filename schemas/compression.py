"""The only module that uses zstd: frames with checksum and content size (RFC 8878, section 3).

The one-shot calls of Python's binding stop after the first frame, and its streams end without an
error on truncated input. So frames are parsed here, block by block, to the last byte.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import zstandard

from schemas.errors import DumpCorrupt

FRAME_BYTES_MAX = 64 * 1024 * 1024  # decompressed size of one frame that we accept
WINDOW_BYTES_MAX = 8 * 1024 * 1024  # what a reader must hold for one of our frames
COMPRESS_THREADS = 2  # of a call for many frames: reading and writing go on meanwhile
COMPRESS_TOGETHER_MIN = 64  # a smaller total is done before threads have started
FRAME_BYTES_TARGET = 16 * 1024 * 1024  # longer texts become several frames: less memory to read

# Of JSON in frames of some 100 KB, matches of fewer than six bytes cost more than they save, and
# tables larger than a frame needs cost time alone. Measured with frames of 128 documents, beside
# one stream of all of them at plain level 5 (`make bench-dump`): level 5 in plain frames is 1.3 %
# more; so tuned, without looking for a better match one byte further on, 1.4 % less in 0.86 of the
# frames' time (with that look it is 3.5 % less, and 1.06). Level 4, tuned, is 0.7 % less than plain
# level 3 in 0.87 of its time.
_TUNED = {
    5: {
        "strategy": zstandard.STRATEGY_GREEDY,
        "search_log": 4,
        "min_match": 6,
        "hash_log": 17,
        "chain_log": 17,
    },
    4: {
        "strategy": zstandard.STRATEGY_DFAST,
        "min_match": 6,
        "hash_log": 15,
        "chain_log": 15,
    },
}

_MAGIC = b"\x28\xb5\x2f\xfd"
_HEADER_BYTES_MIN = 6  # magic, descriptor, and one byte of window or content size
_BLOCK_HEADER_BYTES = 3
_CHECKSUM_BYTES = 4
_RLE_BLOCK, _RESERVED_BLOCK = 1, 3


class _Contexts(threading.local):
    """A zstd context per thread: they must not be shared, and cost more to make than a frame."""

    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX)


_contexts = _Contexts()


def compress(raw: bytes, level: int) -> bytes:
    """One whole frame with checksum and content size."""
    return _compressor(level).compress(raw)


def _compressor(level: int) -> zstandard.ZstdCompressor:
    """The compressor of this thread."""
    compressor = _contexts.compressors.get(level)
    if compressor is None:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level, write_checksum=True, write_content_size=True, **_TUNED.get(level, {})
        )
        compressor = zstandard.ZstdCompressor(compression_params=parameters)
        _contexts.compressors[level] = compressor
    return compressor


def compress_many(raws: Sequence[bytes], level: int) -> list[bytes]:
    """Compress each as `compress` does, in COMPRESS_THREADS threads and without holding the GIL."""
    if len(raws) < COMPRESS_TOGETHER_MIN:
        return [compress(raw, level) for raw in raws]
    return _compressed(raws, level, COMPRESS_THREADS)


def _compressed(raws: Sequence[bytes], level: int, threads: int) -> list[bytes]:
    """Compress each to one frame; the GIL is taken once."""
    made = _compressor(level).multi_compress_to_buffer(list(raws), threads=threads)
    return [made[index].tobytes() for index in range(len(made))]


def compress_frames(raw: bytes, level: int) -> bytes:
    """As many frames as `raw` needs, each of at most FRAME_BYTES_TARGET bytes of it, cut anywhere.

    An empty `raw` gives one frame of no bytes, since an empty file is no zstd file.
    """
    if len(raw) <= FRAME_BYTES_TARGET:
        return compress(raw, level)
    view = memoryview(raw)
    return b"".join(
        compress(bytes(view[start : start + FRAME_BYTES_TARGET]), level)
        for start in range(0, len(raw), FRAME_BYTES_TARGET)
    )


def compress_together(raws: Sequence[bytes], level: int) -> list[bytes]:
    """Compress each as `compress_frames` does, in this thread, which takes the GIL once.

    If it took the GIL after each frame, a busy thread could delay it by as much as the frame took.
    """
    if len(raws) <= 1 or not all(0 < len(raw) <= FRAME_BYTES_TARGET for raw in raws):
        return [compress_frames(raw, level) for raw in raws]
    return _compressed(raws, level, threads=1)


def decompress(frame: bytes) -> bytes:
    """The content of one frame that states its size.

    Raises DumpCorrupt: damaged, cut, over the limit.
    """
    try:
        size = zstandard.frame_content_size(frame)
        if not 0 <= size <= FRAME_BYTES_MAX:
            raise DumpCorrupt(
                f"a zstd frame announces {size} bytes; the limit is {FRAME_BYTES_MAX}"
            )
        return _contexts.decompressor.decompress(frame)
    except zstandard.ZstdError as error:
        raise DumpCorrupt(f"a zstd frame cannot be read: {error}") from error


def read_frames(file: BinaryIO) -> Iterator[bytes]:
    """Decompressed frames from the file's position to its end, at most FRAME_BYTES_MAX each.

    Raises DumpCorrupt for a file that ends within a frame (a cut download), for anything that is
    not a frame, and for a frame without checksum or content size: it could not be verified.
    """
    while head := file.read(_HEADER_BYTES_MIN):
        yield decompress(_rest_of_frame(file, head))


def _rest_of_frame(file: BinaryIO, head: bytes) -> bytes:
    """The compressed frame that begins with `head`, found by walking its blocks."""
    if len(head) < _HEADER_BYTES_MIN or not head.startswith(_MAGIC):
        raise DumpCorrupt("not a zstd frame where one should begin")
    try:
        head += _exactly(file, zstandard.frame_header_size(head) - len(head))
        parameters = zstandard.get_frame_parameters(head)
    except zstandard.ZstdError as error:
        raise DumpCorrupt(f"a zstd frame's header cannot be read: {error}") from error
    if not parameters.has_checksum or parameters.content_size > FRAME_BYTES_MAX:
        raise DumpCorrupt("a zstd frame without checksum or size, or over the limit")
    parts, taken = [head], len(head)
    while True:
        block = _exactly(file, _BLOCK_HEADER_BYTES)
        parts.append(block)
        header = int.from_bytes(block, "little")
        kind, size = header >> 1 & 3, header >> 3
        if kind == _RESERVED_BLOCK:
            raise DumpCorrupt("a zstd frame holds a block of a reserved kind")
        parts.append(_exactly(file, 1 if kind == _RLE_BLOCK else size))
        taken += len(block) + len(parts[-1])
        if taken > FRAME_BYTES_MAX + WINDOW_BYTES_MAX:  # incompressible blocks and their headers
            raise DumpCorrupt("a zstd frame is longer than any of ours")
        if header & 1:
            parts.append(_exactly(file, _CHECKSUM_BYTES))
            return b"".join(parts)


def _exactly(file: BinaryIO, size: int) -> bytes:
    piece = file.read(size)
    if len(piece) < size:
        raise DumpCorrupt("the file ends within a zstd frame: it was cut short")
    return piece
