"""A transaction whose markers the brokers left out is ended by whoever takes its writer's id.

Found when a broker was killed and was back before its session had ended: it left out the markers of
a commit that was just being made, and the worker of that partition waited for ever.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiokafka import TopicPartition as Place

from schemas.topics import Topic
from streams import kafka_log
from streams.kafka_log import KafkaLog
from streams.kafka_settings import KafkaSettings
from streams.log import LogUnavailable, Outgoing, TopicPartition
from tests.support.kafka_bare import consumer, open_places
from tests.support.kafka_hanging import hang
from tests.support.logs import read_all

WORKER = "worker-0"


@pytest.fixture
def settings(kafka_bootstrap: str, kafka_prefix: str) -> KafkaSettings:
    return KafkaSettings(kafka_bootstrap, kafka_prefix)


@pytest.fixture
async def log(settings: KafkaSettings) -> AsyncIterator[KafkaLog]:
    one = await KafkaLog.open(settings, 1)
    yield one
    await one.close()


def record(topic: Topic) -> Outgoing:
    return Outgoing(topic, "a-project", b"next", partition=0)


async def values(log: KafkaLog, topic: Topic) -> list[bytes | None]:
    """What committed readers are given of a partition, up to its stable end."""
    return [each.value for each in await read_all(log, [TopicPartition(topic, 0)])]


async def left_open(settings: KafkaSettings) -> set[str]:
    """Topics whose partition 0 holds something back from committed readers."""
    prefix, bootstrap = settings.prefix, settings.bootstrap
    where = [Place(prefix + topic, 0) for topic in Topic]
    async with consumer(bootstrap) as stable, consumer(bootstrap, committed=False) as last:
        found = await open_places(stable, last, where)
    return {place.topic.removeprefix(prefix) for place in found}


async def test_what_hangs_whole_is_aborted(log: KafkaLog, settings: KafkaSettings) -> None:
    """Nobody was told of it and nobody saw it: what comes after it is all there is."""
    before = await log.writer(WORKER)
    await before.commit([record(Topic.STATE)])
    await before.close()
    await hang(settings, WORKER, [Topic.METADATA, Topic.PROGRESS])
    assert await left_open(settings) == {Topic.METADATA, Topic.PROGRESS}

    writer = await log.writer(WORKER)

    assert await left_open(settings) == set()
    await writer.commit([record(Topic.METADATA)])
    assert await values(log, Topic.METADATA) == [b"next"]
    assert await values(log, Topic.PROGRESS) == []


async def test_what_was_committed_elsewhere_is_committed(
    log: KafkaLog, settings: KafkaSettings
) -> None:
    """Readers have seen a part of it: the rest follows."""
    await hang(settings, WORKER, [Topic.METADATA], committed=[Topic.STATE, Topic.PROGRESS])
    assert await left_open(settings) == {Topic.METADATA}

    writer = await log.writer(WORKER)

    assert await left_open(settings) == set()
    await writer.commit([record(Topic.METADATA)])
    assert await values(log, Topic.METADATA) == [b"hanging", b"next"]
    assert await values(log, Topic.PROGRESS) == [b"hanging"]


async def test_letters_are_shared(log: KafkaLog, settings: KafkaSettings) -> None:
    """What another holds open in `dead-letter` is left to it, and stops nobody."""
    await hang(settings, WORKER, [Topic.DEAD_LETTER])

    await log.writer("produce")
    assert await left_open(settings) == {Topic.DEAD_LETTER}
    await log.writer(WORKER)
    assert await left_open(settings) == set()


async def test_another_producer_s_is_told(
    log: KafkaLog, settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its own successors can end a transaction: an operator is told how."""
    monkeypatch.setattr(kafka_log, "OTHERS_SECONDS", 0.5)
    await hang(settings, "nobody", [Topic.METADATA])

    with pytest.raises(LogUnavailable, match="metadata --partition 0 --start-offset 0"):
        await log.writer(WORKER)
