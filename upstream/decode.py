"""Unpacks bodies while they are read, within limits. Pure: bytes in, bytes or an error out.

httpx's own decoding turns 2 KB into 1 GiB within one chunk, and accepts a truncated gzip stream. So
this accepts only gzip (RFC 1952) or no encoding: one member, unpacked in small steps, its trailer
(CRC and length) required, nothing after it.
"""

from __future__ import annotations

import zlib
from io import BytesIO

from schemas.errors import BrokenBody, OversizedBody
from upstream.settings import KIB, BodyLimits

STEP_BYTES = 64 * KIB  # the most that one step unpacks before the limits are checked
_GZIP_ONLY = 31  # zlib's window bits: 15 of window, 16 for a gzip header
_IDENTITY = ("", "identity")
_GZIP = ("gzip", "x-gzip")


class BodyDecoder:
    """Takes an answer's bytes as they come. Raises BrokenBody or OversizedBody."""

    def __init__(
        self, limits: BodyLimits, content_encoding: str = "", content_length: str | None = None
    ) -> None:
        encoding = content_encoding.strip().lower()
        if encoding not in _IDENTITY and encoding not in _GZIP:
            raise BrokenBody(
                f"answer is encoded as {content_encoding[:40]!r}, not as gzip or plain"
            )
        self._limits = limits
        self._zlib = zlib.decompressobj(_GZIP_ONLY) if encoding in _GZIP else None
        self._announced = _length(content_length)
        self.raw = 0  # bytes taken so far
        self._decoded = 0
        self._first = b""  # most bodies are one part
        self._rest: BytesIO | None = None
        if self._announced is not None and self._announced > limits.raw_bytes_max:
            raise _oversized(self._announced, "announced", limits.raw_bytes_max)

    def feed(self, chunk: bytes) -> int:
        """Take one chunk; returns how many bytes the body has grown by."""
        self.raw += len(chunk)
        if self.raw > self._limits.raw_bytes_max:
            raise _oversized(self.raw, "received", self._limits.raw_bytes_max)
        before = self._decoded
        if self._zlib is None:
            self._keep(chunk)
        else:
            self._unpack(self._zlib, chunk)
        return self._decoded - before

    def finish(self) -> bytes:
        """The whole body. Raises BrokenBody: shorter or longer than announced, or truncated."""
        if self._announced is not None and self.raw != self._announced:
            raise BrokenBody(f"body has {self.raw} bytes, {self._announced} were announced")
        if self._zlib is not None and not self._zlib.eof:
            raise BrokenBody(f"gzip stream ends early, after {self.raw} bytes")
        if self._rest is None:
            return self._first
        # Not joined from parts: an index's 40 MB were there twice then, and half was never freed.
        whole, self._rest = self._rest.getvalue(), None
        return whole

    def _unpack(self, stream: zlib._Decompress, chunk: bytes) -> None:
        while chunk:
            if stream.eof:
                raise BrokenBody("bytes follow the gzip stream")
            try:
                part = stream.decompress(chunk, STEP_BYTES)
            except zlib.error as error:
                raise BrokenBody(f"gzip stream is damaged: {error}") from None
            if part:
                self._keep(part)
            chunk = stream.unconsumed_tail or stream.unused_data

    def _keep(self, part: bytes) -> None:
        if self._rest is not None:
            self._rest.write(part)
        elif not self._first:
            self._first = part
        else:
            self._rest = BytesIO()
            self._rest.write(self._first)
            self._rest.write(part)
            self._first = b""
        self._decoded += len(part)
        limits = self._limits
        if self._decoded > limits.decoded_bytes_max:
            raise _oversized(self._decoded, "unpacked", limits.decoded_bytes_max)
        if self._decoded > limits.ratio_after_bytes and (
            self._decoded > self.raw * limits.ratio_max
        ):
            raise OversizedBody(
                f"{self.raw} bytes unpack to more than {limits.ratio_max} times as many",
                bytes_seen=self._decoded,
            )


def _length(content_length: str | None) -> int | None:
    # The HTTP parser has dealt with anything but digits (such as a list of equal lengths).
    if content_length is None or not (content_length.isascii() and content_length.isdigit()):
        return None
    return int(content_length[:19])


def _oversized(count: int, how: str, limit: int) -> OversizedBody:
    return OversizedBody(f"{count} bytes {how}, the limit is {limit}", bytes_seen=count)
