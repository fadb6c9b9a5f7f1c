"""The log as sinks and feeds may see it: without what the rules of redaction leave out.

The log itself follows later, on Kafka after days, and the journal in it is never changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from schemas.codec import NO_JSON
from schemas.redaction import NO_RULES, Rules, masked_entry, masked_letter, redacted
from schemas.topics import Offset, Topic
from streams.log import Changing, Log, Outgoing, Reader, Record, Table, TopicPartition, Writer
from streams.rules import RulesWatch

LOOK_SECONDS = 1.0  # how late an open reader learns of a rule; a new one knows all of them


class MaskedLog:
    """See `streams.log.Log`. Belongs to one event loop. Ended by `close` or by `leave`."""

    def __init__(self, inner: Log) -> None:
        self._inner = inner
        self._watch = RulesWatch(inner)
        self._turn = asyncio.Lock()
        self._looked = float("-inf")  # of the loop's time
        self.rules = NO_RULES

    @classmethod
    def of(cls, log: Log) -> MaskedLog:
        """`log` masked; the same object if it is masked already."""
        return log if isinstance(log, MaskedLog) else cls(log)

    async def look(self, after_seconds: float = 0.0) -> Rules:
        """The rules as of now, or of a recent look. Raises LogUnavailable."""
        async with self._turn:
            now = asyncio.get_running_loop().time()
            if now - self._looked >= after_seconds:
                self.rules = await self._watch.look()
                self._looked = now
            return self.rules

    @property
    def partitions(self) -> int:
        """N."""
        return self._inner.partitions

    async def writer(self, writer_id: str) -> Writer:
        """As the log below."""
        return await self._inner.writer(writer_id)

    async def append(self, records: Sequence[Outgoing]) -> Sequence[Offset]:
        """As the log below."""
        return await self._inner.append(records)

    async def reader(self, positions: Mapping[TopicPartition, Offset]) -> Reader:
        """A reader that knows every rule made up to now."""
        await self.look()
        return _MaskedReader(self, await self._inner.reader(positions))

    async def table(self, at: TopicPartition) -> Table:
        """As the log below: the tables that sinks fold hold nothing to mask."""
        if at.topic in MASKED:
            raise ValueError(f"{at.topic} is read, not folded, where rules may leave something out")
        return await self._inner.table(at)

    async def ends(self, topic: Topic) -> Mapping[TopicPartition, Offset]:
        """As the log below."""
        return await self._inner.ends(topic)

    async def starts(self, topic: Topic) -> Mapping[TopicPartition, Offset]:
        """As the log below."""
        return await self._inner.starts(topic)

    async def clean(self, now_ms: int) -> int:
        """As the log below."""
        return await self._inner.clean(now_ms)

    async def purge(self, letter: Changing) -> int:
        """As the log below."""
        return await self._inner.purge(letter)

    async def leave(self) -> None:
        """Close only what this object opened: others use the log below, too."""
        await self._watch.__aexit__()

    async def close(self) -> None:
        """Close the log below, too."""
        await self.leave()
        await self._inner.close()


class _MaskedReader:
    def __init__(self, log: MaskedLog, inner: Reader) -> None:
        self._log = log
        self._inner = inner

    async def read(self, max_records: int, wait_seconds: float) -> list[Record]:
        # Look before reading: an error afterwards would lose what was read.
        rules = await self._log.look(LOOK_SECONDS)
        records = await self._inner.read(max_records, wait_seconds)
        return records if not rules.count else [masked(record, rules) for record in records]

    def position(self, at: TopicPartition) -> Offset:
        return self._inner.position(at)

    async def close(self) -> None:
        await self._inner.close()


MASKED = (Topic.METADATA, Topic.CHANGELOG, Topic.DEAD_LETTER)


def masked(record: Record, rules: Rules) -> Record:
    """The record without what the rules leave out; the same object if nothing is. Pure.

    Raises LogCorrupt.
    """
    if record.topic not in MASKED or record.value is None:
        return record
    value = record.value
    if record.topic is Topic.DEAD_LETTER:
        # A letter without a key belongs to no project that a rule could name.
        if not record.key or rules.fields(record.key):
            value = masked_letter(value)
    elif record.key is not None and (fields := rules.fields(record.key)):
        if record.topic is Topic.CHANGELOG:
            value = masked_entry(value, fields)
        else:
            value = _document(value, fields)
    return record if value is record.value else record._replace(value=value)


def _document(value: bytes, fields: frozenset[str]) -> bytes:
    try:
        return redacted(value, fields)
    except NO_JSON:
        return value  # no document: its reader will report that
