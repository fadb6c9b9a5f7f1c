"""Every parser of what others wrote: how it is called, what it may raise, and good examples.

Whatever the bytes are, a parser returns or raises one of `refusals`; anything else is a crash.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import NamedTuple

from processors import index_document, index_page, trim, versions
from schemas import codec, compression, names
from schemas.errors import (
    BrokenBody,
    DumpCorrupt,
    ForeignMetadata,
    InvalidName,
    JournalGone,
    LogCorrupt,
    MalformedMetadata,
    OversizedBody,
    RateLimited,
    UpstreamUnavailable,
    UsageError,
)
from schemas.records import ChangelogEntry, State
from schemas.topics import Offset, Topic
from sinks import dependencies
from sinks.duckdb.rows import staged
from sinks.dump import lines as dump_lines
from streams.log import Headers, Record
from tests.support.documents import body, document, file
from tests.support.raw_server import always, message, raw_server
from tests.support.upstream_world import unpaced
from tests.support.view_records import CONFIG, DOCUMENT_HEADERS, envelope
from upstream import answers, decode, xmlrpc
from upstream.client import HttpUpstream
from upstream.settings import KIB, BodyLimits

NAME = names.normalize("Some.Project")
LIMITS = BodyLimits()
CHUNK_BYTES = 64 * KIB
BASE = "https://pypi.example.org"
ROW = "<value><array><data>{}</data></array></value>"
FIELDS = (
    "<value><string>a</string></value><value><nil/></value><value><int>1700000000</int></value>"
    "<value><string>create</string></value><value><int>7</int></value>"
)
PAGE = {
    "meta": {"api-version": "1.3", "_last-serial": 7},
    "name": "some-project",
    "versions": ["1.0"],
    "files": [
        {
            "filename": "some_project-1.0.tar.gz",
            "url": "https://files.example.org/a",
            "hashes": {},
        }
    ],
}
HEADERS: Headers = envelope(Topic.METADATA, **DOCUMENT_HEADERS)


class Parser(NamedTuple):
    """`read` takes bytes; `refusals` are how it says no; `seeds` are good ones."""

    name: str
    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    seeds: Sequence[bytes]


def methods(inner: str) -> bytes:
    """An XML-RPC response of one value."""
    return (
        "<?xml version='1.0'?><methodResponse><params><param>"
        f"{inner}</param></params></methodResponse>"
    ).encode()


def chunked(*pieces: bytes) -> bytes:
    """An answer in so many chunks."""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in (*pieces, b""))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _unpacked(raw: bytes) -> bytes:
    decoder = decode.BodyDecoder(LIMITS, "gzip", str(len(raw)))
    for start in range(0, len(raw), CHUNK_BYTES):
        decoder.feed(raw[start : start + CHUNK_BYTES])
    return decoder.finish()


def _http(raw: bytes) -> object:
    """What a server sends on a connection, until it closes it."""

    async def asked() -> object:
        async with raw_server(always(raw, close=True)) as server:
            client = HttpUpstream(unpaced(server.url))
            try:
                return await client.project(NAME)
            finally:
                await client.close()

    return asyncio.run(asked())


def _document(raw: bytes) -> object:
    return trim.trim(raw, NAME, header_serial=7)


def _page(raw: bytes) -> object:
    page = index_page.parse_page(raw, NAME)
    latest = index_document.latest_of(page, NAME)
    if latest.version in latest.releases:
        return index_document.build(page, latest, NAME, "", BASE, None)
    return None


def _core_metadata(raw: bytes) -> object:
    page = index_page.parse_page(json.dumps(PAGE).encode(), NAME)
    latest = index_document.latest_of(page, NAME)
    return index_document.build(page, latest, NAME, "", BASE, raw)


def _version(raw: bytes) -> object:
    text = _text(raw)
    return versions.is_version(text), versions.ascending([text, "1.0"])


def _answer(raw: bytes) -> object:
    text = _text(raw)
    head = answers.Head(429, {"retry-after": text, "date": text})
    answers.retry_after_seconds(head, 0.0)
    answers.file_metadata_url(text, BASE)
    answers.usable_etag(text)
    return answers.redirect_target(f"{BASE}/pypi/a/json", text)


def _record(topic: Topic, raw: bytes) -> Record:
    return Record(topic, 0, Offset(0), 0, NAME, raw, HEADERS)


def _rows(raw: bytes) -> object:
    return staged([_record(topic, raw) for topic in (Topic.METADATA, Topic.RELEASES)], CONFIG)


def _line(topic: Topic, raw: bytes) -> bytes:
    _, line = dump_lines.change_of(_record(topic, raw))
    assert line is not None
    assert line.count(b"\n") == 1
    assert dump_lines.name_of(line) == NAME
    return line


def _lines(raw: bytes) -> object:
    _line(Topic.RELEASES, raw)
    line = _line(Topic.METADATA, raw)
    document = dump_lines.document_of(line)
    shown = [dump_lines.latest_line(line), dump_lines.drop_in(document)]
    for each in (line, dump_lines.held(line)):
        found = dump_lines.package_of(each)
        assert [found.latest, found.drop_in, found.line] == [*shown, line]
    return shown, dump_lines.exception_of(_line(Topic.STATE, raw))


_UPSTREAM = (UpstreamUnavailable, RateLimited, JournalGone)
_DOCUMENT = (MalformedMetadata, ForeignMetadata, OversizedBody)
GOOD = body(document("0.9", "1.0"))
STATE = codec.encode(State("ok", 9, body=7, name="some-project"))  # type: ignore[arg-type]
BOTH = body({**document(), "status": "ok", "event": 9, "body": 7})
PARSERS = {
    parser.name: parser
    for parser in (
        Parser("document", _document, _DOCUMENT, (GOOD, body({**document(), "x": file("y")}))),
        Parser("page", _page, _DOCUMENT, (json.dumps(PAGE).encode(),)),
        Parser(
            "core-metadata", _core_metadata, _DOCUMENT,
            (b"Metadata-Version: 2.1\nName: some-project\nVersion: 1.0\n\nText\n",),
        ),
        Parser(
            "journal", lambda raw: xmlrpc.parse_page(raw, 0), _UPSTREAM,
            (methods(ROW.format(ROW.format(FIELDS))),),
        ),
        Parser("call", xmlrpc.parse_call, (UsageError,), (xmlrpc.request("list", 1),)),
        Parser("gzip", _unpacked, (BrokenBody, OversizedBody), (gzip.compress(GOOD, mtime=0),)),
        Parser(
            "http", _http, (BrokenBody, OversizedBody, ForeignMetadata, *_UPSTREAM),
            (message(GOOD, etag='"abc"'), chunked(GOOD[:9], GOOD[9:])),
        ),
        Parser("answer", _answer, (UpstreamUnavailable,), (b"120", b"/pypi/b/json")),
        Parser(
            "frames", lambda raw: list(compression.read_frames(BytesIO(raw))), (DumpCorrupt,),
            (compression.compress(GOOD, 3) * 2,),
        ),
        Parser("state", lambda raw: codec.decode(raw, State), (LogCorrupt,), (STATE,)),
        Parser(
            "entry", lambda raw: codec.decode(raw, ChangelogEntry), (LogCorrupt,),
            (b'{"serial":1,"name":"a","version":null,"time":1,"action":"create","kind":"create"}',),
        ),
        Parser("name", lambda raw: names.normalize(_text(raw)), (InvalidName,), (b"Some.Project",)),
        Parser("version", _version, (), (b"1!2.0a1.post2.dev3+local.7",)),
        Parser(
            "requirement", lambda raw: dependencies.parse(_text(raw)), (),
            (b"requests[security]>=2,!=2.1; python_version<'3' and extra=='x'",),
        ),
        Parser("rows", _rows, (), (GOOD,)),
        Parser("lines", _lines, (LogCorrupt,), (BOTH,)),
    )
}  # fmt: skip


def outcome(parser: Parser, raw: bytes) -> str:
    """`read`, or why it was refused. Raises what a parser must not raise."""
    try:
        parser.read(raw)
    except parser.refusals as error:
        return getattr(error, "reason", "") or f"{type(error).__name__}: {error}"
    return "read"
