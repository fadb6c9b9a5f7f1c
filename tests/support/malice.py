"""Documents made to hurt, each read within its limits: `make malice`.

python -m tests.support.malice: every document goes to every parser, and into every place of a JSON
document; what it takes of CPU and of memory beyond its own size is measured, each in turn.
"""

from __future__ import annotations

import functools
import gzip
import os
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from schemas.compression import compress
from tests.support import malice_large
from tests.support.kill_loop import apart
from tests.support.malice_http import answers
from tests.support.parsers import PARSERS, Parser, methods, outcome

MIB = 1 << 20
CPU_SECONDS_MAX = 1.0
EXTRA_BYTES_MAX = 64 * MIB
HEADROOM = 3.0  # a slow machine, and what the allocator keeps
JSON_PARSERS = ("document", "page", "state", "entry", "rows", "lines")
MARK = b'"@mark@"'


class Taken(NamedTuple):
    """The most that one document took: seconds of CPU, bytes of memory, and which it was."""

    documents: int
    seconds: float
    slowest: str
    extra: int
    largest: str


def texts() -> Iterator[tuple[str, bytes]]:
    """Bodies of no form at all."""
    for depth in (65, 255, 1_025, 20_000, 1_000_000):
        yield f"{depth} arrays", b"[" * depth + b"]" * depth
        yield f"{depth} objects", b'{"a":' * depth + b"1" + b"}" * depth
        yield f"{depth} open", b"[" * depth
        yield f"{depth} parentheses", b"a " + b"(" * depth + b")" * depth
    for count in (1_000, 30_000, 300_000):
        yield f"{count} empty arrays", b"[" + b"[]," * count + b"[]]"
        yield f"{count} numbers", b"[" + b"1," * count + b"1]"
        yield f"{count} keys", b"{" + b",".join(b'"%d":1' % n for n in range(count)) + b"}"
        yield f"{count} same keys", b"{" + b'"a":1,' * count + b'"a":1}'
        yield f"{count} digits", b"9" * count
        yield f"{count} letters", b"a" * count
        yield f"{count} separators", b"a" + b"-_." * count + b"a"
        yield f"{count} specifiers", b"a" + b",".join([b">=1"] * (count // 10))
        yield f"{count} extras", b"a[" + b",".join([b"x"] * (count // 10)) + b"]"
        yield f"{count} markers", b"a; " + b" and ".join([b"python_version>'3'"] * (count // 100))
        yield f"{count} dots", b"1" + b".1" * count
        yield f"{count} locals", b"1+" + b"a." * count + b"a"
        yield f"{count} spaces", b" " * count + b"1" + b" " * count
        yield f"{count} backslashes", b'"' + b"\\\\" * count + b'"'
        yield f"{count} line ends", b'{"a":1}' + b"\r\n" * count
    for size in (1, 4, 16):
        yield f"gzip of {size} MiB", gzip.compress(bytes(size * MIB), mtime=0)
        yield f"gzip of {size} MiB twice", gzip.compress(gzip.compress(bytes(size * MIB)), mtime=0)
        yield f"zstd of {size} MiB", compress(bytes(size * MIB), 3)
    yield "gzip of 1 GiB", gzip_bomb(1_024)
    yield "a frame that says 1 TiB", b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little")
    yield from small()
    yield from markup()


def gzip_bomb(mib: int) -> bytes:
    """So much of zeros as 1 MiB: each piece is packed alike, so one is packed and repeated."""
    stream, zeros, checksum = zlib.compressobj(9, zlib.DEFLATED, -15), bytes(MIB), 0
    piece = stream.compress(zeros) + stream.flush(zlib.Z_FULL_FLUSH)
    for _ in range(mib):
        checksum = zlib.crc32(zeros, checksum)
    trailer = struct.pack("<II", checksum, mib * MIB % (1 << 32))
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + piece * mib + stream.flush() + trailer


def small() -> Iterator[tuple[str, bytes]]:
    """What is short and odd."""
    odd = [
        b"", b"\x00", b"\xff", b"\xef\xbb\xbf{}", b"\xed\xa0\x80", b'"\\ud800"', b"NaN",
        b"-Infinity", b"1e999",
        b"-0", b"18446744073709551616", b"9" * 5_000, b'{"a":1}{', b"'", b"null", b"[]",
        b"../../etc/passwd", b"..", b".", b"a\n", "\u017fetuptools".encode(), b"K\xe2\x84\xaaelvin",
        b"1!" + b"9" * 4_301, b"1.0.dev" + b"9" * 500, b"v" * 300, b"2024.01.01rc", b"%00%2e%2e/",
        b"//evil.example.org/x", b"file:///etc/passwd", b"https://user@pypi.example.org/",
        b"http://[::1", b"Thu, 99 Jan 99999 99:99:99 GMT", b"999999999999999999999", b"-1",
        b"a @ https://files.example.org/a.whl ; x", b"a===\xff", b"a ; extra == '", b"a[", b"a>=",
        b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd\x04\x00", b"\x1f\x8b" * 4_000, "\u202e".encode(),
    ]  # fmt: skip
    for number, raw in enumerate(odd):
        yield f"odd {number}", raw


def ten(number: int) -> str:
    """References to one entity."""
    return f"&l{number};" * 10


def markup() -> Iterator[tuple[str, bytes]]:
    """XML-RPC that a library would follow to its end."""
    laughs = "".join(f'<!ENTITY l{n} "{ten(n - 1)}">' for n in range(1, 10))
    bomb = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "lol">{laughs}]>'
    yield "billion laughs", f"{bomb}<methodResponse>&l9;</methodResponse>".encode()
    outer = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    yield "external entity", f"{outer}<methodResponse>&e;</methodResponse>".encode()
    for depth in (9, 1_000, 100_000):
        opened = "<value><array><data>" * depth
        yield f"{depth} values", methods(opened + "</data></array></value>" * depth)
        yield f"{depth} open values", methods(opened)
    for count in (1_000, 60_000):
        row = "<value><array><data><value><string>a</string></value></data></array></value>"
        listed = f"<value><array><data>{row * count}</data></array></value>"
        yield f"{count} bad rows", methods(listed)
        attributes = " ".join(f'x{n}=""' for n in range(count))
        yield f"{count} attributes", f"<a {attributes}/>".encode()
    yield "a long number", methods(f"<value><int>{'9' * 4_400}</int></value>")
    yield "a control character", methods("<value><string>\x08</string></value>")


def placed(parser: Parser, value: bytes) -> Iterator[bytes]:
    """A good document with `value` in the place of its first, middle and last colon's value."""
    seed = parser.seeds[0]
    colons = [at for at in range(len(seed)) if seed[at - 1 : at + 1] == b'":']
    for at in {colons[0], colons[len(colons) // 2], colons[-1]}:
        end = min(e for e in (seed.find(b, at) for b in (b",", b"}")) if e > 0)
        yield seed[: at + 1] + value + seed[end:]


@functools.cache
def all_texts() -> tuple[tuple[str, bytes], ...]:
    """Made once, for every parser."""
    return tuple(texts())


def documents(parser: Parser) -> Iterator[tuple[str, bytes]]:
    """All that one parser is given."""
    if parser.name == "http":
        yield from answers()
    if parser.name in ("document", "page"):
        yield from malice_large.documents()
    for name, raw in all_texts():
        yield name, raw
        if parser.name in JSON_PARSERS and len(raw) < 200_000:
            for number, whole in enumerate(placed(parser, raw)):
                yield f"{name} in place {number}", whole


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def measured(parser: Parser) -> Taken:
    """Have it read everything. Fails at what takes too much, or is refused without a reason."""
    seconds, extra, count = 0.0, 0, 0
    slowest = largest = ""
    for name, raw in documents(parser):
        count += 1
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
        before, begun = _memory("VmRSS"), time.process_time()
        what = outcome(parser, raw)
        took, grown = time.process_time() - begun, _memory("VmHWM") - before
        assert what.strip(), f"{parser.name}: {name} is refused without a reason"
        assert took < CPU_SECONDS_MAX * HEADROOM, f"{parser.name}: {name} took {took:.1f} s"
        assert grown < EXTRA_BYTES_MAX * HEADROOM, (
            f"{parser.name}: {name} of {len(raw)} bytes took {grown >> 20} MiB"
        )
        if took > seconds:
            seconds, slowest = took, name
        if grown > extra:
            extra, largest = grown, name
    return Taken(count, seconds, slowest, extra, largest)


def _told(parser: Parser, count: int) -> None:
    taken = measured(parser)
    os.write(count, b"%d\n" % taken.documents)
    sys.stdout.write(
        f"{parser.name}: {taken.documents} documents, at most {taken.seconds:.2f} s of CPU"
        f" ({taken.slowest}) and {taken.extra >> 20} MiB ({taken.largest})\n"
    )
    sys.stdout.flush()


def main(names: list[str]) -> int:
    """Each parser in a process of its own; how many documents it was."""
    counted, count = os.pipe()
    all_texts()  # made once, before the processes part
    for name in names:
        parser = PARSERS[name]
        apart(lambda: _told(parser, count))  # noqa: B023  # it is called at once
    os.close(count)
    with os.fdopen(counted) as lines:
        return sum(map(int, lines))


if __name__ == "__main__":
    total = main(sys.argv[1:] or list(PARSERS))
    sys.stdout.write(f"{total} malicious documents: 0 crashes, each within its limits\n")
    os._exit(0)
