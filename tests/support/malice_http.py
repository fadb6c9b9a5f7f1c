"""Answers whose framing is made to hurt: what an HTTP server, or who stands between, may send."""

from __future__ import annotations

from collections.abc import Iterator

LENGTHS = (
    b"-1", b"+2", b"0x2", b"2.0", b"2, 2", b"2, 3", b"", b" 2 ", b"2 2", b"9" * 30, b"\x00", b"1e1",
    b"18446744073709551618", b"\xd9\xa2", b"two", b"2;", b"02", b"99999999999",
)  # fmt: skip
CODINGS = (
    b"chunked, chunked", b"gzip, chunked", b"chunked, gzip", b"xchunked", b"identity", b"",
    b"Chunked", b"chunked;q=1", b"\x0bchunked", b"chunked\x00", b"chunked, identity", b"deflate",
)  # fmt: skip
SIZES = (
    b"-1", b"+2", b"0x2", b"", b" 2", b"2 ", b"g", b"f" * 16, b"f" * 17, b"1" * 5_000, b"00000002",
    b"2;", b"2;a", b'2;a="\r', b"2" + b";a=b" * 20_000, b"2" + b" " * 5_000, b"\x002", b"2\n",
)  # fmt: skip
STATUS = (
    b"HTTP/1.1 000 OK", b"HTTP/1.1 99 OK", b"HTTP/1.1 999 OK", b"HTTP/1.1 1000 OK", b"HTTP/9.9 200",
    b"HTTP/0.9 200 OK", b"HTTP/1.0 200 OK", b"HTTP/2 200", b"http/1.1 200 OK", b"ICY 200 OK",
    b"HTTP/1.1  200 OK", b"HTTP/1.1 200", b"HTTP/1.1 -20 OK", b"HTTP/1.1 20x OK", b"200 OK",
    b"HTTP/1.1 200 " + b"O" * 300_000, b"HTTP/1.1 200 \x00\xff", b"<html>",
    b"\x16\x03\x01\x02\x00\x01",
    b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1 204 None", b"HTTP/1.1 205 Reset",
    b"HTTP/1.1 206 Partial", b"HTTP/1.1 304 Same", b"HTTP/1.1 300 Many", b"HTTP/1.1 407 Proxy",
)  # fmt: skip
FIELDS = (
    b"no colon", b": no name", b"a : b", b" a: b", b"a\x00: b", b"a: b\x00c", b"a: b\rc: d",
    b"a: b\nc: d", b"\xff: b", b"a: \xff\xfe", b"a: b\r\n c\r\n\td", b"a\xc2\xa0: b", b"(a): b",
    b"location: //evil.example.org/", b"retry-after: " + b"9" * 400, b"date: " + b"9" * 400,
    b'etag: "' + b"x" * 50_000 + b'"', b'etag: "a"b"', b'etag: W/"\xff"',
    b"x-pypi-last-serial: 99999999999999999999999", b"x-pypi-last-serial: -1",
    b"x-pypi-last-serial: \xd9\xa7", b"content-encoding: br", b"content-encoding: gzip, gzip",
    b"content-encoding: " + b"gzip, " * 1_000 + b"gzip", b"connection: close, close",
    b"connection: upgrade\r\nupgrade: h2c", b"trailer: content-length", b"set-cookie: a=b",
    b"content-type: text/html; charset=utf-7", b"content-range: bytes 0-1/9",
)  # fmt: skip
GOOD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = GOOD + b"transfer-encoding: chunked\r\n"
TWO = b"content-length: 2\r\n\r\n{}"
SECOND = b"GET /second HTTP/1.1\r\nhost: localhost\r\n\r\n"


def answers() -> Iterator[tuple[str, bytes]]:
    """A name each, and all that comes on the connection."""
    for number, value in enumerate(LENGTHS):
        yield f"length {number}", GOOD + b"content-length: %b\r\n\r\n{}" % value
        yield f"two lengths {number}", GOOD + b"content-length: %b\r\n" % value + TWO
        both = b"content-length: %b\r\n\r\n2\r\n{}\r\n0\r\n\r\n" % value
        yield f"chunks and length {number}", CHUNKED + both
        trailer = b"\r\n2\r\n{}\r\n0\r\ncontent-length: %b\r\n\r\n" % value
        yield f"a length in a trailer {number}", CHUNKED + trailer
    for number, value in enumerate(CODINGS):
        yield f"coding {number}", GOOD + b"transfer-encoding: %b\r\n" % value + TWO
        chunks = b"transfer-encoding: %b\r\n\r\n2\r\n{}\r\n0\r\n\r\n" % value
        yield f"coding of chunks {number}", GOOD + chunks
        yield f"second coding {number}", CHUNKED + chunks
        yield f"coding in HTTP/1.0 {number}", b"HTTP/1.0 200 OK\r\n" + chunks
    for number, value in enumerate(SIZES):
        yield f"chunk {number}", CHUNKED + b"\r\n%b\r\n{}\r\n0\r\n\r\n" % value
        yield f"second chunk {number}", CHUNKED + b"\r\n2\r\n{}\r\n%b\r\n{}\r\n" % value
        yield f"chunk with bare ends {number}", CHUNKED + b"\r\n%b\n{}\n0\n\n" % value
    for number, value in enumerate(STATUS):
        yield f"status {number}", value + b"\r\n" + TWO
        yield f"second status {number}", GOOD + TWO + value + b"\r\n" + TWO
        yield f"status after 100 {number}", b"HTTP/1.1 100 Go\r\n\r\n" + value + b"\r\n" + TWO
    for number, value in enumerate(FIELDS):
        yield f"field {number}", GOOD + value + b"\r\n" + TWO
        yield f"field of a redirect {number}", b"HTTP/1.1 302 There\r\n%b\r\n" % value + TWO
        yield f"field of a refusal {number}", b"HTTP/1.1 429 Slow\r\n%b\r\n" % value + TWO
        yield f"field in a trailer {number}", CHUNKED + b"\r\n2\r\n{}\r\n0\r\n%b\r\n\r\n" % value
    yield from floods()


