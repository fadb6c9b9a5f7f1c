"""A broker that takes every request and answers some of them never: each call has its time-out.

All limits are set to an hour, those of aiokafka too, but for the one that has to end the call. So
whatever ends within the test's own time does so by that limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Container, Iterator
from contextlib import asynccontextmanager
from types import ModuleType

import pytest

from schemas.errors import WriterFenced
from schemas.topics import Offset, Topic
from streams import (
    kafka_admin,
    kafka_diagnosis,
    kafka_ending,
    kafka_group,
    kafka_log,
    kafka_reader,
    kafka_settings,
    kafka_topics,
    kafka_writer,
)
from streams.kafka_admin import Admin, NewTopic
from streams.kafka_group import KafkaGroup
from streams.kafka_log import KafkaLog
from streams.kafka_reader import KafkaReader
from streams.kafka_settings import KafkaSettings
from streams.kafka_topics import ensure_topics
from streams.kafka_writer import KafkaWriter
from streams.log import LogUnavailable
from tests.support.kafka_broker import drop_topics, fresh_prefix
from tests.support.kafka_line import (
    ADD_PARTITIONS,
    ALTER_CONFIGS,
    ANY,
    CREATE_TOPICS,
    DESCRIBE_CONFIGS,
    END_TXN,
    FETCH,
    INIT_PRODUCER_ID,
    LIST_OFFSETS,
    PRODUCE,
    DeafLine,
    deaf_line,
)
from tests.support.logs import STATE_0, event, state

HOUR, SHORT = 3_600.0, 0.2
TEST_SECONDS_MAX = 120.0  # an hour is longer, and SHORT is not, however busy the machine

Limit = tuple[ModuleType, str]
CALL: Limit = (kafka_log, "CALL_SECONDS_MAX")
TAKE: Limit = (kafka_log, "TAKE_SECONDS_MAX")
FOLD: Limit = (kafka_log, "FOLD_SECONDS_MAX")
COMMIT: Limit = (kafka_writer, "COMMIT_SECONDS_MAX")
SILENCE: Limit = (kafka_reader, "SILENCE_SECONDS_MAX")
STOP: Limit = (kafka_ending, "STOP_SECONDS_MAX")
CUT: Limit = (kafka_ending, "CUT_SECONDS_MAX")
ORDER: Limit = (kafka_admin, "CALL_SECONDS_MAX")
LEADER: Limit = (kafka_topics, "LEADER_SECONDS_MAX")
STEP: Limit = (kafka_diagnosis, "STEP_SECONDS_MAX")
START: Limit = (kafka_group, "START_SECONDS_MAX")
LOST: Limit = (kafka_group, "LOST_SECONDS_MAX")
LEAVE: Limit = (kafka_group, "LEAVE_SECONDS_MAX")
LIMITS = (CALL, TAKE, FOLD, COMMIT, SILENCE, STOP, CUT, ORDER, LEADER, STEP, START, LOST, LEAVE)

Call = Callable[[KafkaSettings], AsyncGenerator[None, None]]
"""Up to its `yield` the broker answers; what comes after it is the call."""


@asynccontextmanager
async def opened(settings: KafkaSettings) -> AsyncIterator[KafkaLog]:
    log = await KafkaLog.open(settings, create=False)
    try:
        yield log
    finally:
        await log.close()


async def open_(settings: KafkaSettings) -> AsyncGenerator[None, None]:
    yield
    await KafkaLog.open(settings, create=False)


async def writer(settings: KafkaSettings) -> AsyncGenerator[None, None]:
    async with opened(settings) as log:
        await log.ends(Topic.STATE)
        yield
        await log.writer("worker-0")


async def commit(settings: KafkaSettings) -> AsyncGenerator[None, None]:
    async with opened(settings) as log:
        writer = await log.writer("worker-0")
        yield
        try:
            await writer.commit([state("a", "1")])
        finally:
            with pytest.raises(WriterFenced, match="take it anew"):  # it is thrown away
                await writer.commit([state("a", "2")])
            await writer.close()


async def first_append(settings: KafkaSettings) -> AsyncGenerator[None, None]:
    async with opened(settings) as log:
        yield
        await log.append([state("a", "1")])


async def append(settings: KafkaSettings) -> AsyncGenerator[None, None]:
    async with opened(settings) as log:
        await log.append([state("a", "1")])
        yield
        both = (log.append([state("a", each)]) for each in ("2", "3"))
        first, second = await asyncio.gather(*both, return_exceptions=True)
        assert isinstance(first, LogUnavailable)
        assert isinstance(second, LogUnavailable)
        raise first


async def ends(settings: KafkaSettings) -> AsyncGenerator[None, None]:
    async with opened(settings) as log:
        await log.ends(Topic.STATE)
        yield
        await log.ends(Topic.STATE)


async def first_ends(settings: KafkaSettings) -> AsyncGenerator[None, None]:
    async with opened(settings) as log:
        yield
        await log.ends(Topic.STATE)


async def starts(settings: KafkaSettings) -> AsyncGenerator[None, None]:
    async with opened(settings) as log:
        await log.ends(Topic.STATE)
        yield
        await log.starts(Topic.STATE)


async def reader(settings: KafkaSettings) -> AsyncGenerator[None, None]:
    async with opened(settings) as log:
        await log.ends(Topic.STATE)
        yield
        await log.reader({STATE_0: Offset(0)})


async def read(settings: KafkaSettings) -> AsyncGenerator[None, None]:
    async with opened(settings) as log:
        reader = await log.reader({STATE_0: Offset(0)})
        yield
        while True:
            await reader.read(10, 0.02)


async def table(settings: KafkaSettings) -> AsyncGenerator[None, None]:
    async with opened(settings) as log:
        await log.append([state("a", "1")])
        await log.ends(Topic.STATE)
        yield
        await log.table(STATE_0)


async def brokers(settings: KafkaSettings) -> AsyncGenerator[None, None]:
    async with Admin(settings) as admin:
        yield
        await admin.brokers()


async def layouts(settings: KafkaSettings) -> AsyncGenerator[None, None]:
    async with Admin(settings) as admin:
        yield
        await admin.layouts([settings.prefix + Topic.STATE])


async def create(settings: KafkaSettings) -> AsyncGenerator[None, None]:
    async with Admin(settings) as admin:
        yield
        await admin.create([NewTopic(settings.prefix + "other", 1, 1, {})])


async def configs(settings: KafkaSettings) -> AsyncGenerator[None, None]:
    async with Admin(settings) as admin:
        yield
        await admin.configs([settings.prefix + Topic.STATE])


async def set_configs(settings: KafkaSettings) -> AsyncGenerator[None, None]:
    async with Admin(settings) as admin:
        yield
        await admin.set_configs({settings.prefix + Topic.STATE: {"retention.ms": "-1"}})


async def run(settings: KafkaSettings) -> AsyncGenerator[None, None]:
    group = KafkaGroup(settings, 1)
    yield
    await group.run()


async def run_on(settings: KafkaSettings) -> AsyncGenerator[None, None]:
    group = KafkaGroup(settings, 1)
    member = asyncio.create_task(group.run())
    assert await group.changed(frozenset()) == {0}
    yield
    await member


CASES: list[tuple[Call, Container[int], tuple[Limit, ...], str]] = [
    (open_, ANY, (ORDER, STEP), "then says nothing|nothing answers"),
    (writer, ANY, (TAKE,), "cannot take the writer id worker-0: no answer"),
    (writer, {INIT_PRODUCER_ID}, (TAKE,), "cannot take the writer id worker-0: no answer"),
    (writer, {LIST_OFFSETS}, (TAKE,), "cannot take the writer id worker-0: no answer"),
    (commit, {ADD_PARTITIONS}, (COMMIT,), "cannot commit as worker-0: no answer"),
    (commit, {PRODUCE}, (COMMIT,), "cannot commit as worker-0: no answer"),
    (commit, {END_TXN}, (COMMIT,), "cannot commit as worker-0: no answer"),
    (commit, {LIST_OFFSETS}, (COMMIT,), "cannot commit as worker-0: no answer"),
    (first_append, ANY, (CALL,), "cannot connect: no answer"),
    (append, {PRODUCE}, (CALL,), "cannot append: no answer"),
    (ends, {LIST_OFFSETS}, (CALL,), "cannot ask for the end of partitions: no answer"),
    (first_ends, ANY, (CALL,), "cannot connect: no answer"),
    (starts, {LIST_OFFSETS}, (CALL,), "cannot ask for the beginning of partitions: no answer"),
    (reader, {LIST_OFFSETS}, (CALL,), "cannot ask for the beginning of partitions: no answer"),
    (read, {FETCH}, (SILENCE,), "no broker has answered"),
    (table, {LIST_OFFSETS}, (CALL,), "cannot ask for the beginning of partitions: no answer"),
    (table, {FETCH}, (SILENCE,), "gives no records below"),
    (table, {FETCH}, (FOLD,), "cannot fold state/0: no answer"),
    (brokers, ANY, (ORDER,), "cannot list the brokers: no answer"),
    (layouts, ANY, (ORDER,), "cannot look at the topics: no answer"),
    (create, {CREATE_TOPICS}, (ORDER,), "cannot create the topics: "),
    (configs, {DESCRIBE_CONFIGS}, (ORDER,), "cannot describe the topics: "),
    (set_configs, {ALTER_CONFIGS}, (ORDER,), "cannot alter the topics: no answer"),
    (run, ANY, (START,), "cannot join the group .*: no answer"),
    (run_on, ANY, (LOST,), "has not known us"),
]


ASKING_NOTHING = {"changed", "clean", "purge"}
LETTING_GO = {"close"}


@pytest.fixture(scope="module")
def topics(kafka_bootstrap: str) -> Iterator[str]:
    """A log for all cases; its prefix."""
    prefix = fresh_prefix()
    asyncio.run(ensure_topics(KafkaSettings(kafka_bootstrap, prefix), 1, create=True))
    yield prefix
    asyncio.run(drop_topics(kafka_bootstrap, prefix))


@pytest.fixture
async def line(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[DeafLine, str]]:
    """All limits are an hour; at the end no client goes on."""
    monkeypatch.setattr(kafka_settings, "REQUEST_TIMEOUT_MS", int(HOUR * 1000))
    for module, name in LIMITS:
        monkeypatch.setattr(module, name, HOUR)
    async with deaf_line(kafka_bootstrap, monkeypatch) as (line, address):
        yield line, address
        async with asyncio.timeout(TEST_SECONDS_MAX):
            while going_on := [task for task in asyncio.all_tasks() if "/aiokafka/" in repr(task)]:
                await asyncio.wait(going_on)


def shorten(monkeypatch: pytest.MonkeyPatch, *limits: Limit) -> None:
    for module, name in (*limits, STOP, CUT, LEAVE):
        monkeypatch.setattr(module, name, SHORT)


@pytest.mark.parametrize(
    ("call", "deaf_to", "limits", "says"), CASES, ids=lambda value: getattr(value, "__name__", "")
)
async def test_a_call_ends_by_its_own_limit(
    line: tuple[DeafLine, str],
    topics: str,
    monkeypatch: pytest.MonkeyPatch,
    call: Call,
    deaf_to: Container[int],
    limits: tuple[Limit, ...],
    says: str,
) -> None:
    """LogUnavailable, which is tried again, and says what could not be done."""
    async with contextlib.aclosing(call(KafkaSettings(line[1], topics))) as case:
        await anext(case)
        line[0].deaf_to = deaf_to
        shorten(monkeypatch, *limits)
        with pytest.raises(LogUnavailable, match=says):
            async with asyncio.timeout(TEST_SECONDS_MAX):
                await anext(case)


async def test_letting_go_needs_no_answer(
    line: tuple[DeafLine, str], topics: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writer, reader and log, with a connection for each of them and for plain writes."""
    log = await KafkaLog.open(KafkaSettings(line[1], topics), create=False)
    await log.append([state("a", "1")])
    one, other = [await log.writer(name) for name in ("worker-0", "produce")]
    first, second = [await log.reader({STATE_0: Offset(0)}) for _ in range(2)]
    await other.commit([event("a", "1")])
    line[0].deaf_to = ANY
    shorten(monkeypatch)
    async with asyncio.timeout(TEST_SECONDS_MAX):
        await one.close()
        await first.close()
        assert await log.clean(0) == 0
        await log.close()
    with pytest.raises(LogUnavailable, match="closed"):
        await other.commit([])
    with pytest.raises(LogUnavailable, match="closed"):
        await second.read(1, 0)


def test_every_call_is_tried() -> None:
    """Whatever of the adapter can be awaited: a new call has to be added here."""
    kinds = (KafkaLog, KafkaWriter, KafkaReader, KafkaGroup, Admin)
    names = {
        name
        for kind in kinds
        for name, _ in inspect.getmembers(kind, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }
    tried = {call.__name__.rstrip("_") for call, *_ in CASES}
    assert names - tried == ASKING_NOTHING | LETTING_GO
