"""Records of the compacted topics as the lines of a dump. Pure.

packages.jsonl.zst   {"name","serial","event_serial","event_time","stale","source","fetched_at",
                      "anomalies" where there are any,"document"}
releases.jsonl.zst   {"name","serial","releases_omitted","document"}
state.jsonl.zst      {"name","display_name",…}: the record's fields, its `name` as `display_name`
pypicache.json.zst   the documents alone, with the keys that Repology indexes
latest.csv.zst       name, version, serial (RFC 4180, but lines end in a newline alone)
a delta              those lines with "topic" in the second place, {"name","topic","deleted":true}

`name` is the normalised name and comes first, `document` last: both can be cut out of a line
without parsing it. Documents are the records' values, byte for byte. See `schemas/lines.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from schemas.codec import NO_JSON, decode, encode, one_line
from schemas.errors import LogCorrupt
from schemas.records import State
from schemas.topics import Topic
from sinks.dump.frames import Change
from streams.log import Record

_NAME_START = len(b'{"name":"')
_GONE_BYTES = len(b'{"name":""}\n')  # of a line for a tombstone, in addition to its name
_SERIAL_KEY = b',"serial":'
_DOCUMENT_KEY = b',"document":'
_TOPIC_KEY = b',"topic":"'
_DELETED = b',"deleted":true}'
_OK = b'"status":"ok"'  # a test cheaper than decoding, which most lines pass

_INFO_KEYS = ("name", "project_url", "home_page", "author_email", "summary", "project_urls")
_NULL = msgspec.Raw(b"null")
_FALSE = msgspec.Raw(b"false")
_EMPTY = msgspec.Raw(b"{}")

_Object = dict[str, msgspec.Raw]
_object = msgspec.json.Decoder(_Object)
_releases = msgspec.json.Decoder(dict[str, list[_Object]])


class _CompleteFile(msgspec.Struct, gc=False):
    yanked: msgspec.Raw
    url: msgspec.Raw


class _CompleteInfo(msgspec.Struct, gc=False):
    name: msgspec.Raw
    project_url: msgspec.Raw
    home_page: msgspec.Raw
    author_email: msgspec.Raw
    summary: msgspec.Raw
    project_urls: msgspec.Raw


class _Complete(msgspec.Struct, gc=False):
    """A document that has every key Repology indexes; decoding it as this is the test."""

    info: _CompleteInfo
    releases: dict[str, list[_CompleteFile]]


class _PackageInfo(_CompleteInfo, gc=False):
    version: object = None


class _PackageDocument(_Complete, gc=False):
    info: _PackageInfo


_complete = msgspec.json.Decoder(_Complete)
_package = msgspec.json.Decoder(_PackageDocument)


class _VersionInfo(msgspec.Struct):
    version: object = None


class _VersionDocument(msgspec.Struct):
    info: _VersionInfo | None = None


_version = msgspec.json.Decoder(_VersionDocument)


NOTE_LINES_MAX = 2  # its line of latest.csv, and the drop-in's document if that differs
"""A note begins with the number of its lines, one byte. No line of ours begins so: all are JSON."""

LATEST_HEAD = b"name,version,serial\n"


def change_of(record: Record) -> Change:
    """The line for a record in its topic's table, or None for a tombstone.

    Raises LogCorrupt for a record without a key, of another topic, or with an invalid state.
    """
    name = record.key
    if name is None:
        raise LogCorrupt(f"a record of {record.topic} at offset {record.offset} has no key")
    if record.value is None:
        return name, None
    if record.topic is Topic.STATE:
        return name, _state_line(name, _one_line(record.value))
    value = _one_line(record.value)
    if record.topic is Topic.METADATA:
        head = _package_head(name, record)
    elif record.topic is Topic.RELEASES:
        omitted = _number(record.header("releases-omitted")) or 0
        head = encode({"name": name, "serial": _serial(record), "releases_omitted": omitted})
    else:
        raise LogCorrupt(f"a dump holds no records of {record.topic}")
    return name, b"".join((head[:-1], _DOCUMENT_KEY, value, b"}\n"))


def name_of(line: bytes, at: int = 0) -> str:
    """The normalised name at the beginning of a line."""
    start = at + _NAME_START
    return line[start : line.index(b'"', start)].decode()


def document_of(line: bytes) -> bytes:
    """The document of a line of packages or releases, byte for byte.

    The first key of that spelling is the right one: quotes within earlier values are escaped.
    """
    return line[line.index(_DOCUMENT_KEY) + len(_DOCUMENT_KEY) : -2]


def gone_line(name: str) -> bytes:
    """The line for a tombstone in a table that waits to be merged; no other line looks like it."""
    return b'{"name":"%b"}\n' % name.encode()


def held(line: bytes) -> bytes:
    """A line of packages that waits to be merged, preceded by a note of what was found in it.

    The note has its line of latest.csv and, if that differs, the drop-in's document. A document
    that the drop-in leaves out has no note. So documents are examined one by one when they come in,
    not all together when a dump is awaited.
    """
    found = package_of(line)
    if found.drop_in is None:
        return line
    if found.changed:
        return b"".join((b"\2", found.latest, found.drop_in, b"\n", line))
    return b"".join((b"\1", found.latest, line))


def bare(held_line: bytes) -> bytes:
    """A line without its note, if it has one."""
    return held_line[_note_end(held_line) :]


def _note_end(held_line: bytes) -> int:
    end = 0
    if held_line[0] <= NOTE_LINES_MAX:
        for _ in range(held_line[0]):
            end = held_line.index(b"\n", end) + 1
    return end


def change_of_held(held_line: bytes, note_end: int) -> Change:
    """The change in a line that waits to be merged, after its note."""
    name = name_of(held_line, note_end)
    gone = len(held_line) <= len(name) + _GONE_BYTES and held_line == gone_line(name)
    return name, None if gone else held_line


def delta_line(topic: Topic, name: str, line: bytes | None) -> bytes:
    """A change of that topic as a line of a delta, newline included; None = a tombstone."""
    if line is None:
        return b'{"name":"%b","topic":"%b","deleted":true}\n' % (name.encode(), topic.encode())
    end = _NAME_START + len(name) + 1
    return b'%b,"topic":"%b"%b' % (line[:end], topic.encode(), line[end:])


def line_of_delta(row: bytes) -> tuple[str, Topic, bytes | None]:
    """The reverse, of a row without its newline: name, topic and the line. Raises ValueError."""
    name = name_of(row)
    end = _NAME_START + len(name.encode()) + 1
    head, key, rest = row[end:].partition(_TOPIC_KEY)
    topic, quote, rest = rest.partition(b'"')
    if head or not key or not quote:
        raise ValueError("a line of a delta has its topic in the second place")
    if rest == _DELETED:
        return name, Topic(topic.decode()), None
    return name, Topic(topic.decode()), row[:end] + rest + b"\n"


def exception_of(line: bytes) -> str | None:
    """The status in a line of state if the name is an exception."""
    if _OK in line:
        return None
    state = decode(line, State)
    return state.status.value if state.exception else None


def drop_in(document: bytes) -> bytes | None:
    """Add the keys that Repology reads where they are missing; the same bytes if none is.

    `info.*` is null then, a file's `yanked` false and its `url` null, `releases` empty. None for a
    document of another shape (no object `info`, a release that is no list of objects): it would
    crash Repology's reader, so the drop-in leaves it out. It is in packages all the same.
    """
    try:
        _complete.decode(document)
    except NO_JSON:
        return _completed(document)
    return document


def latest_line(line: bytes) -> bytes:
    """The line of latest.csv for a line of packages.

    A version that is not one line of text is empty.
    """
    try:
        document = _version.decode(document_of(line))
        version = document.info.version if document.info is not None else None
    except NO_JSON:
        version = None
    return _latest(line, version)


class Package(NamedTuple):
    """The content of a line of packages in the files of its table.

    `changed`: the drop-in has another document than the line.
    """

    line: bytes | memoryview
    drop_in: bytes | memoryview | None
    latest: bytes
    changed: bool = False


def package_of(line: bytes) -> Package:
    """`drop_in` and `latest_line` of a line, by its note if it has one.

    Otherwise with one look into the document, which is the expensive part. Nothing is copied.
    """
    if line[0] <= NOTE_LINES_MAX:
        return _package_of_held(line)
    document = document_of(line)
    try:
        found = _package.decode(document)
    except NO_JSON:
        other = drop_in(document)
        return Package(line, other, latest_line(line), changed=other is not document)
    return Package(line, document, _latest(line, found.info.version))


def _package_of_held(line: bytes) -> Package:
    view = memoryview(line)
    latest = line.index(b"\n") + 1
    if line[0] == 1:
        start = line.index(_DOCUMENT_KEY, latest) + len(_DOCUMENT_KEY)
        return Package(view[latest:], view[start:-2], line[1:latest])
    end = line.index(b"\n", latest) + 1
    return Package(view[end:], view[latest : end - 1], line[1:latest], changed=True)


def _latest(line: bytes, version: object) -> bytes:
    name = name_of(line)
    start = _NAME_START + len(name) + 1 + len(_SERIAL_KEY)  # it follows the name
    serial = line[start : line.index(b",", start)].decode()
    text = version if isinstance(version, str) and version.isprintable() else ""
    if '"' in text or "," in text or text != text.strip():
        text = '"' + text.replace('"', '""') + '"'
    return f"{name},{text},{'' if serial == 'null' else serial}\n".encode()


def _completed(document: bytes) -> bytes | None:
    try:
        top = _object.decode(document)
        info = _object.decode(top["info"])
        releases = _releases.decode(top.get("releases", _EMPTY))
    except (*NO_JSON, KeyError):
        return None
    for key in _INFO_KEYS:
        info.setdefault(key, _NULL)
    for files in releases.values():
        for file in files:
            file.setdefault("yanked", _FALSE)
            file.setdefault("url", _NULL)
    return encode({**top, "info": info, "releases": releases})


def _package_head(name: str, record: Record) -> bytes:
    head = {
        "name": name,
        "serial": _serial(record),
        "event_serial": _number(record.header("event-serial")),
        "event_time": record.header("ce_time"),
        "stale": record.header("stale") == "true",
        "source": record.header("source"),
        "fetched_at": record.header("fetched-at"),
    }
    if anomalies := record.header("anomalies"):
        head["anomalies"] = anomalies
    return encode(head)


def _serial(record: Record) -> int | None:
    return _number(record.header("serial"))


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise LogCorrupt(f"a header should hold a number, not {text[:40]!r}") from error


def _state_line(name: str, value: bytes) -> bytes:
    fields = decode(value, _Object)
    head: dict[str, object] = {"name": name}
    if "name" in fields:
        head["display_name"] = fields.pop("name")
    return encode({**head, **fields}) + b"\n"


def _one_line(value: bytes) -> bytes:
    """JSON without a newline, where a dump's reader splits lines. Ours never has one."""
    if b"\n" not in value:
        return value
    try:
        return msgspec.json.format(value, indent=-1)
    except NO_JSON:
        return one_line(value)  # no JSON: passed on as it is, as one without a newline
