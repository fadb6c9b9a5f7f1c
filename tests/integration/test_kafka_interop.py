"""Clients that are not ours read the topics: the commands and programs of docs/kafka-clients.md."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from schemas.topics import COMPACTED, Topic, partition_of
from streams.kafka_log import KafkaLog
from streams.kafka_settings import KafkaSettings
from streams.log import Record
from tests.support import kafka_clients as clients
from tests.support import tools
from tests.support.kafka_broker import drop_topics, fresh_prefix
from tests.support.kafka_clients import Seen, by_place, ours
from tests.support.logs import read_all
from tests.support.process import command
from tests.support.schema_check import assert_valid
from tests.support.standin import standin

PROJECTS = 40
PARTITIONS = 4
SILENT_MS = "90000"  # of the console consumer, which ends sooner: the tests know how many there are
ABORTED = "aborted-project"
ATTRIBUTES = {
    "ce_specversion", "ce_id", "ce_type", "ce_source", "ce_subject", "ce_time", "ce_dataschema",
    "content-type",
}  # fmt: skip
COMMITTED, UNCOMMITTED = "read_committed", "read_uncommitted"

pytestmark = pytest.mark.timeout(300)  # six JVMs are started, and a run with its sinks


@dataclass(frozen=True)
class World:
    """A log on Kafka, what our reader gives of `metadata`, and how many aborted records it has."""

    kafka: KafkaSettings
    metadata: list[Seen]
    names: set[str]
    removed: str
    aborted: int

    @property
    def topic(self) -> str:
        return self.kafka.prefix + Topic.METADATA

    def directed(self, arguments: list[str], **changed: str) -> list[str]:
        return clients.directed(arguments, self.kafka.bootstrap, self.kafka.prefix, **changed)


@pytest.fixture(scope="module")
def world(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """40 projects; a transaction that was aborted; in each partition a change after that."""
    root = tmp_path_factory.mktemp("interop")
    kafka = KafkaSettings(kafka_bootstrap, fresh_prefix())
    try:
        with standin(projects=PROJECTS, changes_per_second=0) as site:
            flags = ("--kafka", kafka_bootstrap, "--kafka-prefix", kafka.prefix)
            once = ("run", "--once", "--upstream", site.url, "--data", str(root / "data"), *flags)
            quick = ("--rate", "0", "--poll", "1", "--settle", "0.2", "--once-wait", "2")
            _assert_ended(*once, *quick, "--backfill", "--partitions", str(PARTITIONS), cwd=root)
            aborted = asyncio.run(_abort(kafka))
            names = site.served_names()
            site.change("remove-project", names[0])
            for name in {partition_of(name, PARTITIONS): name for name in names[1:]}.values():
                site.change("release", name)
            _assert_ended(*once, *quick, cwd=root)
        metadata = ours(asyncio.run(_read(kafka)))
        yield World(kafka, metadata, set(names), names[0], aborted)
    finally:
        asyncio.run(drop_topics(kafka_bootstrap, kafka.prefix))


def _assert_ended(*arguments: str, cwd: Path) -> None:
    ended = command(*arguments, cwd=cwd, seconds_max=120)
    assert ended.returncode == 0, ended.stderr


async def _abort(kafka: KafkaSettings) -> int:
    """Records that are on the broker's disk and must not be seen."""
    producer = AIOKafkaProducer(**kafka.connection(), transactional_id=f"{kafka.prefix}aborted")
    async with producer:
        await producer.begin_transaction()
        for partition in range(PARTITIONS):
            await producer.send_and_wait(
                kafka.prefix + Topic.METADATA,
                b"{}",
                ABORTED.encode(),
                partition,
                headers=[("reason", b"aborted")],
            )
        await producer.abort_transaction()
    return PARTITIONS


async def _read(
    kafka: KafkaSettings, topics: tuple[Topic, ...] = (Topic.METADATA,)
) -> list[Record]:
    log = await KafkaLog.open(kafka, create=False)
    try:
        return [one for topic in topics for one in await read_all(log, await log.ends(topic))]
    finally:
        await log.close()


# --- what all of them must see ------------------------------------------------------------------


