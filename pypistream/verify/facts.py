"""What `verify` knows of one name on each side, and what it finds. Plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from schemas.records import Cut, State
from schemas.topics import Offset, Topic


class Side(StrEnum):
    """The sides that are compared."""

    UPSTREAM = "upstream"
    STATE = "state"
    METADATA = "metadata"
    RELEASES = "releases"
    DUCKDB = "duckdb"
    DUMP = "dump"
    DELTAS = "deltas"


class Why(StrEnum):
    """How a name differs. The first seven are named exceptions, the others are differences."""

    PENDING = "pending"
    PARKED = "parked"
    STALE = "stale"
    DEAD = "dead"
    ABSENT_ONCE = "absent-once"
    AHEAD = "upstream-ahead"
    UNREADABLE = "unreadable"
    MISSING = "missing"
    SURPLUS = "surplus"
    BEHIND = "behind"
    CONTENT = "other-content"


EXCEPTIONS = frozenset(
    (
        *(Why.PENDING, Why.PARKED, Why.STALE, Why.DEAD),
        *(Why.ABSENT_ONCE, Why.AHEAD, Why.UNREADABLE),
    )
)


class Fact(msgspec.Struct, array_like=True, frozen=True):
    """A record of a compacted topic: its place, its content, and what sinks make of it.

    `id` is the record's `ce_id`: the two documents of one answer share it. `line` is a digest of
    the dump's line, `rows` the hash of the DuckDB row per table (None = there must be no row).
    `state` is the value of a record of `state`.
    """

    offset: int
    gone: bool
    serial: int | None = None
    id: str = ""
    line: str = ""
    rows: dict[str, int | None] = {}
    state: msgspec.Raw = msgspec.Raw(b"")


class Listed(NamedTuple):
    """A line of upstream's index."""

    name: str
    serial: int


class DeltaLine(NamedTuple):
    """What a delta leaves in a file of the dump: the line's digest, "" = no line."""

    file: str
    digest: str


class Seen(msgspec.Struct):
    """One name, with what each side holds of it.

    `documents` are the newest records of `metadata`, `releases` and `state` before the log's cut;
    `hashes` what the two documents hash to, None = they do not belong together. `snapshot` has the
    hash of the row per table, `dump` the digest of the line per file, `deltas` that of the line
    that the last of them leaves there ("" = none).
    """

    name: str
    listed: Listed | None = None
    facts: dict[Topic, Fact] = {}
    hashes: Sequence[str] | None = None
    snapshot: dict[str, int] = {}
    unreadable: bool = False
    dump: dict[str, str] = {}
    deltas: dict[str, str] = {}

    def state(self) -> State | None:
        """The state at the log's cut, None for an unknown name."""
        fact = self.facts.get(Topic.STATE)
        return None if fact is None or fact.gone else msgspec.json.decode(fact.state, type=State)


class Finding(NamedTuple):
    """A name that differs between sides. `text` is for people."""

    name: str
    side: Side
    why: Why
    text: str = ""


class Rules(NamedTuple):
    """What is compared, and up to where.

    `cuts` is the log's own vector, `snapshot`, `dump` and `deltas` theirs (None = that side is not
    there). The deltas hold what was written from `deltas_from` on. `map_serial` is that of
    upstream's index, None = it was not asked.
    """

    cuts: Sequence[Cut | None]
    with_releases: bool
    map_serial: int | None = None
    snapshot: Sequence[Cut | None] | None = None
    dump: Sequence[Cut | None] | None = None
    deltas: Sequence[Cut | None] | None = None
    deltas_from: Sequence[Cut | None] = ()


class Judged(NamedTuple):
    """The result for one name. `newer`: sides whose own cut is older than the name's records.

    `counts`: it is one of the names that should be held. `absent`: known to have no document.
    """

    findings: Sequence[Finding] = ()
    newer: Sequence[Side] = ()
    counts: bool = True
    absent: bool = False


Places = Mapping[Topic, Offset]
