"""A writer that is stopped inside a transaction, thought dead, replaced, and then goes on."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

import pytest
from aiokafka import TopicPartition as Place

from schemas.topics import Offset, Topic
from streams.kafka_log import KafkaLog
from streams.kafka_settings import KafkaSettings
from streams.kafka_writer import COMMIT_SECONDS_MAX, TRANSACTION_MS_MAX
from streams.log import LogUnavailable, Outgoing, TopicPartition
from tests.support.kafka_bare import consumer
from tests.support.kafka_writer_child import WRITER, record
from tests.support.logs import read_all

STOPPED_SECONDS = TRANSACTION_MS_MAX / 1000 + 2.0
HELD_UP_SECONDS_MAX = 15.0  # the issue's: so long may whoever died in a transaction stop others
# The broker's transaction.abort.timed.out.transaction.cleanup.interval.ms, and a busy machine.
ABANDONED_SECONDS_MAX = TRANSACTION_MS_MAX / 1000 + 10.0 + 60.0
CHILD_SECONDS_MAX = 60.0  # to start, or to end, on a busy machine
AT = TopicPartition(Topic.METADATA, 0)


@contextlib.contextmanager
def stopped_inside(settings: KafkaSettings, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """A process whose transaction is open and which does not run; ours to let go on."""
    arguments = (settings.bootstrap, settings.prefix, str(seconds))
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.kafka_writer_child", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "inside\n"
            yield child
        finally:
            child.kill()


def goes_on(child: subprocess.Popen[str]) -> str:
    """Its last words."""
    child.send_signal(signal.SIGCONT)
    said, _ = child.communicate(timeout=CHILD_SECONDS_MAX)
    return said.strip()


@pytest.fixture
async def log(kafka_bootstrap: str, kafka_prefix: str) -> AsyncIterator[KafkaLog]:
    settings = KafkaSettings(kafka_bootstrap, kafka_prefix)
    one = await KafkaLog.open(settings, 1)
    yield one
    await one.close()


@pytest.fixture
def settings(kafka_bootstrap: str, kafka_prefix: str) -> KafkaSettings:
    return KafkaSettings(kafka_bootstrap, kafka_prefix)


async def values(log: KafkaLog) -> list[bytes | None]:
    """Of everything committed in the partition."""
    return [each.value for each in await read_all(log, [AT])]


@pytest.mark.parametrize(
    ("seconds", "refused_by"),
    [(3_600.0, "WriterFenced: cannot commit"), (COMMIT_SECONDS_MAX, "LogUnavailable: cannot com")],
    ids=["by the broker", "by its own clock"],
)
async def test_zombie(
    log: KafkaLog, settings: KafkaSettings, seconds: float, refused_by: str
) -> None:
    """Nothing of the zombie's is seen, its commit is refused, its successor does not notice it."""
    with stopped_inside(settings, seconds) as zombie:
        since = time.monotonic()
        successor = await log.writer(WRITER)
        expected = [b"first"]
        while time.monotonic() < since + STOPPED_SECONDS:
            value = f"successor's {len(expected)}"
            await successor.commit([record(value)])
            expected.append(value.encode())
            await asyncio.sleep(0.5)
        assert await values(log) == expected
        assert goes_on(zombie).startswith(refused_by)
    assert await values(log) == expected
    await successor.commit([record("still there")])
    assert await values(log) == [*expected, b"still there"]


async def test_dead_and_replaced(log: KafkaLog, settings: KafkaSettings) -> None:
    """Whoever takes the id of one killed in a transaction waits for nothing; readers go on."""
    with stopped_inside(settings, COMMIT_SECONDS_MAX) as victim:
        victim.kill()
        since = time.monotonic()
        successor = await log.writer(WRITER)
        await successor.commit([record("next")])
        assert await values(log) == [b"first", b"next"]
        assert time.monotonic() - since < HELD_UP_SECONDS_MAX


async def test_dead_and_not_replaced(log: KafkaLog, settings: KafkaSettings) -> None:
    """The broker itself gives up what nobody takes over: readers of the partition get past it.

    It looks for such transactions every 10 s, unless it is told otherwise: so it takes up to 20 s.
    """
    with stopped_inside(settings, COMMIT_SECONDS_MAX) as victim:
        async with consumer(settings.bootstrap, committed=False) as all_of_it:
            place = Place(settings.prefix + AT.topic, AT.partition)
            written = (await all_of_it.end_offsets([place]))[place]
        assert (await log.ends(AT.topic))[AT] < written
        victim.kill()
        since = time.monotonic()
        while (await log.ends(AT.topic))[AT] < written:
            assert time.monotonic() - since < ABANDONED_SECONDS_MAX
            await asyncio.sleep(0.2)
        sys.stdout.write(f"held up for {time.monotonic() - since:.1f} s\n")
    assert await values(log) == [b"first"]


async def test_closed_while_it_commits(log: KafkaLog) -> None:
    """Whoever closes the log is not told that a commit went well; its successor sees what did."""
    writer = await log.writer(WRITER)

    def closing(_: Mapping[TopicPartition, Offset]) -> Sequence[Outgoing]:
        writer.log_closed()
        return []

    for _ in range(2):
        with pytest.raises(LogUnavailable, match="the log has been closed"):
            await writer.commit([record("first")], closing)
    successor = await log.writer(WRITER)
    await successor.commit([record("second")])
    assert await values(log) == [b"first", b"second"]
