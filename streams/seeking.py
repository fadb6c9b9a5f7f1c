"""Finds an offset in `changelog` by a number that its rows carry, such as their serial.

Rows of one partition are in the order of their serials, with two exceptions. `late` ones, from
before the log began, are skipped here. Those that an index showed ahead of itself come before a few
rows with lower serials: a reader that must not miss them starts a little earlier
(DISPLACED_OFFSETS_MAX).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from schemas.topics import Offset
from streams.log import Log, Record, TopicPartition

PROBE_RECORDS = 200  # of one look
PROBE_WAIT_SECONDS = 0.5  # of one read; everything below an end has been committed
SERIAL_DIGITS_MAX = 19  # of 2**63 - 1
DISPLACED_OFFSETS_MAX = 2_000  # serials that appear while upstream makes one index, in some seconds

Spans = Mapping[TopicPartition, tuple[Offset, Offset]]
Number = Callable[[Record], int | None]
"""What a row is found by; it rises within a partition. None: the record does not count."""


def serial_of(record: Record) -> int | None:
    """The serial of the event behind a record: its row's own in `changelog`. None for a marker."""
    text = record.header("event-serial")
    if text is None or not text.isdecimal() or len(text) > SERIAL_DIGITS_MAX:
        return None
    return int(text)


def is_late(record: Record) -> bool:
    """Whether it is a row from before the log began, which was added later."""
    return record.header("late") == "true"


async def seek(
    log: Log, spans: Spans, above: int, number: Number = serial_of
) -> dict[TopicPartition, Offset]:
    """Offsets within `spans` such that every row with a number above `above` is at or after them.

    A binary search, in all partitions at once with one reader per step. Raises LogUnavailable.
    """
    low = {at: span[0] for at, span in spans.items()}
    high = {at: span[1] for at, span in spans.items()}
    while unsure := [at for at in spans if low[at] < high[at]]:
        middle = {at: Offset((low[at] + high[at]) // 2) for at in unsure}
        found = await _rows_at_or_after(log, middle, high, number)
        for at in unsure:
            row = found.get(at)
            if row is None or row[1] > above:
                high[at] = middle[at]
            else:
                low[at] = Offset(row[0] + 1)
    return low


async def _rows_at_or_after(
    log: Log,
    places: Mapping[TopicPartition, Offset],
    ends: Mapping[TopicPartition, Offset],
    number: Number,
) -> dict[TopicPartition, tuple[Offset, int]]:
    """Offset and number of each place's first row from there on that is in order."""
    found: dict[TopicPartition, tuple[Offset, int]] = {}
    reader = await log.reader(places)
    try:
        while any(at not in found and reader.position(at) < ends[at] for at in places):
            for record in await reader.read(PROBE_RECORDS, PROBE_WAIT_SECONDS):
                at, value = TopicPartition(record.topic, record.partition), number(record)
                if value is not None and not is_late(record) and record.offset < ends[at]:
                    found.setdefault(at, (record.offset, value))
        return found
    finally:
        await reader.close()
