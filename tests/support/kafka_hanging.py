"""Transactions that hang: their records are there, and no broker knows of them any more.

Brokers check before the first record of a transaction that its coordinator knows the partition.
With that switched off a producer can leave it out, and no marker ever comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Collection, Iterator
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as Place
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import InvalidTxnState

from schemas.topics import Topic
from streams.kafka_ending import stopped
from streams.kafka_settings import KafkaSettings
from streams.kafka_wire import IncrementalAlterConfigs
from tests.support.kafka_broker import SHARED

HEARD_SECONDS_MAX = 60.0  # until a broker goes by its new config, on a busy machine
LOOK_SECONDS = 0.2

_CONFIG = "transaction.partition.verification.enable"
_BROKERS = (4, "")  # ConfigResource.Type.BROKER, all of them
_SET, _DELETE = 0, 1  # AlterConfigOp.OpType


@contextlib.asynccontextmanager
async def unverified(bootstrap: str) -> AsyncIterator[None]:
    """The brokers take records of transactions that they were not told of."""
    with _alone():
        await _alter(bootstrap, _SET, "false")
        try:
            yield
        finally:
            await _alter(bootstrap, _DELETE, None)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One test at a time: the others of this run have the same brokers."""
    with Path(os.environ[SHARED], "unverified").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


async def _alter(bootstrap: str, operation: int, value: str | None) -> None:
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        request = IncrementalAlterConfigs([(*_BROKERS, [(_CONFIG, operation, value)])])
        response = await client.send(client.get_random_node(), request)
        [row] = response.to_object()["resources"]
        assert not row["error_code"], row
    finally:
        await client.close()


async def hang(
    settings: KafkaSettings,
    writer_id: str,
    left: Collection[Topic],
    committed: Collection[Topic] = (),
) -> None:
    """One transaction with a record in partition 0 of each topic, which hangs in those `left`.

    Its coordinator knows of those that are `committed`, and takes it for complete.
    """
    async with unverified(settings.bootstrap), asyncio.timeout(HEARD_SECONDS_MAX):
        while not await _hung(settings, writer_id, left, committed):  # noqa: ASYNC110 (no event says so)
            await asyncio.sleep(LOOK_SECONDS)


async def _hung(
    settings: KafkaSettings, writer_id: str, left: Collection[Topic], committed: Collection[Topic]
) -> bool:
    """False if the brokers have not heard yet that they are to take it; then there is nothing."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.bootstrap, transactional_id=settings.prefix + writer_id
    )
    await producer.start()
    try:
        await producer.begin_transaction()
        for topic in (*left, *committed):
            name = settings.prefix + topic
            if topic in left:  # as if it had been told of
                producer._txn_manager._txn_partitions.add(Place(name, 0))
            await producer.send_and_wait(name, b"hanging", key=b"a-project", partition=0)
        if committed:
            await producer.commit_transaction()
    except InvalidTxnState:
        return False
    finally:
        await stopped(producer, 0.0)
    return True
