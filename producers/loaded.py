"""What a log is told after it was loaded from another instance's dump: cuts, head, config. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from schemas.records import Bootstrap, Cut, Head, History, Places
from schemas.topics import Topic
from streams.log import Headers, NextOffsets, Outgoing, TopicPartition
from streams.progress import BOOTSTRAP_KEY, CUT_KEY, HEAD_KEY, progress_record

GONE = 0  # in place of a digest: a tombstone
_OF_THE_WRITING = ("ce_id", "ce_specversion", "ce_dataschema", "content-type")
"""Headers that may differ between two records that say the same."""


class Origin(NamedTuple):
    """What was loaded, and what it claims: everything in (base, reached] is reflected.

    With base 0 that is a watermark. `places` are those of the other log `log`, `time` Unix seconds.
    """

    log: str
    places: Places
    source: str
    base: int
    reached: int
    time: int


def digest(topic: Topic, value: bytes | None, headers: Headers) -> int:
    """Tells records apart that say different things; never GONE but for a tombstone."""
    if value is None:
        return GONE
    made = hashlib.blake2b(value, digest_size=8)
    if topic is not Topic.STATE:  # its headers say when it was written, no more
        for name, text in headers:
            if name not in _OF_THE_WRITING:
                made.update(b"%b\0%b\0" % (name.encode(), text))
    return int.from_bytes(made.digest(), "big") + 1


def marks_of_loading(partitions: int, now_ms: int, *, of: Bootstrap) -> list[Outgoing]:
    """What says that a load is under way, in every partition of `progress` with a writer's id."""
    return [
        progress_record(
            p, BOOTSTRAP_KEY, of if p == partitions else Bootstrap(loading=True), now_ms
        )
        for p in range(partitions + 1)
    ]


class Begun(NamedTuple):
    """What goes on to hold in a log that is loaded.

    cuts      where each partition's worker shall read on in changelog and refetch, and its count of
              the sweep
    head      the log's own; None = the log begins at what was loaded
    history   what of the journal is held from before it begins. Without offsets its rows have just
              been written: they lie before the ends, and so does what workers are to read
    """

    cuts: Sequence[Cut] = ()
    head: Head | None = None
    history: History | None = None


def loaded_records(origin: Origin, begun: Begun, ends: NextOffsets, now_ms: int) -> list[Outgoing]:
    """The last records of a load, written together: from here on the log is a whole one."""
    partitions = len(begun.cuts)
    read = tuple(ends[TopicPartition(Topic.CHANGELOG, p)] for p in range(partitions))
    begin, head, history = begun
    if history is not None and not history.changelog:
        history = replace(history, changelog=read)
        if head is None:
            begin = [replace(at, changelog=end) for at, end in zip(begin, read, strict=True)]
    cuts = tuple(_cut(origin, at, ends, p) for p, at in enumerate(begin))
    if head is None:
        head = Head(origin.reached, origin.reached, origin.time, read)
    head = replace(head, history=history)
    whole = Bootstrap(
        log=origin.log, places=origin.places, source=origin.source, time=now_ms // 1000, cuts=cuts
    )
    records = []
    for partition, cut in enumerate(cuts):
        records.append(progress_record(partition, CUT_KEY, cut, now_ms))
        records.append(progress_record(partition, BOOTSTRAP_KEY, Bootstrap(), now_ms))
    records.append(progress_record(partitions, HEAD_KEY, head, now_ms))
    records.append(progress_record(partitions, BOOTSTRAP_KEY, whole, now_ms))
    return records


def _cut(origin: Origin, begin: Cut, ends: NextOffsets, partition: int) -> Cut:
    """`low`: with a watermark nothing up to it is missing, whatever base later markers name."""
    metadata, releases, state = (
        ends[TopicPartition(topic, partition)]
        for topic in (Topic.METADATA, Topic.RELEASES, Topic.STATE)
    )
    return Cut(
        *(begin.changelog, begin.refetch, metadata, releases, state),
        base=origin.base,
        serial=origin.reached,
        time=origin.time,
        low=0 if origin.base else origin.reached,
        swept=begin.swept,
    )
