"""The sink port: a materialised view of the log that others read through what it publishes.

Order     `sinks.feed` calls apply* -> reached -> publish?, one call at a time, in a thread. Of a
          sink that is `Publishing` it makes the copy beside the calls that follow.
Atomic    `apply` stores a batch's effect and its positions together, or nothing of either.
Resume    A position names the next record to read. `standing` says where a sink stands; the feed
          reads on from there. Records come in offset order per partition; a sink compares nothing.
Away      `standing` tells since when it may have missed something, too: see `sinks.away`.
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
BATCH_BYTES_MAX = (
    32 * 1024 * 1024
)  # of keys and values of one `apply`; one record more may exceed it
DAMAGED = (ViewCorrupt, DumpCorrupt)
"""Errors that a reset cures."""

Positions = Mapping[TopicPartition, Offset]


class Vector(NamedTuple):
    """Identity of a snapshot: the log and its cut per partition, in the order of the partitions.

    None = that partition's worker has not written any progress yet, and so no record either.
    """

    log_id: str
    cuts: tuple[Cut | None, ...]


def positions_of(vector: Vector, topics: tuple[Topic, ...]) -> Positions:
    """Where a sink of these topics stands when it has reached the vector."""
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

    `as_of_ms`: Unix time by which it had read everything appended before, 0 = not known; stored
    with the positions, from the `Batch` or `Reached` that came last. An empty sink: ("", {}, 0).
    `rules`: of the first `Batch`; None = nothing of what is replaced stays in its files.
    """

    log_id: str
    positions: Positions
    as_of_ms: int = 0
    rules: int | None = None


class Batch(NamedTuple):
    """What one `apply` takes in: records, each partition's in order, and `positions` after them.

    `positions` has all of the sink's, also those that did not move. `records` may be empty.
    `ready`: what a `Preparing` sink made of the records, None = it was not asked. Where that was
    done in another process (`Portable`) the records are not here: it stands for them.
    """

    config: Config
    records: Sequence[Record]
    positions: Positions
    as_of_ms: int = 0  # for `Standing`
    rules: int = 0  # for `Standing`
    ready: object = None


class Reached(NamedTuple):
    """A cut that the sink stands at exactly. `head` None = the journal was not read yet."""

    vector: Vector
    config: Config
    head: Head | None
    as_of_ms: int = 0  # for `Standing`


class Published(NamedTuple):
    """What others can read from now on: the file renamed last, and the bytes of all files."""

    path: Path
    bytes: int
    watermark: int | None


class Sink(Protocol):
    """One materialised view; see the module's text for its rules. Every call may block."""

    @property
    def name(self) -> str:
        """What users call it: `duckdb`, `dump`."""
        ...

    @property
    def topics(self) -> tuple[Topic, ...]:
        """What it reads, out of metadata, releases, state and changelog."""
        ...

    def standing(self) -> Standing:
        """Where it stands. Opens or makes its files; raises a DAMAGED error if they are."""
        ...

    def apply(self, batch: Batch) -> None:
        """Take a batch in, atomically with its positions. The first batch sets the log's id."""
        ...

    def reached(self, at: Reached) -> None:
        """Store that it stands at this cut."""
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
        """Let go of files and locks. Idempotent; never raises."""
        ...


class RecordsWanted(Exception):
    """Raised by `apply`, which did nothing: it wants this batch again, with its records."""


class Rewound(Exception):
    """Raised by `apply`, which took nothing in: the sink stands at an earlier place than before.

    `standing` tells where; what came since is to be handed over again.
    """


@runtime_checkable
class Preparing(Protocol):
    """A sink part of whose work needs nothing but the records, and can be done ahead of `apply`."""

    def prepared(self, records: Sequence[Record], config: Config) -> object:
        """For `Batch.ready`. Pure: it runs beside the other calls, in another thread."""
        ...


@runtime_checkable
class Portable(Preparing, Protocol):
    """One whose preparations may come from another process."""

    def unpacked(self, data: bytes) -> object:
        """What `prepared` had made there. Pure, as that is."""
        ...


class Copying(Protocol):
    """A publication that is under way beside the sink's other calls, in another thread."""

    def copied(self) -> Published | None:
        """Publish the cut that was held. Called once; None = given up, and nothing was done."""
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
        """The copy has ended, whatever became of it."""
        ...
