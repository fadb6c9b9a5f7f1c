"""What must hold of a log on Kafka after whatever happened to it, judged from bare records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from schemas.topics import Topic
from streams.log import Record
from tests.support.history import doubled, fallen_positions, falls_back, journal_differences, number
from tests.support.published import Dump, Truth, assert_none, dump_differences
from tests.support.truth import Judge

Records = Mapping[Topic, Sequence[Record]]
SAME = ("status", "body", "hash", "gone", "etag", "name", "reason", "attempts", "seen")
"""Of `state`: what does not depend on when it was fetched, nor on where the journal was begun."""


def last_ones(records: Sequence[Record]) -> dict[str, Record]:
    """The table that a compacted topic is: by key, tombstones left out."""
    found: dict[str, Record] = {}
    for record in records:
        assert record.key is not None
        if record.value is None:
            found.pop(record.key, None)
        else:
            found[record.key] = record
    return found


def value(record: Record) -> dict[str, Any]:
    """Its JSON."""
    decoded: dict[str, Any] = json.loads(record.value or b"")
    return decoded


def dump_of(records: Records) -> Dump:
    """The three tables as a dump's lines, as far as they are compared."""
    return Dump(
        manifest={},
        packages={
            name: {
                "serial": number(record, "serial"),
                "stale": record.header("stale") is not None,
                "document": value(record),
            }
            for name, record in last_ones(records[Topic.METADATA]).items()
        },
        releases={
            name: {"document": value(record)}
            for name, record in last_ones(records[Topic.RELEASES]).items()
        },
        states={name: value(row) for name, row in last_ones(records[Topic.STATE]).items()},
    )


def assert_true(records: Records, truth: Mapping[str, Truth]) -> Dump:
    """The final state is upstream's; every document that is to be had is published, none excused.

    A project that vanished without a journal row saying so keeps what was published of it while it
    is looked for again, which takes days: those are left out of what is returned, too.
    """
    dump = dump_of(records)
    for name, state in dump.exceptions.items():
        vanished = truth[name].document is None and state["reason"] == "missing"
        if vanished and name in dump.packages:
            del dump.packages[name], dump.releases[name]
    wrong = Judge(truth).dump(dump)
    assert_none([f"{name}: {text}" for name, text in wrong.items()])
    assert_none(dump_differences(dump, truth))
    return dump


def assert_same(dump: Dump, undisturbed: Dump) -> None:
    """The same projects with the same documents and states as after a run nobody disturbed."""
    assert dump.packages.keys() == undisturbed.packages.keys()
    exceptions = dump.exceptions
    wrong: list[str] = []
    for name, line in undisturbed.packages.items():
        found = dump.packages[name]
        wrong += (
            f"{name}: another {what} than undisturbed"
            for what in ("serial", "document")
            if found[what] != line[what]
        )
        if dump.releases[name]["document"] != undisturbed.releases[name]["document"]:
            wrong.append(f"{name}: other releases than undisturbed")
        if name not in exceptions:
            wrong += _state_differences(name, dump.states[name], undisturbed.states[name])
    assert_none(wrong)


def _state_differences(name: str, found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    # A dump's line has the state's `name` as `display_name`, its own `name` is the key.
    wanted = {**wanted, "name": wanted.get("display_name", "")}
    return [
        f"{name}: state's {key} {found.get(key)!r} for {wanted.get(key)!r}"
        for key in SAME
        if (found.get(key) or 0) != (wanted.get(key) or 0)
    ]


def assert_nothing_amiss(records: Records, journal: Sequence[Sequence[Any]]) -> int:
    """I1 to I4 over every record that was ever committed; how many journal rows there are.

    Nothing is lost, nothing comes twice, neither serials nor stored positions ever go back.
    """
    heads = [value(record) for record in records[Topic.PROGRESS] if record.key == "head"]
    base, head = heads[-1]["base"], heads[-1]["serial"]
    assert head == journal[-1][4], "the journal was not read to its end"
    published = [*records[Topic.METADATA], *records[Topic.RELEASES]]
    wrong = [
        *falls_back(published),
        # `releases` repeats itself where only what it leaves out has changed
        *doubled(records[Topic.METADATA]),
        *fallen_positions(records[Topic.PROGRESS]),
        *journal_differences(records[Topic.CHANGELOG], journal, base, head),
    ]
    assert_none(wrong)
    return sum(record.key is not None for record in records[Topic.CHANGELOG])


def assert_still_there(seen: Sequence[Record], records: Records) -> None:
    """What a committed reader was once given is still there, the same, in the same order."""
    last: dict[tuple[str, int], int] = {}
    there = {
        (record.topic, record.partition, record.offset): (record.key, record.value)
        for topic in records.values()
        for record in topic
    }
    wrong = []
    for record in seen:
        at = (record.topic, record.partition)
        if record.offset <= last.get(at, -1):
            wrong.append(f"{at}: offset {record.offset} after {last[at]}")
        last[at] = record.offset
        if there.get((*at, record.offset)) != (record.key, record.value):
            wrong.append(f"{at}: {record.key} at {record.offset} was seen and is gone")
    assert_none(wrong)
