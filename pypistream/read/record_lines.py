"""A record as one line: JSON for programs, a few columns for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import msgspec

from pypistream.terminal import escaped
from schemas import codec
from schemas.errors import LogCorrupt
from schemas.records import ChangelogEntry
from schemas.topics import Topic
from streams.log import Record
from streams.seeking import serial_of

PROJECT_COLUMNS, VERSION_COLUMNS = 32, 14  # wide enough for 95 of 100; longer ones shift the rest


class _Line(msgspec.Struct):
    topic: str
    partition: int
    offset: int
    key: str | None
    serial: int | None
    time: str
    headers: dict[str, str]
    value: msgspec.Raw | None


class _Info(msgspec.Struct):
    version: object = ""


class _Document(msgspec.Struct):
    info: _Info = msgspec.field(default_factory=_Info)


class _Slim(msgspec.Struct):
    releases: dict[str, msgspec.Raw] = {}


@dataclass(frozen=True)
class Selection:
    """Which records are wanted; empty = any. `projects` are globs on normalised names."""

    projects: Sequence[str] = ()
    kinds: frozenset[str] = frozenset()
    since: int | None = None

    def wants(self, record: Record) -> bool:
        """Whether the record is wanted. Markers (records without a key) never are."""
        if record.key is None:
            return False
        if self.projects and not any(fnmatchcase(record.key, glob) for glob in self.projects):
            return False
        if self.since is not None and (serial_of(record) or 0) <= self.since:
            return False
        return not self.kinds or kind_of(record) in self.kinds


def kind_of(record: Record) -> str:
    """`new-release`, ... for a journal row; "" elsewhere."""
    if record.topic is not Topic.CHANGELOG or record.value is None:
        return ""
    return codec.decode(record.value, ChangelogEntry).kind.value


def json_line(record: Record) -> bytes:
    """One JSON object and a newline; the value is the record's own bytes. Raises LogCorrupt."""
    line = _Line(
        topic=record.topic.value,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        serial=serial_of(record),
        time=_time_of(record),
        headers={name: value.decode("utf-8", "replace") for name, value in record.headers},
        value=None if record.value is None else msgspec.Raw(codec.one_line(record.value)),
    )
    return msgspec.json.encode(line) + b"\n"


def readable_line(record: Record) -> bytes:
    """`serial  time  project  version  what`, with the record's texts escaped."""
    project, version, what = _told(record)
    columns = (
        f"{serial_of(record) or '-':>11}",
        _time_of(record)[:19].replace("T", " "),
        f"{escaped(project):<{PROJECT_COLUMNS}}",
        f"{escaped(version):<{VERSION_COLUMNS}}",
        escaped(what),
    )
    return ("  ".join(columns).rstrip() + "\n").encode()


def _told(record: Record) -> tuple[str, str, str]:
    """Project, version, and what happened."""
    name = record.key or ""
    if record.value is None:
        return name, "", f"{record.topic.value}: gone ({record.header('reason') or 'removed'})"
    if record.topic is Topic.CHANGELOG:
        entry = codec.decode(record.value, ChangelogEntry)
        return entry.name, entry.version or "", entry.action
    note = (
        " (stale: upstream has not caught up with this event)"
        if record.header("stale") == "true"
        else ""
    )
    try:
        if record.topic is Topic.RELEASES:
            return name, "", f"releases: {len(codec.decode(record.value, _Slim).releases)}{note}"
        version = codec.decode(record.value, _Document).info.version
    except LogCorrupt:  # the document is upstream's: an unforeseen shape is no damage
        return name, "", f"{record.topic.value}{note}"
    return name, version if isinstance(version, str) else "", f"metadata{note}"


def _time_of(record: Record) -> str:
    """The journal time if the record has one, else when it was written. RFC 3339."""
    return record.header("ce_time") or codec.rfc3339(record.timestamp_ms / 1000)
