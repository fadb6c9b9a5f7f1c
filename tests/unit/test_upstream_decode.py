"""Bodies: whole ones come out as they went in, all others are errors, and none is ever large."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BrokenBody, OversizedBody
from upstream.decode import BodyDecoder
from upstream.settings import MIB, BodyLimits
from upstream.standin.faults.content import bomb

DEFAULT = BodyLimits()
TEXT = b'{"info": {"name": "demo"}}' * 400
PACKED = gzip.compress(TEXT, mtime=0)


def decode(
    chunks: list[bytes],
    encoding: str = "gzip",
    length: str | None = None,
    limits: BodyLimits = DEFAULT,
) -> bytes:
    decoder = BodyDecoder(limits, encoding, length)
    for chunk in chunks:
        decoder.feed(chunk)
    return decoder.finish()


@given(body=st.binary(max_size=300_000), data=st.data(), packed=st.booleans())
def test_a_whole_body_comes_out_as_it_went_in(
    body: bytes, data: st.DataObject, packed: bool
) -> None:
    """However it is cut into chunks; `feed` tells how many bytes it has grown by."""
    raw = gzip.compress(body) if packed else body
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    chunks = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    decoder = BodyDecoder(BodyLimits(), "gzip" if packed else "", str(len(raw)))

    grown = sum(decoder.feed(chunk) for chunk in chunks)

    assert decoder.finish() == body
    assert grown == len(body)


def test_a_body_larger_than_many_steps_comes_out_whole() -> None:
    """Eight MiB that pack well: every step leaves output behind for the next."""
    body = random.Random(1).randbytes(1024) * 8192

    assert decode([gzip.compress(body)], limits=BodyLimits(ratio_max=2_000)) == body


def test_a_gzip_stream_cut_anywhere_is_an_error() -> None:
    """Also inside its header and its trailer, and also when the length announced agrees."""
    for end in range(len(PACKED)):
        with pytest.raises(BrokenBody):
            decode([PACKED[:end]], length=str(end))


@pytest.mark.parametrize(
    "raw",
    [
        PACKED + b"x",
        PACKED + b"\0" * 8,
        PACKED + PACKED,  # a second member
        PACKED[:-8] + b"\0" * 8,  # another checksum
        PACKED[:30] + bytes([PACKED[30] ^ 0xA5]) + PACKED[31:],
        TEXT,  # not packed at all
        zlib.compress(TEXT),  # deflate
        gzip.compress(PACKED) + PACKED,
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_a_damaged_gzip_stream_is_an_error(raw: bytes, size: int) -> None:
    """Whatever the chunks."""
    with pytest.raises(BrokenBody):
        decode([raw[n : n + size] for n in range(0, len(raw), size)])


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip", "gzip, br", "x"])
def test_only_gzip_and_plain_are_taken(encoding: str) -> None:
    """An encoding that was not asked for is refused unread."""
    with pytest.raises(BrokenBody, match="encoded as"):
        BodyDecoder(BodyLimits(), encoding)


@pytest.mark.parametrize("encoding", ["", "identity", "Identity ", "gzip", "GZIP", "x-gzip"])
def test_the_names_of_gzip_and_plain(encoding: str) -> None:
    """In any case, as RFC 9110 says."""
    raw = PACKED if "gzip" in encoding.lower() else TEXT

    assert decode([raw], encoding) == TEXT


@pytest.mark.parametrize("announced", [len(TEXT) - 1, len(TEXT) + 1, 0])
def test_another_length_than_announced_is_an_error(announced: int) -> None:
    """Shorter or longer."""
    with pytest.raises(BrokenBody, match="announced"):
        decode([TEXT], "", str(announced))


@pytest.mark.parametrize("length", [None, "", "soon", "12, 12", "-5"])
def test_a_length_that_is_no_number_is_none(length: str | None) -> None:
    """The HTTP parser has judged those already."""
    assert decode([TEXT], "", length) == TEXT


def test_a_body_announced_too_long_is_refused_unread() -> None:
    """Nothing is read of it."""
    with pytest.raises(OversizedBody) as caught:
        BodyDecoder(BodyLimits(raw_bytes_max=1000), "", "1001")

    assert caught.value.bytes_seen == 1001


def test_limits_are_inclusive() -> None:
    """Exactly so many bytes pass, one more does not."""
    limits = BodyLimits(raw_bytes_max=1000, decoded_bytes_max=1000)

    assert decode([b"x" * 1000], "", limits=limits) == b"x" * 1000
    with pytest.raises(OversizedBody):
        decode([b"x" * 1000, b"x"], "", limits=limits)
    with pytest.raises(OversizedBody):
        decode([gzip.compress(b"x" * 1001)], "gzip", limits=limits)


def test_ratio_counts_only_beyond_its_threshold() -> None:
    """A small body may pack as well as it likes."""
    limits = BodyLimits(ratio_max=10, ratio_after_bytes=100_000)

    assert decode([gzip.compress(b"a" * 100_000)], limits=limits) == b"a" * 100_000
    with pytest.raises(OversizedBody, match="10 times"):
        decode([gzip.compress(b"a" * 200_000)], limits=limits)


@pytest.mark.parametrize("chunk_size", [65_536, 4 * MIB])
def test_a_bomb_is_refused_early_and_small(chunk_size: int) -> None:
    """A quarter of a GiB in 256 KiB: refused within the memory of a few steps, long before."""
    whole = bomb(b"demo", 256)
    chunks = [whole[n : n + chunk_size] for n in range(0, len(whole), chunk_size)]

    tracemalloc.start()
    with pytest.raises(OversizedBody) as caught:
        decode(chunks)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 80 * MIB + len(whole)
    assert caught.value.bytes_seen < 32 * MIB
