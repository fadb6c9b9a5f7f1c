"""A recorded run's log, played forward: what its tables held at any moment. Standard library only.

What the words mean (cut, watermark, exception) is said here a second time, after docs/glossary.md.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.sim_history import History, Line

FOLDED = ("metadata", "releases", "state", "progress")
Face = tuple[str, int, int]
Mark = tuple[int | None, int, int]


class Recorded:
    """The lines of a history, by what they are about."""

    def __init__(self, history: History) -> None:
        self.history = history
        [self.schedule] = history.of("schedule")
        self.partitions: int = self.schedule["partitions"]
        self.start_ms: int = self.schedule["start_ms"]
        self.log: dict[tuple[str, int], list[Line]] = defaultdict(list)
        for record in history.of("record"):
            self.log[record["topic"], record["partition"]].append(record)
        self.faces: dict[str, list[tuple[float, int, Any]]] = defaultdict(list)
        for line in history.of("face"):
            self.faces[line["key"]].append((line["at"], line["row"], line["face"]))
        self._by_key: dict[str, dict[str, list[Line]]] = {}
        self._last_row: dict[str, int] = {}
        for row in history.of("row"):
            key = row["name"].lower().replace(".", "-").replace("_", "-")
            self._last_row[key] = row["serial"]

    def all_of(self, topic: str) -> list[Line]:
        """A topic's records, partition after partition."""
        places = sorted(at for at in self.log if at[0] == topic)
        return [record for at in places for record in self.log[at]]

    def by_key(self, topic: str) -> dict[str, list[Line]]:
        """The same by key, each in the order of its partition."""
        if topic not in self._by_key:
            found: dict[str, list[Line]] = defaultdict(list)
            for record in self.all_of(topic):
                found[record["key"]].append(record)
            self._by_key[topic] = found
        return self._by_key[topic]

    def has_row(self, key: str, base: int) -> bool:
        """Whether the journal has a row above `base` under any spelling of the name."""
        return self._last_row.get(key, 0) > base


class Tables:
    """The compacted topics as of a moment; `go_to` moves on."""

    def __init__(self, run: Recorded) -> None:
        self._run = run
        self._at: dict[tuple[str, int], int] = defaultdict(int)
        self._states: dict[str, tuple[Line, Line]] = {}
        self._cuts: dict[int, tuple[Line, Line]] = {}
        self.rows: dict[str, dict[Any, Line]] = {topic: {} for topic in FOLDED}

    def go_to(self, ends: Mapping[str, Sequence[int]]) -> None:
        """Take in every record below these offsets; ends that are left out stay as they are."""
        for topic in FOLDED:
            for partition, end in enumerate(ends.get(topic, ())):
                self.take(topic, partition, end)

    def take(self, topic: str, partition: int, end: int) -> None:
        """The same of one partition."""
        log, table = self._run.log[topic, partition], self.rows[topic]
        place = self._at[topic, partition]
        while place < len(log) and log[place]["offset"] < end:
            record = log[place]
            key = (partition, record["key"]) if topic == "progress" else record["key"]
            if record["value"] is None:
                table.pop(key, None)
            else:
                table[key] = record
            place += 1
        self._at[topic, partition] = place

    def state(self, key: str) -> Line | None:
        """What is known of a name."""
        record = self.rows["state"].get(key)
        if record is None:
            return None
        if key not in self._states or self._states[key][0] is not record:
            self._states[key] = (record, json.loads(record["value"]))
        return self._states[key][1]

    def cuts(self, partitions: int) -> list[Line | None]:
        """The last cut of every partition."""
        found: list[Line | None] = []
        for partition in range(partitions):
            record = self.rows["progress"].get((partition, "p"))
            if record is None:
                found.append(None)
                continue
            if partition not in self._cuts or self._cuts[partition][0] is not record:
                self._cuts[partition] = (record, json.loads(record["value"]))
            found.append(self._cuts[partition][1])
        return found

    def head(self) -> bool:
        """Whether the journal was read at all."""
        return (self._run.partitions, "head") in self.rows["progress"]


def watermark_of(cuts: Sequence[Line | None]) -> Mark:
    """(serial or None, base, reached): the least that the partitions say."""
    known = [cut for cut in cuts if cut is not None]
    marked = bool(known) and len(known) == len(cuts) and all(cut.get("serial") for cut in known)
    base = max((cut.get("base", 0) for cut in known), default=0)
    reached = min(cut["serial"] for cut in known) if marked else 0
    return (reached if marked and not base else None, base, reached)


def exception(state: Line) -> bool:
    """Whether the watermark does not speak for the name; absent is believed at the second look."""
    if state["status"] == "absent":
        return int(state.get("attempts", 0)) < 2
    return bool(state["status"] != "ok")


def published(state: Line) -> bool:
    """Whether there is a document, not a tombstone."""
    return bool(state.get("body", 0) > 0 and not state.get("gone", 0))
