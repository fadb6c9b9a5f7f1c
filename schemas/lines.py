"""The lines of a dump's `*.jsonl.zst` files as types, for the JSON Schema. One line is one project.

`name` is the normalised name and comes first, `document` last, so that both can be cut out of a
line without parsing it. Lines are in the order of the names.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import NODEFAULT, Struct

from schemas.documents import Metadata
from schemas.records import State
from schemas.releases import SlimReleases
from schemas.topics import Topic


class PackageLine(Struct):
    """A line of `packages.jsonl.zst`: the record of `metadata` as it was at the dump's cut.

    `serial` is the document's own, `event_serial` that of the newest event known when it was
    written; `stale`: it was known to be older than that event; `event_time` (that event's) and
    `fetched_at` are RFC 3339. `anomalies`: what was odd about it, left out where nothing was.
    """

    name: str
    serial: int | None
    event_serial: int | None
    event_time: str | None
    stale: bool
    source: str | None
    fetched_at: str | None
    document: Metadata
    anomalies: str | None = None


class ReleasesLine(Struct):
    """A line of `releases.jsonl.zst`; `releases_omitted`: how many did not fit into the record."""

    name: str
    serial: int | None
    releases_omitted: int
    document: SlimReleases


def _state_line() -> type[Struct]:
    columns: list[tuple[str, object] | tuple[str, object, object]] = [("name", str)]
    for column in msgspec.structs.fields(State):
        key = "display_name" if column.name == "name" else column.encode_name
        if column.default is NODEFAULT:
            columns.append((key, column.type))
        else:
            columns.append((key, column.type, column.default))
    line = msgspec.defstruct("StateLine", columns, omit_defaults=True)
    line.__doc__ = (
        "A line of `state.jsonl.zst`: every name that is known, also absent and removed ones.\n\n"
        "The fields are those of the `state` topic; what is `name` there is `display_name` here."
    )
    return line


StateLine = _state_line()


class DeltaDeleted(Struct, kw_only=True):
    """A line of a delta: what the topic held under this name is gone."""

    name: str
    topic: str
    deleted: Literal[True]


def _delta_line(line: type[Struct], topic: Topic, what: str) -> type[Struct]:
    """`line` with its topic in the second place."""
    columns: list[tuple[str, object] | tuple[str, object, object]] = []
    for column in msgspec.structs.fields(line):
        if column.default is NODEFAULT:
            columns.append((column.encode_name, column.type))
        else:
            columns.append((column.encode_name, column.type, column.default))
    columns.insert(1, ("topic", Literal[topic.value]))
    made = msgspec.defstruct(f"Delta{line.__name__}", columns, omit_defaults=True)
    made.__doc__ = f"A line of a delta: as a line of `{what}`, and the topic it is of."
    return made


DeltaPackageLine = _delta_line(PackageLine, Topic.METADATA, "packages.jsonl.zst")
DeltaReleasesLine = _delta_line(ReleasesLine, Topic.RELEASES, "releases.jsonl.zst")
DeltaStateLine = _delta_line(StateLine, Topic.STATE, "state.jsonl.zst")
