"""What must hold in a log from its first record to its last, whatever was killed in between.

For a log that nothing was compacted out of yet: `assert_whole` makes sure of that.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from schemas.topics import Topic
from streams.log import Log, Record

BATCH_RECORDS = 2_000
RISING = ("changelog", "refetch", "metadata", "releases", "state", "serial", "low")


async def records_of(log: Log, topic: Topic) -> list[Record]:
    """Every record that is still there, each partition in order."""
    ends = await log.ends(topic)
    reader = await log.reader(await log.starts(topic))
    found: list[Record] = []
    try:
        while any(reader.position(at) < end for at, end in ends.items()):
            found += await reader.read(BATCH_RECORDS, 0.1)
    finally:
        await reader.close()
    return found


def number(record: Record, header: str) -> int:
    """A header that is a number; -1 if it is not there."""
    return int(record.header(header) or -1)


def falls_back(records: Iterable[Record]) -> list[str]:
    """I2: records of `metadata` or `releases` whose event or body serial is below the last one's.

    A body may be older only if it has another display name (the project was made anew) or follows a
    tombstone; upstream here never gives such a one a lower serial, so none is excused.
    """
    wrong = []
    events: dict[tuple[Topic, str], int] = {}
    bodies: dict[tuple[Topic, str], int] = {}
    for record in records:
        assert record.key is not None
        key = (record.topic, record.key)
        event = number(record, "event-serial")
        if event < events.get(key, 0):
            wrong.append(f"{key} at {record.offset}: event {event} after {events[key]}")
        events[key] = max(event, events.get(key, 0))
        if record.value is None:
            continue
        body = number(record, "serial")
        if body < bodies.get(key, 0):
            wrong.append(f"{key} at {record.offset}: body {body} after {bodies[key]}")
        bodies[key] = max(body, bodies.get(key, 0))
    return wrong


def doubled(records: Iterable[Record]) -> list[str]:
    """I4: two records with the same topic, key, event, body, hash and stale."""
    effects = Counter(
        (
            record.topic.value,
            record.key,
            number(record, "event-serial"),
            number(record, "serial"),
            hashlib.sha256(record.value).hexdigest()[:12] if record.value else "tombstone",
            record.header("stale"),
        )
        for record in records
    )
    return [f"{count} x {effect}" for effect, count in effects.items() if count > 1]


def fallen_positions(progress: Iterable[Record]) -> list[str]:
    """Cuts and heads that lie below an earlier one of their partition."""
    wrong: list[str] = []
    last: dict[tuple[int, str], Mapping[str, Any]] = {}
    for record in progress:
        if record.key not in ("p", "head") or record.value is None:
            continue
        value = json.loads(record.value)
        before = last.get((record.partition, record.key), {})
        wrong += (
            f"{record.key} {record.partition}: {name} {before} then {value}"
            for name in (RISING if record.key == "p" else ("serial", "changelog"))
            if _place(value.get(name)) < _place(before.get(name))
        )
        last[record.partition, record.key] = value
    return wrong


def _place(value: object) -> tuple[int, ...]:
    """An offset, a serial, or a head's list of offsets, comparable."""
    if isinstance(value, list):
        return tuple(map(int, value))
    return (int(str(value or 0)),)


def journal_differences(
    changelog: Iterable[Record], journal: Sequence[Sequence[Any]], base: int, head: int
) -> list[str]:
    """I3: journal rows in (base, head] that are not in `changelog` exactly once, and strangers."""
    due = Counter(int(row[4]) for row in journal if base < row[4] <= head)
    found = Counter(number(record, "event-serial") for record in changelog if record.key)
    missing, many = list((due - found).elements()), list((found - due).elements())
    return [f"missing {serial}" for serial in missing] + [f"too many {serial}" for serial in many]


class History(NamedTuple):
    """How many records each topic has, and the serial the log starts at."""

    counts: Counter[str]
    base: int


async def assert_history(
    log: Log, journal: Sequence[Sequence[Any]], *, dense: bool = True
) -> History:
    """All of the above of one log. `dense`: every offset is a record's; brokers skip some."""
    topics = {topic: await records_of(log, topic) for topic in Topic}
    for topic, records in topics.items():
        ends = await log.ends(topic)
        whole = not dense or sum(ends.values()) == len(records)
        assert whole, f"{topic} was compacted: nothing can be told"
    published = topics[Topic.METADATA] + topics[Topic.RELEASES]
    progress = topics[Topic.PROGRESS]
    heads = [json.loads(r.value) for r in progress if r.key == "head" and r.value is not None]
    base, head = heads[-1]["base"], heads[-1]["serial"]
    wrong = [
        *falls_back(published),
        *doubled(published),
        *fallen_positions(progress),
        *journal_differences(topics[Topic.CHANGELOG], journal, base, head),
    ]
    assert not wrong, "\n".join(wrong[:20])
    counts = Counter({topic.value: len(records) for topic, records in topics.items()})
    return History(counts, base)