def floods() -> Iterator[tuple[str, bytes]]:
    """Much of one thing, with and without an end."""
    for count in (100, 10_000, 100_000):
        for end, name in ((b"", "open"), (TWO, "whole")):
            yield f"{count} fields {name}", GOOD + b"a: b\r\n" * count + end
            yield f"{count} folds {name}", GOOD + b"a: b\r\n" + b" c\r\n" * count + end
            yield f"a field of {count} {name}", GOOD + b"a: " + b"b" * count + b"\r\n" + end
            yield f"a field's name of {count} {name}", GOOD + b"a" * count + b": b\r\n" + end
            yield f"{count} line ends {name}", b"\r\n" * count + GOOD + end
            yield f"{count} bare ends {name}", GOOD + b"a: b\n" * count + end
        last = b"0\r\n\r\n"
        yield f"{count} chunks", CHUNKED + b"\r\n" + b"1\r\n1\r\n" * count + last
        yield f"{count} open chunks", CHUNKED + b"\r\n" + b"1\r\n1\r\n" * count
        yield f"{count} extended chunks", CHUNKED + b"\r\n" + b"1;a=b\r\n1\r\n" * count + last
        yield f"an extension of {count}", CHUNKED + b"\r\n1;" + b"a" * count + b"\r\n1\r\n" + last
        yield f"{count} trailers", CHUNKED + b"\r\n0\r\n" + b"a: b\r\n" * count + b"\r\n"
        yield f"{count} open trailers", CHUNKED + b"\r\n0\r\n" + b"a: b\r\n" * count
        yield f"{count} answers", (GOOD + TWO) * count
    for count in (1, 100, 20_000):
        for status in (100, 102, 103, 199):
            storm = b"HTTP/1.1 %d Wait\r\n\r\n" % status * count
            yield f"{count} times {status}", storm + GOOD + TWO
            yield f"{count} times {status} and no more", storm
    hints = b"HTTP/1.1 103 Early\r\n" + b"link: x\r\n" * 500 + b"\r\n"
    yield "hints", hints * 100 + GOOD + TWO


def requests() -> Iterator[tuple[str, bytes]]:
    """The same, asked of a server: a name each, and all that a client sends on a connection."""
    ask = b"POST /echo HTTP/1.1\r\nhost: localhost\r\n"
    chunked = ask + b"transfer-encoding: chunked\r\n"
    for number, value in enumerate(LENGTHS):
        yield f"length {number}", ask + b"content-length: %b\r\n\r\n{}" % value
        yield f"two lengths {number}", ask + b"content-length: %b\r\n" % value + TWO + SECOND
        both = b"content-length: %b\r\n\r\n0\r\n\r\n" % value + SECOND
        yield f"chunks and length {number}", chunked + both
    for number, value in enumerate(CODINGS):
        yield f"coding {number}", ask + b"transfer-encoding: %b\r\n" % value + TWO + SECOND
        yield (
            f"second coding {number}",
            chunked + b"transfer-encoding: %b\r\n" % value + TWO + SECOND,
        )
    for number, value in enumerate(SIZES):
        yield f"chunk {number}", chunked + b"\r\n%b\r\n{}\r\n0\r\n\r\n" % value
        yield f"chunk with bare ends {number}", chunked + b"\r\n%b\n{}\n0\n\n" % value
    for number, value in enumerate(FIELDS):
        yield f"field {number}", ask + value + b"\r\n" + TWO
        yield f"field in a trailer {number}", chunked + b"\r\n2\r\n{}\r\n0\r\n%b\r\n\r\n" % value
    for count in (100, 10_000, 100_000):
        for end, name in ((b"", "open"), (TWO, "whole")):
            yield f"{count} fields {name}", ask + b"a: b\r\n" * count + end
            yield f"{count} folds {name}", ask + b"a: b\r\n" + b" c\r\n" * count + end
            yield f"{count} line ends {name}", b"\r\n" * count + ask + end
        last = b"0\r\n\r\n"
        yield f"{count} chunks", chunked + b"\r\n" + b"1\r\n1\r\n" * count + last
        yield f"{count} extended chunks", chunked + b"\r\n" + b"1;a=b\r\n1\r\n" * count + last
        yield f"an extension of {count}", chunked + b"\r\n1;" + b"a" * count + b"\r\n1\r\n" + last
        yield f"{count} trailers", chunked + b"\r\n0\r\n" + b"a: b\r\n" * count + b"\r\n"