def test_what_our_own_reader_gives_is_worth_comparing(world: World) -> None:
    """Every project, a tombstone, several partitions, keys in their places, whole CloudEvents."""
    tombstones = [one for one in world.metadata if one.value is None]

    assert {one.key for one in world.metadata} == world.names
    assert [one.key for one in tombstones] == [world.removed]
    assert tombstones[0].headers["reason"] == "removed"
    assert {one.partition for one in world.metadata} == set(range(PARTITIONS))
    assert all(one.headers.keys() >= ATTRIBUTES for one in world.metadata)
    assert {one.headers["ce_subject"] for one in world.metadata} == {
        one.key for one in world.metadata
    }
    assert ABORTED not in {one.key for one in world.metadata}
    assert len(world.metadata) == len(world.names) + 1 + PARTITIONS


async def test_a_key_lies_in_the_same_partition_of_every_topic(world: World) -> None:
    """Kafka's default partitioner, in all that have keys; every record keeps to its schemas."""
    topics = (*COMPACTED, Topic.CHANGELOG, Topic.REFETCH)
    records = [one for one in await _read(world.kafka, topics) if one.key is not None]
    for one in records:
        assert_valid(one)

    assert {one.topic for one in records} == set(topics)
    assert [one for one in records if one.partition != partition_of(one.key, PARTITIONS)] == []


# --- kcat ---------------------------------------------------------------------------------------


def _kcat(world: World, **changed: str) -> list[Seen]:
    tools.needs("kcat")
    printed = clients.output(world.directed(clients.shown_command("kcat -C"), **changed))
    return by_place([clients.kcat_line(line) for line in printed.splitlines()])


def test_kcat_reads_the_same(world: World) -> None:
    """Key, JSON value, headers, tombstones and partitions, all as our reader gives them."""
    assert _kcat(world) == world.metadata


def test_kcat_sees_aborted_records_only_if_told_to(world: World) -> None:
    """They are there: what is not seen above is hidden by `read_committed`."""
    isolation = {f"isolation.level={COMMITTED}": f"isolation.level={UNCOMMITTED}"}
    seen = _kcat(world, **isolation)

    assert [one for one in seen if one.key != ABORTED] == world.metadata
    assert [one.partition for one in seen if one.key == ABORTED] == list(range(world.aborted))


def test_kcat_without_the_setting_reads_committed_records(world: World) -> None:
    """The document says that it is librdkafka's default."""
    seen = _kcat(world, **{f"isolation.level={COMMITTED}": "client.id=kcat"})

    assert seen == world.metadata


# --- the console consumer -----------------------------------------------------------------------


def _console(world: World, isolation: str, count: int) -> list[Seen]:
    """So many records: in each partition committed ones follow the aborted one."""
    before, bootstrap = clients.kafka_tool(world.kafka.bootstrap)
    shown = clients.shown_command("kafka-console-consumer.sh")
    changed = {
        "kafka-console-consumer.sh": "/opt/kafka/bin/kafka-console-consumer.sh",
        "HOST:PORT": bootstrap,
        "10000": SILENT_MS,
        COMMITTED: isolation,
    }
    ending = ["--max-messages", str(count)]
    printed = clients.output([*before, *world.directed(shown, **changed), *ending])
    lines = [line for line in printed.splitlines() if "\tOffset:" in line]
    return by_place([clients.console_line(line) for line in lines])


def test_the_console_consumer_reads_the_same(world: World) -> None:
    """Kafka's own tool, as the document shows it."""
    assert _console(world, COMMITTED, len(world.metadata)) == world.metadata


def test_the_console_consumer_sees_aborted_records_only_if_told_to(world: World) -> None:
    """`read_uncommitted` is its default."""
    seen = _console(world, UNCOMMITTED, len(world.metadata) + world.aborted)

    assert [one for one in seen if one.key != ABORTED] == world.metadata
    assert len([one for one in seen if one.key == ABORTED]) == world.aborted


# --- Java ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def class_path(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Kafka's Java client."""
    return clients.class_path(tmp_path_factory.mktemp("jars"))


def _java(world: World, program: Path, class_path: str) -> list[Seen]:
    printed = clients.java(program, class_path, world.kafka.bootstrap, world.topic)
    return by_place([clients.tabbed_line(line) for line in printed.splitlines()])


def test_java_reads_the_same(world: World, class_path: str, tmp_path: Path) -> None:
    """The program that the document shows."""
    assert _java(world, clients.shown_program("java", tmp_path, "Latest.java"), class_path) == (
        world.metadata
    )


