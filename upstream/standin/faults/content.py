"""Bodies that are complete and wrong: not JSON, bombs, values that parsers disagree about."""

from __future__ import annotations

import gzip
import json
import zlib
from functools import lru_cache
from typing import Any

from upstream.standin.faults.registry import ALL, DOCUMENTS, Hit, fault_kind
from upstream.standin.http_types import Answer, Exchange, Headers, Request

MIB = 1 << 20
PAGES = (*DOCUMENTS, "simple")
_BOMB_HEAD = b'{"info":{"name":"%s","description":"'
_BOMB_TAIL = b'"},"releases":{},"urls":[],"last_serial":1}'


def _plain(hit: Hit) -> Answer | None:
    return hit.full(gzip=False)


def _edited(hit: Hit, **info: Any) -> Answer | None:
    """The document with keys of `info` set, written by the lenient library."""
    answer = _plain(hit)
    if answer is not None:
        document = json.loads(answer.body)
        document.setdefault("info", {}).update(info)
        answer.body = json.dumps(document).encode()
    return answer


@fault_kind("bad-json", PAGES)
def bad_json(hit: Hit) -> Answer | None:
    """A comma too many in the middle of the body."""
    answer = _plain(hit)
    if answer is not None:
        place = answer.body.find(b",") + 1
        answer.body = answer.body[:place] + b",," + answer.body[place:]
    return answer


@fault_kind("html", ALL)
def html(hit: Hit) -> Answer | None:
    """A page in HTML, status 200."""
    del hit
    page = b"<!DOCTYPE html><html><body><h1>Down for maintenance</h1></body></html>"
    return Answer(200, [(b"content-type", b"text/html; charset=utf-8")], page)


@fault_kind("empty-body", ALL)
def empty_body(hit: Hit) -> Answer | None:
    """Status 200 and no body."""
    answer = _plain(hit)
    if answer is not None:
        answer.body = b""
    return answer


@fault_kind("not-an-object", PAGES, value=[])
def not_an_object(hit: Hit) -> Answer | None:
    """JSON, but no document: `value` alone."""
    answer = _plain(hit)
    if answer is not None:
        answer.body = json.dumps(hit.param("value")).encode()
    return answer


@fault_kind("missing-keys", PAGES)
def missing_keys(hit: Hit) -> Answer | None:
    """An object without any of the promised keys."""
    answer = _plain(hit)
    if answer is not None:
        answer.body = b'{"message": "ok"}'
    return answer


@fault_kind("wrong-types", DOCUMENTS)
def wrong_types(hit: Hit) -> Answer | None:
    """`releases` is a list, `last_serial` a text, `info.version` a number."""
    answer = _plain(hit)
    if answer is not None:
        document = json.loads(answer.body)
        document["info"]["version"] = 1.5
        document |= {"releases": ["1.0"], "last_serial": "12"}
        answer.body = json.dumps(document).encode()
    return answer


@fault_kind("bad-utf8", PAGES)
def bad_utf8(hit: Hit) -> Answer | None:
    """Bytes that are no UTF-8 inside a text."""
    answer = _edited(hit, summary="MARK")
    if answer is not None:
        answer.body = answer.body.replace(b"MARK", b"\xff\xfe\x80", 1)
    return answer


@fault_kind("nan", DOCUMENTS)
def nan(hit: Hit) -> Answer | None:
    """NaN and Infinity, which JSON does not have."""
    return _edited(hit, weight=float("nan"), height=float("inf"))


@fault_kind("lone-surrogates", DOCUMENTS)
def lone_surrogates(hit: Hit) -> Answer | None:
    """An escape that is half a character."""
    return _edited(hit, summary="half \ud800 a character")


@fault_kind("nul", DOCUMENTS)
def nul(hit: Hit) -> Answer | None:
    """NUL and other control characters, escaped."""
    return _edited(hit, summary="nul \x00 and bell \x07")


@fault_kind("big-integer", DOCUMENTS, serial_too=False)
def big_integer(hit: Hit) -> Answer | None:
    """2**64 where a number stands (with `serial_too` also as `last_serial`)."""
    answer = _edited(hit, downloads={"last_day": 2**64})
    if answer is not None and hit.param("serial_too"):
        document = json.loads(answer.body)
        document["last_serial"] = 2**64
        answer.body = json.dumps(document).encode()
    return answer


