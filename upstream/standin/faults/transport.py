"""Connections that misbehave: lengths, cuts, resets, slowness."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct

from upstream.standin.faults.registry import Hit, fault_kind
from upstream.standin.http_types import OK, Answer, Exchange

CUT_FROM_BYTES = 2  # less cannot be cut
HANG_SECONDS_MAX = 3600.0  # nobody waits longer; a forgotten connection ends some time
_LINGER_NONE = struct.pack("ii", 1, 0)  # closing then sends a reset instead of the rest


def head_bytes(answer: Answer, length: int | None) -> bytes:
    """Status line and headers as they go on the wire; `length` None leaves the length out."""
    lines = [b"HTTP/1.1 %d %s" % (answer.status, b"OK" if answer.status == OK else b"Error")]
    lines.extend(name + b": " + value for name, value in answer.headers)
    if length is not None:
        lines.append(b"content-length: %d" % length)
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def until_gone(exchange: Exchange, seconds: float = HANG_SECONDS_MAX) -> None:
    """Wait until the client has gone away (or for `seconds`)."""

    async def gone() -> None:
        while (await exchange.receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(gone(), seconds)
    except TimeoutError:
        if exchange.transport is not None:
            exchange.transport.abort()


async def raw(exchange: Exchange, data: bytes, *, reset: bool = False) -> None:
    """Write these bytes instead of an answer, then close, by a reset if wanted."""
    transport = exchange.transport
    if transport is None:
        message = "this fault needs a real connection"
        raise ConnectionResetError(message)
    if data:
        transport.write(data)
    if reset:
        # What is still buffered must be on the wire first: a reset throws it away.
        while transport.get_write_buffer_size() and not transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # a transport has no event for this
        found = transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        transport.abort()
    else:
        transport.close()
    await until_gone(exchange)


def _cut(hit: Hit, *, gzip_body: bool | None = None) -> tuple[Answer, int] | None:
    answer = hit.full(gzip=gzip_body)
    if answer is None or len(answer.body) < CUT_FROM_BYTES:
        return None
    return answer, max(1, int(len(answer.body) * hit.param("keep")))


@fault_kind("wrong-length-short", raw=True, by=10)
def wrong_length_short(hit: Hit) -> Answer | None:
    """Content-Length announces `by` bytes fewer than are sent."""
    answer = hit.full()
    if answer is None:
        return None

    async def deliver(exchange: Exchange, answer: Answer) -> None:
        length = max(0, len(answer.body) - hit.param("by"))
        await raw(exchange, head_bytes(answer, length) + answer.body)

    answer.deliver = deliver
    return answer


@fault_kind("wrong-length-long", raw=True, by=10)
def wrong_length_long(hit: Hit) -> Answer | None:
    """Content-Length announces `by` bytes more than are sent; then the connection closes."""
    answer = hit.full()
    if answer is None:
        return None

    async def deliver(exchange: Exchange, answer: Answer) -> None:
        await raw(exchange, head_bytes(answer, len(answer.body) + hit.param("by")) + answer.body)

    answer.deliver = deliver
    return answer


@fault_kind("truncated-body", raw=True, keep=0.5)
def truncated_body(hit: Hit) -> Answer | None:
    """The connection closes after a share (`keep`) of the announced body."""
    cut = _cut(hit)
    if cut is None:
        return None
    answer, keep = cut

    async def deliver(exchange: Exchange, answer: Answer) -> None:
        await raw(exchange, head_bytes(answer, len(answer.body)) + answer.body[:keep])

    answer.deliver = deliver
    return answer


@fault_kind("truncated-identity", raw=True, keep=0.5)
def truncated_identity(hit: Hit) -> Answer | None:
    """No Content-Length, no chunks, not compressed: the body ends where the connection does."""
    cut = _cut(hit, gzip_body=False)
    if cut is None:
        return None
    answer, keep = cut

    async def deliver(exchange: Exchange, answer: Answer) -> None:
        head = head_bytes(answer, None).removesuffix(b"\r\n") + b"connection: close\r\n\r\n"
        await raw(exchange, head + answer.body[:keep])

    answer.deliver = deliver
    return answer


@fault_kind("truncated-chunks", raw=True, keep=0.5)
def truncated_chunks(hit: Hit) -> Answer | None:
    """A chunked body without its last chunk."""
    cut = _cut(hit)
    if cut is None:
        return None
    answer, keep = cut
    answer.headers.append((b"transfer-encoding", b"chunked"))

    async def deliver(exchange: Exchange, answer: Answer) -> None:
        chunk = b"%x\r\n%s\r\n" % (keep, answer.body[:keep])
        await raw(exchange, head_bytes(answer, None) + chunk)

    answer.deliver = deliver
    return answer


@fault_kind("truncated-gzip", keep=0.5)
def truncated_gzip(hit: Hit) -> Answer | None:
    """A gzip stream cut short, with the Content-Length of what is left."""
    answer = _gzipped(hit)
    if answer is not None:
        answer.body = answer.body[: max(11, int(len(answer.body) * hit.param("keep")))]
    return answer


@fault_kind("truncated-text", keep=0.5)
def truncated_text(hit: Hit) -> Answer | None:
    """An uncompressed body cut short, with the Content-Length of what is left."""
    cut = _cut(hit, gzip_body=False)
    if cut is None:
        return None
    answer, keep = cut
    answer.body = answer.body[:keep]
    return answer


def _gzipped(hit: Hit) -> Answer | None:
    answer = hit.full(gzip=False)
    if answer is not None:
        answer.body = gzip.compress(answer.body, 1, mtime=0)
        answer.replace_header(b"content-encoding", b"gzip")
    return answer


@fault_kind("gzip-without-trailer")
def gzip_without_trailer(hit: Hit) -> Answer | None:
    """The last eight bytes of the gzip stream (checksum and length) are missing."""
    answer = _gzipped(hit)
    if answer is not None:
        answer.body = answer.body[:-8]
    return answer


@fault_kind("gzip-with-garbage")
def gzip_with_garbage(hit: Hit) -> Answer | None:
    """Bytes that are no gzip follow the gzip stream."""
    answer = _gzipped(hit)
    if answer is not None:
        answer.body += b"garbage after the end"
    return answer


@fault_kind("bad-gzip")
def bad_gzip(hit: Hit) -> Answer | None:
    """Bytes in the middle of the gzip stream are flipped."""
    answer = _gzipped(hit)
    if answer is not None:
        middle = len(answer.body) // 2
        flipped = bytes(byte ^ 0xA5 for byte in answer.body[middle : middle + 8])
        answer.body = answer.body[:middle] + flipped + answer.body[middle + 8 :]
    return answer


@fault_kind("not-gzip")
def not_gzip(hit: Hit) -> Answer | None:
    """Content-Encoding says gzip, the body is not compressed."""
    answer = hit.full(gzip=False)
    if answer is not None:
        answer.replace_header(b"content-encoding", b"gzip")
    return answer


@fault_kind("drip", bytes_per_second=100.0)
def drip(hit: Hit) -> Answer | None:
    """The body comes at `bytes_per_second`."""
    answer = hit.full()
    if answer is None:
        return None
    pause = 0.1
    step = max(1, int(hit.param("bytes_per_second") * pause))

    async def deliver(exchange: Exchange, answer: Answer) -> None:
        headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
        await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
        for place in range(0, len(answer.body), step):
            if exchange.transport is not None and exchange.transport.is_closing():
                return
            part = answer.body[place : place + step]
            more = place + step < len(answer.body)
            await exchange.send({"type": "http.response.body", "body": part, "more_body": more})
            await asyncio.sleep(pause)

    answer.deliver = deliver
    return answer


@fault_kind("hang", hang_seconds=HANG_SECONDS_MAX)
def hang(hit: Hit) -> Answer | None:
    """The request is taken and never answered."""

    async def deliver(exchange: Exchange, answer: Answer) -> None:
        del answer
        await until_gone(exchange, hit.param("hang_seconds"))

    return Answer(0, deliver=deliver)


@fault_kind("hang-in-body", hang_seconds=HANG_SECONDS_MAX)
def hang_in_body(hit: Hit) -> Answer | None:
    """Half of the body comes, then nothing."""
    answer = hit.full()
    if answer is None:
        return None

    async def deliver(exchange: Exchange, answer: Answer) -> None:
        headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
        await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
        half = answer.body[: len(answer.body) // 2]
        await exchange.send({"type": "http.response.body", "body": half, "more_body": True})
        await until_gone(exchange, hit.param("hang_seconds"))

    answer.deliver = deliver
    return answer


@fault_kind("reset", raw=True)
def reset(hit: Hit) -> Answer | None:
    """The connection is reset instead of an answer."""
    del hit

    async def deliver(exchange: Exchange, answer: Answer) -> None:
        del answer
        await raw(exchange, b"", reset=True)

    return Answer(0, deliver=deliver)


@fault_kind("reset-in-body", raw=True, keep=0.5)
def reset_in_body(hit: Hit) -> Answer | None:
    """The connection is reset after a share (`keep`) of the body."""
    cut = _cut(hit)
    if cut is None:
        return None
    answer, keep = cut

    async def deliver(exchange: Exchange, answer: Answer) -> None:
        data = head_bytes(answer, len(answer.body)) + answer.body[:keep]
        await raw(exchange, data, reset=True)

    answer.deliver = deliver
    return answer


@fault_kind("close", raw=True)
def close(hit: Hit) -> Answer | None:
    """The connection is closed instead of an answer, as a kept-alive one may be at any time."""
    del hit

    async def deliver(exchange: Exchange, answer: Answer) -> None:
        del answer
        await raw(exchange, b"")

    return Answer(0, deliver=deliver)


@fault_kind("not-http", raw=True)
def not_http(hit: Hit) -> Answer | None:
    """Bytes that are no HTTP at all."""
    del hit

    async def deliver(exchange: Exchange, answer: Answer) -> None:
        del answer
        await raw(exchange, b"\x16\x03\x01 hello, this is another protocol\r\n\r\n")

    return Answer(0, deliver=deliver)


@fault_kind("huge-headers", raw=True, header_bytes=200_000)
def huge_headers(hit: Hit) -> Answer | None:
    """A header of `header_bytes` bytes."""
    answer = hit.full()
    if answer is None:
        return None

    async def deliver(exchange: Exchange, answer: Answer) -> None:
        answer.headers.append((b"x-large", b"x" * hit.param("header_bytes")))
        await raw(exchange, head_bytes(answer, len(answer.body)) + answer.body)

    answer.deliver = deliver
    return answer
