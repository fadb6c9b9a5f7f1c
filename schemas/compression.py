"""The one door to zstd."""

from __future__ import annotations

import zstandard

from schemas.errors import DumpCorrupt

FRAME_BYTES_MAX = 64 * 1024 * 1024  # decompressed size of one frame that we accept
WINDOW_BYTES_MAX = 8 * 1024 * 1024  # what a reader must hold for one of our frames

_compressors: dict[int, zstandard.ZstdCompressor] = {}


def compress(raw: bytes, level: int) -> bytes:
    """One whole frame with checksum and content size. Not for use by several threads at once."""
    compressor = _compressors.get(level)
    if compressor is None:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level, write_checksum=True, write_content_size=True
        )
        compressor = _compressors[level] = zstandard.ZstdCompressor(compression_params=parameters)
    return compressor.compress(raw)


def decompress(frame: bytes) -> bytes:
    """One whole frame that names its size; raises DumpCorrupt if damaged, cut, or over the limit."""
    try:
        size = zstandard.frame_content_size(frame)
        if not 0 <= size <= FRAME_BYTES_MAX:
            raise DumpCorrupt(f"a zstd frame announces {size} bytes; the limit is {FRAME_BYTES_MAX}")
        return zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX).decompress(frame)
    except zstandard.ZstdError as error:
        raise DumpCorrupt(f"a zstd frame cannot be read: {error}") from error