@fault_kind("depth-bomb", PAGES, depth=2000)
def depth_bomb(hit: Hit) -> Answer | None:
    """Arrays nested `depth` deep in an unknown key."""
    answer = _plain(hit)
    if answer is not None:
        depth = hit.param("depth")
        nested = b"[" * depth + b"]" * depth
        answer.body = b'{"deep":' + nested + b"," + answer.body.lstrip()[1:]
    return answer


@fault_kind("wide-bomb", PAGES, mib=9)
def wide_bomb(hit: Hit) -> Answer | None:
    """`mib` MiB of tiny arrays: forty times as much in memory when parsed."""
    answer = _plain(hit)
    if answer is not None:
        many = b"[" + b"[[]]," * (hit.param("mib") * MIB // 5) + b"[]]"
        answer.body = b'{"wide":' + many + b"," + answer.body.lstrip()[1:]
    return answer


def _bomb_name(request: Request) -> bytes:
    return request.name.encode() or b"x"


@fault_kind("huge-body", PAGES, mib=200)
def huge_body(hit: Hit) -> Answer | None:
    """A valid document of `mib` MiB, not compressed."""
    head = _BOMB_HEAD % _bomb_name(hit.request)
    length = len(head) + hit.param("mib") * MIB + len(_BOMB_TAIL)

    async def deliver(exchange: Exchange, answer: Answer) -> None:
        headers = [*answer.headers, (b"content-length", b"%d" % length)]
        await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
        block = b"x" * MIB
        for part in (head, *[block] * hit.param("mib")):
            if exchange.transport is not None and exchange.transport.is_closing():
                return
            await exchange.send({"type": "http.response.body", "body": part, "more_body": True})
        await exchange.send({"type": "http.response.body", "body": _BOMB_TAIL})

    return Answer(200, [(b"content-type", b"application/json")], deliver=deliver)


@lru_cache(maxsize=4)
def bomb(name: bytes, mib: int) -> bytes:
    """A gzip stream of a document with `mib` MiB of blanks; about a thousandth of that."""
    head = _BOMB_HEAD % name
    block = b" " * MIB
    packer = zlib.compressobj(9, wbits=-15)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    end = packer.compress(_BOMB_TAIL) + packer.flush()
    checksum = zlib.crc32(head)
    for _ in range(mib):
        checksum = zlib.crc32(block, checksum)
    checksum = zlib.crc32(_BOMB_TAIL, checksum)
    length = len(head) + mib * MIB + len(_BOMB_TAIL)
    header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    trailer = checksum.to_bytes(4, "little") + (length & 0xFFFFFFFF).to_bytes(4, "little")
    return header + start + packed * mib + end + trailer


def _encoded(body: bytes, encoding: bytes) -> Answer:
    headers: Headers = [(b"content-type", b"application/json"), (b"content-encoding", encoding)]
    return Answer(200, headers, body)


@fault_kind("gzip-bomb", PAGES, mib=1024)
def gzip_bomb(hit: Hit) -> Answer | None:
    """A small gzip stream that becomes `mib` MiB."""
    return _encoded(bomb(b"x", hit.param("mib")), b"gzip")


@fault_kind("gzip-in-gzip", PAGES, mib=1024)
def gzip_in_gzip(hit: Hit) -> Answer | None:
    """A gzip bomb in a second gzip: a few kilobytes."""
    return _encoded(gzip.compress(bomb(b"x", hit.param("mib")), 9, mtime=0), b"gzip, gzip")


@fault_kind("double-gzip", ALL)
def double_gzip(hit: Hit) -> Answer | None:
    """The right body, compressed twice and announced so."""
    answer = hit.full(gzip=True)
    if answer is not None:
        if answer.header(b"content-encoding") is None:
            answer.body = gzip.compress(answer.body, mtime=0)
        answer.body = gzip.compress(answer.body, mtime=0)
        answer.replace_header(b"content-encoding", b"gzip, gzip")
    return answer


@fault_kind("unknown-encoding", ALL, encoding="br")
def unknown_encoding(hit: Hit) -> Answer | None:
    """Content-Encoding names one that was not asked for."""
    answer = _plain(hit)
    if answer is not None:
        answer.replace_header(b"content-encoding", str(hit.param("encoding")).encode())
    return answer
