"""The door to zstd: whole frames, a cut noticed, bounds kept."""

from __future__ import annotations

import io
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard

from schemas import compression
from schemas.compression import (
    COMPRESS_TOGETHER_MIN,
    compress,
    compress_frames,
    compress_many,
    compress_together,
    decompress,
    read_frames,
)
from schemas.errors import DumpCorrupt

TEXTS = (b"", b"x", b"abc" * 100, bytes(range(256)) * 2_000, b"\0" * 700_000)


def test_frames_come_back_one_by_one() -> None:
    joined = b"".join(compress(text, 3) for text in TEXTS)

    assert list(TEXTS) == list(read_frames(io.BytesIO(joined)))


def test_every_frame_names_its_size_has_a_checksum_and_a_small_window() -> None:
    for text in TEXTS:
        for level in (1, 3, 5):
            parameters = zstandard.get_frame_parameters(compress(text, level))

            assert len(text) == parameters.content_size
            assert parameters.has_checksum
            assert parameters.window_size <= compression.WINDOW_BYTES_MAX


def test_a_cut_anywhere_but_between_frames_is_noticed(seed: int) -> None:
    """Zstd's own streams end there without an error (half a file would pass for a whole one)."""
    noise = random.Random(seed).randbytes(3_000)
    frames = [compress(text, 3) for text in (b"abc" * 10, b"", noise, noise * 2)]
    joined = b"".join(frames)
    ends = {sum(map(len, frames[:n])) for n in range(len(frames) + 1)}

    for cut in range(len(joined)):
        if cut not in ends:
            with pytest.raises(DumpCorrupt):
                list(read_frames(io.BytesIO(joined[:cut])))


def test_a_flipped_bit_never_brings_other_bytes(seed: int) -> None:
    draw = random.Random(seed)
    texts = [draw.randbytes(200) + b"z" * 2_000, b"abc" * 500]
    joined = b"".join(compress(text, 3) for text in texts)
    for _ in range(1_000):
        damaged = bytearray(joined)
        place = draw.randrange(len(joined) * 8)
        damaged[place // 8] ^= 1 << place % 8
        try:
            read = list(read_frames(io.BytesIO(bytes(damaged))))
        except DumpCorrupt:
            continue
        assert texts == read  # a bit of the header that means nothing


def test_a_long_text_becomes_several_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "FRAME_BYTES_TARGET", 1_000)
    text = bytes(range(250)) * 10

    frames = list(read_frames(io.BytesIO(compress_frames(text, 3))))

    assert [1_000, 1_000, 500] == [len(frame) for frame in frames]
    assert text == b"".join(frames)
    assert [b""] == list(read_frames(io.BytesIO(compress_frames(b"", 3))))


@pytest.mark.parametrize(
    "frame",
    [
        zstandard.ZstdCompressor(write_checksum=False).compress(b"abc" * 100),
        zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compress(b"abc"),
        b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd",
        b'{"plain": "json"}',
    ],
    ids=["no-checksum", "no-size", "skippable", "no-zstd"],
)
def test_what_cannot_be_verified_is_refused(frame: bytes) -> None:
    with pytest.raises(DumpCorrupt):
        list(read_frames(io.BytesIO(frame)))


def test_a_small_frame_of_a_gigabyte_is_refused_unread() -> None:
    """A bomb: 100 kB that would become 1 GiB is refused by what it announces."""
    stream = zstandard.ZstdCompressor(write_checksum=True).compressobj(size=2**30)
    bomb = b"".join(stream.compress(b"\0" * 2**20) for _ in range(2**10)) + stream.flush()

    with pytest.raises(DumpCorrupt, match="over the limit"):
        list(read_frames(io.BytesIO(bomb)))
    with pytest.raises(DumpCorrupt, match="the limit is"):
        decompress(bomb)


def test_threads_compress_side_by_side() -> None:
    """Zstd's contexts must not be shared; the frames are the same as one thread's."""
    texts = [bytes([n % 256]) * 200_000 + bytes(range(256)) * n for n in range(64)]
    with ThreadPoolExecutor(4) as pool:
        frames = list(pool.map(lambda text: compress(text, 3), texts))

        assert [compress(text, 3) for text in texts] == frames
        assert texts == list(pool.map(decompress, frames))


@pytest.mark.parametrize("count", [0, 1, COMPRESS_TOGETHER_MIN, 3 * COMPRESS_TOGETHER_MIN])
def test_many_at_once_are_the_same_frames(count: int) -> None:
    """As one by one: with checksum and size, in their order."""
    raws = [bytes([number % 251]) * (600 + number) for number in range(count)]

    assert compress_many(raws, 1) == [compress(raw, 1) for raw in raws]


@pytest.mark.parametrize("sizes", [(), (700,), (700, 1_000, 3), (700, 1_001, 3), (3, 0, 2_500)])
def test_together_they_are_the_same_frames(
    sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text of several frames among them, or one of nothing, changes no other."""
    monkeypatch.setattr(compression, "FRAME_BYTES_TARGET", 1_000)
    raws = [bytes([number]) * size for number, size in enumerate(sizes)]

    assert compress_together(raws, 5) == [compress_frames(raw, 5) for raw in raws]
