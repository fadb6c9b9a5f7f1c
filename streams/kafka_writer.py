"""One transactional producer: the holder of a writer id on Kafka.

KIP-98: taking the id fences the predecessor and aborts what it left open. aiokafka's producer is in
an unknown state after an error, a time-out or a cancel (a commit may still go through later), so it
is thrown away then; who takes the id anew sees all of that transaction or nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType

from aiokafka import AIOKafkaProducer

from schemas.errors import WriterFenced
from schemas.topics import Offset
from streams.kafka_batches import grouped, packed, sent
from streams.kafka_errors import translated
from streams.kafka_settings import KafkaSettings
from streams.log import Closing, LogUnavailable, Outgoing, TopicPartition

TRANSACTION_MS_MAX = 10_000  # the broker aborts what is open longer, so a dead writer blocks nobody
COMMIT_SECONDS_MAX = 8.0  # of one `commit`; less than that, so that we give up first

Visible = Callable[[Mapping[TopicPartition, Offset]], Awaitable[object]]
"""Wait until readers see these partitions up to these offsets."""

Discard = Callable[[AIOKafkaProducer], None]
"""Stop a producer in the background."""


class KafkaWriter:
    """See `streams.log.Writer`."""

    def __init__(
        self,
        writer_id: str,
        settings: KafkaSettings,
        producer: AIOKafkaProducer,
        next_offsets: Mapping[TopicPartition, Offset],
        visible: Visible,
        discard: Discard,
        partitions: int,
    ) -> None:
        self._id = writer_id
        self._settings = settings
        self._producer = producer
        self._next = dict(next_offsets)
        self._visible = visible
        self._discard = discard
        self._partitions = partitions
        self._spent = False
        self._log_closed = False

    async def commit(
        self, records: Sequence[Outgoing], closing: Closing | None = None
    ) -> Sequence[Offset]:
        """One transaction; see the port."""
        groups = grouped(records, self._partitions)
        self._check()
        if not records and closing is None:
            return []
        self._spent = True
        try:
            with translated(f"commit as {self._id}", self._settings.security.principal):
                async with asyncio.timeout(COMMIT_SECONDS_MAX):
                    offsets = await self._transaction(groups, len(records), closing)
        except BaseException:
            self._discard(self._producer)
            raise
        if self._log_closed:
            raise LogUnavailable("the log has been closed")
        self._spent = False
        return offsets

    async def close(self) -> None:
        """Give the id up; the broker releases it by itself."""
        if not self._spent:
            self._spent = True
            self._discard(self._producer)

    def log_closed(self) -> None:
        """The log was closed: later calls raise LogUnavailable."""
        self._log_closed = True

    def _check(self) -> None:
        if self._log_closed:
            raise LogUnavailable("the log has been closed")
        if self._spent:
            raise WriterFenced(f"the writer id {self._id!r} was given up here; take it anew")

    async def _transaction(
        self,
        groups: Mapping[TopicPartition, Sequence[tuple[int, Outgoing]]],
        count: int,
        closing: Closing | None,
    ) -> list[Offset]:
        offsets = [Offset(-1)] * count
        written: dict[TopicPartition, Offset] = {}
        await self._producer.begin_transaction()
        pieces = list(packed(self._producer, groups))
        for at, found in (await sent(self._producer, pieces, self._settings.prefix)).items():
            written[at] = Offset(found[-1] + 1)
            for (number, _), offset in zip(groups[at], found, strict=True):
                offsets[number] = offset
        if closing is not None:
            # What `closing` needs to know is known only now: offsets come with the broker's answer.
            last = closing(MappingProxyType({**self._next, **written}))
            pieces = list(packed(self._producer, grouped(last, self._partitions)))
            for at, found in (await sent(self._producer, pieces, self._settings.prefix)).items():
                written[at] = Offset(found[-1] + 1)
        await self._producer.commit_transaction()
        # The broker answers when the outcome is certain; its markers follow. Until they are there
        # readers see nothing, and the next transaction would be told to come back in 20 ms.
        await self._visible(written)
        self._next.update(written)
        return offsets
