"""Reads the log's three compacted topics up to one cut, as facts per record, sorted by name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import msgspec

from processors.content import started
from pypistream.verify.facts import Fact
from pypistream.verify.pairs import Halves, Pair
from pypistream.verify.sorting import Sorter
from schemas.codec import decode
from schemas.records import Config, State
from schemas.topics import Offset, Topic
from sinks.duckdb.verify import RowHashes
from sinks.dump.verify import line_digest
from sinks.feed import CUT_AGE_SECONDS_MAX
from sinks.reading import CutReader
from sinks.sink import Positions, Vector, positions_of
from streams.log import Log, Record, TopicPartition
from streams.progress import read_progress

DOCUMENTS = (Topic.METADATA, Topic.RELEASES)
PAIR_CODE = "#"
SEPARATOR = "\0"

_encode = msgspec.json.Encoder().encode
_fact = msgspec.json.Decoder(Fact).decode
_pair = msgspec.json.Decoder(Pair).decode

RowHasher = Callable[[Sequence[Record], Config], Sequence[RowHashes]]


class NameFacts(msgspec.Struct):
    """The newest record per topic, and what the two documents hash to (None = no pair)."""

    name: str
    facts: dict[Topic, Fact]
    hashes: Sequence[str] | None


@dataclass
class LogFacts:
    """Reads the log once; `vector` is what was read up to.

    `rows_of` computes the rows that records give in DuckDB (None = not wanted), `lines` tells
    whether the dump's lines are wanted.
    """

    log: Log
    config: Config
    into: Sorter
    rows_of: RowHasher | None = None
    lines: bool = True
    records: int = 0
    _halves: Halves = field(default_factory=Halves)

    @property
    def with_releases(self) -> bool:
        """Whether this log has the topic `releases`."""
        return self.config.releases == "all"

    async def read(self) -> Vector:
        """Read everything up to a cut, and return that. Raises LogUnavailable, LogCorrupt.

        As for a sink, if reading takes longer than replaced records are kept, some may be missing;
        then it goes on to a newer cut.
        """
        positions: dict[TopicPartition, Offset] = {}
        for topic in self._topics:
            positions.update(await self.log.starts(topic))
        while True:
            begun = time.monotonic()
            vector = Vector(self.config.log_id, (await read_progress(self.log)).cuts)
            due = positions_of(vector, self._topics)
            for partition in range(self.log.partitions):
                await self._partition(partition, due, positions)
            if time.monotonic() - begun <= CUT_AGE_SECONDS_MAX:
                return vector

    @property
    def _topics(self) -> tuple[Topic, ...]:
        return (*DOCUMENTS, Topic.STATE) if self.with_releases else (Topic.METADATA, Topic.STATE)

    async def _partition(
        self, partition: int, due: Positions, positions: dict[TopicPartition, Offset]
    ) -> None:
        """Read one partition, both documents of an answer at about the same time."""
        readers: dict[TopicPartition, CutReader] = {}
        reached_ms: dict[TopicPartition, int] = {}
        for topic in self._topics:
            at = TopicPartition(topic, partition)
            if at in due and positions[at] < due[at]:
                readers[at], reached_ms[at] = CutReader(self.log), 0
        try:
            while reached_ms:
                at = min(reached_ms, key=reached_ms.__getitem__)
                piece = await readers[at].piece({at: due[at]}, {at: positions[at]})
                if piece is None:
                    del reached_ms[at]
                    continue
                positions[at] = piece.positions[at]
                if piece.records:
                    self._take(piece.records)
                    reached_ms[at] = piece.records[-1].timestamp_ms
                await asyncio.sleep(0)  # so that a signal can end this
        finally:
            for reader in readers.values():
                await reader.close()

    def _take(self, records: Sequence[Record]) -> None:
        rows: Sequence[RowHashes] = [{}] * len(records)
        if self.rows_of is not None:
            rows = self.rows_of(records, self.config)
        self.records += len(records)
        for record, row in zip(records, rows, strict=True):
            if record.key is None:
                continue
            if record.topic is Topic.STATE and record.value is not None:
                decode(record.value, State)  # a damaged record is LogCorrupt, not a difference
            self._put(
                record.key, record.topic.value, record.offset, _encode(self._fact(record, row))
            )
            if record.topic in DOCUMENTS:
                self._pair(record.key, record)

    def _fact(self, record: Record, rows: RowHashes) -> Fact:
        serial = record.header("serial")
        return Fact(
            offset=record.offset,
            gone=record.value is None,
            serial=int(serial) if serial is not None and serial.isdecimal() else None,
            id=record.header("ce_id") or "",
            line=line_digest(record) if self.lines else "",
            rows=dict(rows),
            state=msgspec.Raw(
                record.value if record.topic is Topic.STATE and record.value else b"null"
            ),
        )

    def _pair(self, name: str, record: Record) -> None:
        """Hash both documents of an answer as soon as the second is read."""
        if record.value is None:
            return
        if not self.with_releases:
            pair = Pair(record.offset, 0, sorted(started(record.value).alone()))
            self._put(name, PAIR_CODE, record.offset, _encode(pair))
            return
        found = self._halves.take(name, record, record.value)
        if found is not None:
            self._put(name, PAIR_CODE, found.metadata, _encode(found))

    def _put(self, name: str, code: str, offset: int, text: bytes) -> None:
        head = f"{name}{SEPARATOR}{code}{SEPARATOR}{offset:019d}{SEPARATOR}"
        self.into.put(head.encode() + text + b"\n")


def by_name(lines: Sorter) -> Iterator[NameFacts]:
    """Every name the log has records of, in order."""
    parted = (line.split(b"\0", 3) for line in lines)
    for name, group in groupby(parted, key=lambda parts: parts[0]):
        newest = {code.decode(): text for _, code, _, text in group}
        last = newest.pop(PAIR_CODE, None)
        facts = {Topic(code): _fact(text) for code, text in newest.items()}
        hashes = None if last is None else _hashes(_pair(last), facts)
        yield NameFacts(name.decode(), facts, hashes)


def _hashes(pair: Pair, facts: Mapping[Topic, Fact]) -> Sequence[str] | None:
    """The hashes of the newest documents together; None if they were not read as a pair."""
    ours = facts.get(Topic.METADATA), facts.get(Topic.RELEASES)
    places = tuple(fact.offset if fact is not None else 0 for fact in ours)
    return pair.hashes if places == (pair.metadata, pair.releases) else None
