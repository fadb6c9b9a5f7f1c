"""The sink port: a materialised view of the log that others read through what it publishes.

Order     `sinks.feed` calls apply* -> reached -> publish?, one call at a time, in a thread. Of a
          sink that is `Publishing` it makes the copy beside the calls that follow.
Atomic    `apply` stores a batch's effect and its positions together, or nothing of either.
Resume    A position names the next record to read. `standing` says where a sink stands; the feed
          reads on from there. Records come in offset order per partition; a sink compares nothing.
Away      `standing` also tells since when it may have missed something: see `sinks.away`.
Cut       Between two cuts a sink may hold half of a worker's transaction. `reached` says that it
          stands exactly at a cut of all topics: only then, before the next `apply`, may it publish.
Rules     Nothing that a rule of redaction leaves out is handed over. A sink whose files keep
          something of a row that was replaced says under how many rules it was filled
          (`Standing.rules`), and is reset when there are more.
Rebuild   Whatever a sink holds can be made anew from the log: `reset` empties it.
Errors    DiskFull: nothing was done, the same call may be made again. ViewCorrupt, DumpCorrupt: the
          sink's own files are damaged; the feed resets it and starts over. Anything else stops it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from schemas.errors import DumpCorrupt, ViewCorrupt
from schemas.records import Config, Cut, Head
from schemas.topics import COMPACTED, Offset, Topic
from streams.log import Record, TopicPartition

BATCH_RECORDS_MAX = 8_000  # of one `apply`: a second of work; DuckDB's costs half of 2 000's each
BATCH_BYTES_MAX = 32 * 1024 * 1024  # of keys and values of one `apply`; the last may exceed it
DAMAGED = (ViewCorrupt, DumpCorrupt)
"""Errors that a reset cures."""

Positions = Mapping[TopicPartition, Offset]


class Vector(NamedTuple):
    """The identity of a snapshot: the log's id and a cut per partition, in their order.

    A cut that is None: that partition's worker has not written anything yet.
    """

    log_id: str
    cuts: tuple[Cut | None, ...]


def positions_of(vector: Vector, topics: tuple[Topic, ...]) -> Positions:
    """The positions of a sink of these topics when it has reached the vector."""
    return {
        TopicPartition(topic, partition): Offset(_place(cut, topic))
        for partition, cut in enumerate(vector.cuts)
        if cut is not None
        for topic in topics
    }


def _place(cut: Cut, topic: Topic) -> int:
    places = {
        Topic.CHANGELOG: cut.changelog,
        Topic.METADATA: cut.metadata,
        Topic.RELEASES: cut.releases,
        Topic.STATE: cut.state,
    }
    assert set(places) == {*COMPACTED, Topic.CHANGELOG}
    return places[topic]


class Standing(NamedTuple):
    """Where a sink stands: the log it was built from, and the next offset to read per partition.

    `as_of_ms`: it has read everything that was appended before this Unix time, 0 = unknown; stored
    with the positions, from the last `Batch` or published `Reached`, if not from each. An empty
    sink: ("", {}, 0). `rules`: those of the first `Batch`; None = nothing that was replaced stays
    in its files.
    """

    log_id: str
    positions: Positions
    as_of_ms: int = 0
    rules: int | None = None


class Batch(NamedTuple):
    """What one `apply` takes in: records, each partition's in order, and `positions` after them.

    `positions` has every partition of the sink, also those that did not move. `records` may be
    empty. `ready`: what a `Preparing` sink made of the records, None = it was not asked. If that
    was done in another process (`Portable`) it takes the place of the records.
    """

    config: Config
    records: Sequence[Record]
    positions: Positions
    as_of_ms: int = 0  # for `Standing`
    rules: int = 0  # for `Standing`
    ready: object = None


class Reached(NamedTuple):
    """A cut at which the sink stands exactly. `head` None = the journal was not read yet."""

    vector: Vector
    config: Config
    head: Head | None
    as_of_ms: int = 0  # for `Standing`


class Published(NamedTuple):
    """A publication: the file that was renamed last, and the bytes of all files."""

    path: Path
    bytes: int
    watermark: int | None


class Sink(Protocol):
    """One materialised view; see the module's docstring for its rules. Every call may block."""

    @property
    def name(self) -> str:
        """What users call it: `duckdb`, `dump`."""
        ...

    @property
    def topics(self) -> tuple[Topic, ...]:
        """The topics it reads, out of metadata, releases, state and changelog."""
        ...

    def standing(self) -> Standing:
        """Where it stands.

        Opens or creates its files; raises one of DAMAGED if they are damaged.
        """
        ...

    def apply(self, batch: Batch) -> None:
        """Take a batch in, atomically with its positions. The first batch sets the log's id."""
        ...

    def reached(self, at: Reached) -> None:
        """Note that it stands at this cut; at the latest a publication stores that."""
        ...

    def publish(self, now_ms: int) -> Published:
        """Publish the cut reached last, atomically for readers. `now_ms` is Unix time."""
        ...

    def published(self) -> Vector | None:
        """The vector of what is published now; None if nothing is, or nothing readable."""
        ...

    def reset(self) -> None:
        """Empty it, damaged files included (moved aside). What is published stays as it is."""
        ...

    def close(self) -> None:
        """Release files and locks. Idempotent; never raises."""
        ...


class RecordsWanted(Exception):
    """Raised by `apply`, which did nothing: it needs this batch again, with its records."""


class Rewound(Exception):
    """Raised by `apply`, which took nothing in: the sink may now stand at an earlier place.

    `standing` tells where; records from there on have to be passed again.
    """


@runtime_checkable
class Preparing(Protocol):
    """A sink that can do part of its work from the records alone, ahead of `apply`."""

    def prepared(self, records: Sequence[Record], config: Config) -> object:
        """What goes into `Batch.ready`. Pure: it runs in another thread, beside the other calls."""
        ...


@runtime_checkable
class Portable(Preparing, Protocol):
    """A sink whose preparations may come from another process."""

    def unpacked(self, data: bytes) -> object:
        """What `prepared` made in that process. Pure."""
        ...


class Copying(Protocol):
    """A publication in progress, in another thread beside the sink's other calls."""

    def copied(self) -> Published | None:
        """Publish the cut that was held. Called once; None = it was given up, nothing was done."""
        ...

    def stop(self) -> None:
        """Give up soon."""
        ...


@runtime_checkable
class Publishing(Protocol):
    """A sink that takes batches in while it publishes: `hold`, then `copied`, then `release`."""

    def hold(self, now_ms: int) -> Copying:
        """Keep the cut reached last as it is, until `release`. `now_ms` is Unix time."""
        ...

    def release(self) -> None:
        """The copy has ended, successfully or not."""
        ...
