"""The log's three compacted topics up to one cut, as facts per record, sorted by name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import msgspec

from processors.content import Started, started
from pypistream.sorting import Sorter
from pypistream.verify_facts import Fact
from schemas.codec import decode
from schemas.records import Config, State
from schemas.topics import Offset, Topic
from sinks.duckdb_verify import RowHashes
from sinks.dump_verify import line_digest
from sinks.feed import CUT_AGE_SECONDS_MAX
from sinks.reading import CutReader
from sinks.sink import Positions, Vector, positions_of
from streams.log import Log, Record, TopicPartition
from streams.progress import read_progress

DOCUMENTS = (Topic.METADATA, Topic.RELEASES)
HASHES_CODE = "#"  # sorts before the topics' names
SEPARATOR = "\0"

_encode = msgspec.json.Encoder().encode
_fact = msgspec.json.Decoder(Fact).decode
_hashes = msgspec.json.Decoder(tuple[str, list[str]]).decode

RowHasher = Callable[[Sequence[Record], Config], Sequence[RowHashes]]


class NameFacts(msgspec.Struct):
    """The newest record per topic, and what the two documents hash to (None = no pair)."""

    name: str
    facts: dict[Topic, Fact]
    hashes: Sequence[str] | None


@dataclass
class _Waiting:
    """Halves of answers, by name: the metadata's id and hashes, or the releases record."""

    metadata: dict[str, tuple[str, Started]] = field(default_factory=dict)
    releases: dict[str, tuple[str, bytes]] = field(default_factory=dict)


@dataclass
class LogFacts:
    """Reads the log once; `vector` is what was read up to.

    `rows_of` says what rows records leave in DuckDB (None = nobody wants to know), `lines` whether
    the dump's lines are wanted.
    """

    log: Log
    config: Config
    into: Sorter
    rows_of: RowHasher | None = None
    lines: bool = True
    records: int = 0
    _waiting: _Waiting = field(default_factory=_Waiting)

    @property
    def with_releases(self) -> bool:
        """Whether this log has the topic `releases`."""
        return self.config.releases == "all"

    async def read(self) -> Vector:
        """Take everything in up to a cut, and say which. Raises LogUnavailable, LogCorrupt.

        As for a sink: what is read for longer than replaced records are kept may lack some, so
        reading goes on to a newer cut.
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
        """One partition; both documents of an answer are read at about the same time."""
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
                await asyncio.sleep(0)  # a signal may want to end this
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
                decode(record.value, State)  # a damaged one is LogCorrupt, no difference
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
        waiting, answer = self._waiting, record.header("ce_id") or ""
        if record.topic is Topic.METADATA:
            begun = started(record.value or b"")
            if not self.with_releases:
                self._put_hashes(name, record.offset, answer, begun.alone())
                return
            other = waiting.releases.get(name)
            waiting.metadata.pop(name, None)  # of an answer before: its other half was replaced
            if other is not None and other[0] == answer:
                del waiting.releases[name]
                self._put_hashes(name, record.offset, answer, begun.with_releases(other[1]))
            else:
                waiting.metadata[name] = (answer, begun)
            return
        half = waiting.metadata.get(name)
        if half is not None and half[0] == answer:
            del waiting.metadata[name]
            hashes = half[1].with_releases(record.value or b"")
            self._put_hashes(name, record.offset, answer, hashes)
        elif record.value is not None:
            waiting.releases[name] = (answer, record.value)
        else:
            waiting.releases.pop(name, None)

    def _put_hashes(self, name: str, offset: Offset, answer: str, hashes: frozenset[str]) -> None:
        self._put(name, HASHES_CODE, offset, _encode((answer, sorted(hashes))))

    def _put(self, name: str, code: str, offset: Offset, text: bytes) -> None:
        head = f"{name}{SEPARATOR}{code}{SEPARATOR}{offset:019d}{SEPARATOR}"
        self.into.put(head.encode() + text + b"\n")


def by_name(lines: Sorter, *, with_releases: bool) -> Iterator[NameFacts]:
    """Every name the log has records of, in order."""
    parted = (line.split(b"\0", 3) for line in lines)
    for name, group in groupby(parted, key=lambda parts: parts[0]):
        newest: dict[bytes, bytes] = {}
        pairs: dict[str, list[str]] = {}
        for _, code, _, text in group:
            newest[code] = text
            if code == HASHES_CODE.encode():
                answer, hashes = _hashes(text)
                pairs[answer] = hashes
        newest.pop(HASHES_CODE.encode(), None)
        facts = {Topic(code.decode()): _fact(text) for code, text in newest.items()}
        yield NameFacts(name.decode(), facts, _hashes_of(facts, pairs, with_releases=with_releases))


def _hashes_of(
    facts: dict[Topic, Fact], pairs: dict[str, list[str]], *, with_releases: bool
) -> Sequence[str] | None:
    """What the newest documents hash to together."""
    answers = {facts[topic].id for topic in DOCUMENTS if topic in facts}
    wanted = 1 + with_releases
    present = sum(topic in facts for topic in DOCUMENTS)
    if len(answers) != 1 or present != wanted:
        return None
    return pairs.get(answers.pop())
