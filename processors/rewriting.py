"""Rewrites what the log holds already, without the fields that a rule leaves out.

First `trim` applies the rule to what is fetched from then on. Then every document that was
published before is read again, from the log and not from upstream, and written at a new offset in
`metadata` and `releases` with a new hash in `state`: readers of the log, of a dump or of its deltas
get it like any other change. A cut tells how many rules the partition is done with.

The two records of an answer have the same id, and the same order in both topics, so one reader of
each is enough. A record whose partner is missing is asked for upstream.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from processors.content import renewed
from schemas.codec import NO_JSON
from schemas.names import NormalizedName
from schemas.records import Ask, Reason, State
from schemas.redaction import ANOMALY, Rules, redacted
from schemas.topics import Offset, Topic
from streams.asks import ask_record
from streams.clock import Clock
from streams.log import Headers, Log, Outgoing, Reader, Record, TopicPartition
from streams.states import States
from streams.watching import up_to_now

READ_RECORDS_MAX = 500  # of one read: milliseconds of the loop
PARTNER_RECORDS_MAX = 100  # the same of `releases`, whose values are larger
WAIT_SECONDS = 0.5  # of one read; everything looked for has been committed
MISSES_MAX = 100  # partners looked for in vain, each through the rest of the topic


class Rewrite(NamedTuple):
    """A published document and its releases, rewritten; valid while its hash is still `known`."""

    name: NormalizedName
    known: str
    hash: str
    records: tuple[Outgoing, ...]

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return sum(len(record.value or b"") for record in self.records)

    def on(self, state: State | None) -> State | None:
        """The resulting state; None if something else was published meanwhile."""
        if state is None or not state.published or state.hash != self.known:
            return None
        return replace(state, hash=self.hash, seen="")


@dataclass
class Rewriter:
    """Rewrites one partition."""

    log: Log
    partition: int
    with_releases: bool
    states: States
    clock: Clock

    async def rewrites(self, rules: Rules) -> AsyncIterator[Rewrite]:
        """Every document published before now that these rules concern.

        Raises what reading raises.
        """
        at = TopicPartition(Topic.METADATA, self.partition)
        start = (await self.log.starts(Topic.METADATA))[at]
        if start == (await self.log.ends(Topic.METADATA))[at]:
            return
        partners = _Partners(self.log, TopicPartition(Topic.RELEASES, self.partition))
        reader = await self.log.reader({at: start})
        try:
            async for records in up_to_now(self.log, reader, [at], READ_RECORDS_MAX):
                for record in records:
                    rewrite = await self._rewrite(record, rules, partners)
                    if rewrite is not None:
                        yield rewrite
                await asyncio.sleep(0)
        finally:
            await reader.close()
            await partners.close()

    async def _rewrite(self, record: Record, rules: Rules, partners: _Partners) -> Rewrite | None:
        name, value = NormalizedName(record.key or ""), record.value
        if value is None or not (fields := rules.fields(name)):
            return None
        state = self.states.get(name)
        if state is None or not state.published or record.header("serial") != str(state.body):
            return None
        after = _redacted(value, fields)
        if after is value:
            return None
        other: Record | None = None
        if self.with_releases:
            other = await partners.of(record.header("ce_id") or "")
            if other is None or other.value is None:
                await self._ask(name, state)
                return None
        hash_ = renewed(value, after, other.value if other is not None else None, state.hash)
        if hash_ is None:
            return None  # an older record: the published one comes later
        new = [self._anew(record, after, hash_)]
        if other is not None:
            new.append(self._anew(other, other.value or b"", hash_))
        return Rewrite(name, state.hash, hash_, tuple(new))

    def _anew(self, record: Record, value: bytes, hash_: str) -> Outgoing:
        """The headers as they were, with another id and one anomaly added."""
        identity = ":".join([*(record.header("ce_id") or ":::").split(":")[:3], hash_])
        # It is another record: a reader that skips known ids must not skip it.
        new = {"ce_id": f"{identity}:{self.clock.now_ms()}".encode()}
        odd = {*(record.header("anomalies") or "").split(","), ANOMALY} - {""}
        new["anomalies"] = ",".join(sorted(odd)).encode()
        kept = [(key, new.pop(key, text)) for key, text in record.headers]
        whole: Headers = (*kept, *new.items())
        return Outgoing(record.topic, record.key, value, whole)

    async def _ask(self, name: NormalizedName, state: State) -> None:
        """Ask for the document: then it is published anew from upstream."""
        ask = Ask(state.name, Reason.REPAIR, whole=True)
        await self.log.append([ask_record(name, ask, self.clock.now_ms())])


def _redacted(value: bytes, fields: frozenset[str]) -> bytes:
    try:
        return redacted(value, fields)
    except NO_JSON:
        return value  # not one of ours: `verify` reports it


class _Partners:
    """Finds the partners, which must be asked for in the order of the first records."""

    def __init__(self, log: Log, at: TopicPartition) -> None:
        self._log = log
        self._at = at
        self._reader: Reader | None = None
        self._held: deque[Record] = deque()
        self._after = Offset(0)  # everything before it was returned, or has no partner
        self._misses = 0

    async def of(self, answer: str) -> Record | None:
        """The record of that id; None if there is none after the one given last."""
        if self._misses >= MISSES_MAX:
            return None
        reader = self._reader or await self._open()
        end = (await self._log.ends(self._at.topic))[self._at] if not self._held else None
        while True:
            while self._held:
                record = self._held.popleft()
                if record.header("ce_id") == answer:
                    self._after = Offset(record.offset + 1)
                    return record
            end = end if end is not None else (await self._log.ends(self._at.topic))[self._at]
            if reader.position(self._at) >= end:
                self._misses += 1
                await self.close()  # the next search begins where this one began
                return None
            self._held.extend(await reader.read(PARTNER_RECORDS_MAX, WAIT_SECONDS))

    async def close(self) -> None:
        """Let go of the reader."""
        reader, self._reader = self._reader, None
        self._held.clear()
        if reader is not None:
            await reader.close()

    async def _open(self) -> Reader:
        start = (await self._log.starts(self._at.topic))[self._at]
        self._reader = await self._log.reader({self._at: max(start, self._after)})
        return self._reader
