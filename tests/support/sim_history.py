"""What happened in a simulated run, as lines of JSON: all that the checker is given.

Each line has `kind` and, where it happened in the run, `at` (virtual seconds since its begin):

    schedule   seed, partitions, base, start, backfill, fetches: what was set up
    face       key, row, face [name, serial, revision] | null: from `row` on this is true upstream
    row        name, action, serial: a row of upstream's journal
    misled     key: an ask with a made-up serial was written for it
    fault      fault, begin, end, key ("" = concerns all): the schedule's own
    look       ends {topic: [offset, …]}: a moment at which the claims must hold
    moment     name, head, ends: `quiet` (no fault for a while) and `end`
    shown      sink, told, found, cuts, rows: what a reader sees in a sink's publication
    image      sink, positions, rows: what a sink's own file holds, taken as a kill would leave it
    gauge      what, most, limit: the most that was seen of a bounded thing
    reached    what, count: how often a fault found what it waited for
    violation  text: a rule that upstream or the harness saw broken
    record     topic, partition, offset, ms, key, value, headers: the whole log, at the end
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.topics import Topic
from streams.log import Log, Record

Line = dict[str, Any]


class History:
    """Lines in the order in which they were recorded."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def add(self, kind: str, **fields: object) -> None:
        """Record one line."""
        self.lines.append({"kind": kind, **fields})

    def of(self, kind: str) -> list[Line]:
        """The lines of one kind."""
        return [line for line in self.lines if line["kind"] == kind]

    def digest(self) -> str:
        """The same for two runs in which the same happened at the same times."""
        found = hashlib.sha256()
        for line in self.lines:
            found.update(json.dumps(line, sort_keys=True).encode())
        return found.hexdigest()

    def save(self, path: Path) -> None:
        """A JSON object a line."""
        with path.open("w", encoding="ascii") as file:
            file.writelines(f"{json.dumps(line)}\n" for line in self.lines)

    @classmethod
    def load(cls, path: Path) -> History:
        """The reverse."""
        made = cls()
        made.lines = [json.loads(line) for line in path.read_text("ascii").splitlines()]
        return made


async def ends_of(log: Log) -> dict[str, list[int]]:
    """The next offset of every partition, by topic."""
    found: dict[str, list[int]] = {}
    for topic in Topic:
        ends: Mapping[Any, int] = await log.ends(topic)
        found[topic.value] = [ends[at] for at in sorted(ends)]
    return found


def line_of(record: Record) -> Line:
    """A record as a line; text that is no UTF-8 keeps its bytes as lone surrogates."""
    value = record.value
    return {
        "kind": "record",
        "topic": record.topic.value,
        "partition": record.partition,
        "offset": record.offset,
        "ms": record.timestamp_ms,
        "key": record.key,
        "value": None if value is None else value.decode("utf-8", "surrogateescape"),
        "headers": {name: text.decode("utf-8", "surrogateescape") for name, text in record.headers},
    }