def test_java_sees_aborted_records_if_not_told_otherwise(
    world: World, class_path: str, tmp_path: Path
) -> None:
    """Without its one line the same program reads what was never committed."""
    program = clients.shown_program("java", tmp_path, "Latest.java")
    lines = program.read_text().splitlines()
    program.write_text("\n".join(line for line in lines if COMMITTED not in line))
    seen = _java(world, program, class_path)

    assert [one for one in seen if one.key != ABORTED] == world.metadata
    assert len([one for one in seen if one.key == ABORTED]) == world.aborted


async def test_what_java_writes_is_read_by_us(
    world: World, kafka_prefix: str, class_path: str
) -> None:
    """Its default partitioner puts every key where ours does; what it aborted is not there."""
    keys = sorted({one.key for one in world.metadata} | {_random_key() for _ in range(200)})
    kafka = KafkaSettings(world.kafka.bootstrap, kafka_prefix)
    log = await KafkaLog.open(kafka, PARTITIONS)
    try:
        printed = await asyncio.to_thread(
            clients.java,
            clients.PROGRAMS / "Interop.java",
            class_path,
            kafka.bootstrap,
            kafka.prefix + Topic.METADATA,
            f"{kafka.prefix}java",
            given="\n".join(keys),
        )
        written = [line.split("\t") for line in printed.splitlines()]
        records = await read_all(log, await log.ends(Topic.METADATA))
    finally:
        await log.close()
    found = {(one.key, one.partition, one.offset): one for one in records}

    assert {(key, int(p)) for key, p, _ in written} == {
        (key, partition_of(key, PARTITIONS)) for key in keys
    }
    assert found.keys() == {(key, int(p), int(offset)) for key, p, offset in written}
    assert {one.value for one in records} == {b'{"what":"committed"}', None}
    assert {one.header("reason") for one in records if one.value} == {"committed"}


def _random_key() -> str:
    """Like a project's name, of any length: murmur2 treats the last three bytes apart."""
    return secrets.token_hex(20)[: 1 + secrets.randbelow(40)]


# --- Python -------------------------------------------------------------------------------------


def _python(world: World, program: Path) -> list[Seen]:
    printed = clients.python(program, world.kafka.bootstrap, world.topic)
    return by_place([clients.json_line(line) for line in printed.splitlines()])


def test_python_reads_the_same(world: World, tmp_path: Path) -> None:
    """A bare aiokafka consumer, as the document shows it: nothing of ours is imported."""
    assert _python(world, clients.shown_program("python", tmp_path, "latest.py")) == world.metadata


def test_python_sees_aborted_records_if_not_told_otherwise(world: World, tmp_path: Path) -> None:
    """Its default is the same as Java's."""
    program = clients.shown_program("python", tmp_path, "latest.py")
    lines = program.read_text().splitlines()
    program.write_text("\n".join(line for line in lines if COMMITTED not in line))
    seen = _python(world, program)

    assert [one for one in seen if one.key != ABORTED] == world.metadata
    assert len([one for one in seen if one.key == ABORTED]) == world.aborted


# --- writing beside ours ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "same"), [("partitioner=murmur2_random", True), ("client.id=kcat", False)]
)
async def test_librdkafka_needs_its_partitioner_set(
    world: World, kafka_prefix: str, setting: str, same: bool
) -> None:
    """With murmur2_random a key's partition is ours; with its default it is another's."""
    tools.needs("kcat")
    kafka = KafkaSettings(world.kafka.bootstrap, kafka_prefix)
    log = await KafkaLog.open(kafka, PARTITIONS)
    keys = sorted({one.key for one in world.metadata})
    shown = clients.shown_command("kcat -P")
    changed = {"notes": kafka.prefix + Topic.CHANGELOG, "partitioner=murmur2_random": setting}
    try:
        await asyncio.to_thread(
            clients.output,
            world.directed(shown, **changed),
            "".join(f"{key}:{{}}\n" for key in keys),
        )
        records = await read_all(log, await log.ends(Topic.CHANGELOG))
    finally:
        await log.close()
    places = {one.key: one.partition for one in records}

    assert places.keys() == set(keys)
    assert (places == {key: partition_of(key, PARTITIONS) for key in keys}) == same
