"""Topics on a real broker: made once, checked, mended; and `pypistream topics`."""

from __future__ import annotations

import asyncio
import json
import secrets
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from schemas.errors import LogMismatch, TopicsMissing, UsageError
from schemas.topics import TOPICS, VALUE_BYTES_MAX, Topic, partition_count
from streams.kafka_admin import Admin, NewTopic
from streams.kafka_configs import new_configs, topic_name
from streams.kafka_settings import KafkaSettings
from streams.kafka_topics import ensure_topics, inspect_topics, mend_topics
from tests.support.reading_world import run

CREATORS = 4
LEARN_SECONDS = 60.0  # until the broker shows what the controller was told
LOOK_SECONDS = 0.05


@pytest.fixture
def settings(kafka_bootstrap: str, kafka_prefix: str) -> KafkaSettings:
    """A log of this test's own, of which nothing is there yet."""
    return KafkaSettings(kafka_bootstrap, kafka_prefix)


async def _set(settings: KafkaSettings, topic: Topic, **configs: str) -> None:
    """Change configs behind our back, and wait until the broker shows it."""
    name = topic_name(settings.prefix, topic)
    async with Admin(settings) as admin:
        await admin.set_configs({name: configs})
        async with asyncio.timeout(LEARN_SECONDS):
            while True:
                shown = (await admin.configs([name]))[name] or {}
                if configs.items() <= shown.items():
                    return
                await asyncio.sleep(LOOK_SECONDS)


async def test_missing_topics_are_named_and_nothing_is_made(settings: KafkaSettings) -> None:
    """Whoever only reads asks for them; the broker's own defaults must not make them by that."""
    with pytest.raises(TopicsMissing, match=rf"{settings.prefix}changelog.* and 4 more") as got:
        await ensure_topics(settings, create=False)
    assert "pypistream topics --create" in got.value.hint
    report = await inspect_topics(settings)
    assert report.partitions is None
    assert all(each.missing for each in report.topics)


async def test_topics_are_made_as_they_have_to_be(settings: KafkaSettings) -> None:
    """Partitions, cleanup, life, sizes: what the broker says is what was wanted."""
    assert await ensure_topics(settings, 4, create=True) == 4
    report = await inspect_topics(settings)
    assert report.ok
    assert [each.topic for each in report.topics] == list(TOPICS)
    for each in report.topics:
        assert each.partitions == partition_count(each.topic, 4)
        assert each.led
        assert each.configs is not None
        assert each.replication == 1  # the broker is alone
        assert new_configs(each.topic, 1).items() <= each.configs.items()


async def test_a_log_keeps_its_number_of_partitions(settings: KafkaSettings) -> None:
    """Without a number it is found; with another one it is refused, and no partition is added."""
    assert await ensure_topics(settings, 2, create=True) == 2
    assert await ensure_topics(settings, create=True) == 2
    assert await ensure_topics(settings, create=False) == 2
    for create in (True, False):
        with pytest.raises(LogMismatch, match="has 2 partitions, not 12") as caught:
            await ensure_topics(settings, 12, create=create)
        assert "another --kafka-prefix" in caught.value.hint
    assert (await inspect_topics(settings)).partitions == 2


async def test_without_a_number_a_new_log_gets_twelve(settings: KafkaSettings) -> None:
    """The default on Kafka."""
    assert await ensure_topics(settings, create=True) == 12


async def test_processes_that_start_at_once_make_one_log(settings: KafkaSettings) -> None:
    """Four at the same moment, half of them wanting another number: one number for all topics."""
    asked = [3, 5] * (CREATORS // 2)
    found = await asyncio.gather(
        *(ensure_topics(settings, count, create=True) for count in asked), return_exceptions=True
    )
    report = await inspect_topics(settings)
    assert report.ok
    assert report.partitions in (3, 5)
    for count, result in zip(asked, found, strict=True):
        assert result == count if count == report.partitions else isinstance(result, LogMismatch)


async def test_topics_that_are_left_are_made_to_fit_the_others(settings: KafkaSettings) -> None:
    """A start that was cut short, or a topic that was deleted: the number comes from the rest."""
    async with Admin(settings) as admin:
        name = topic_name(settings.prefix, Topic.STATE)
        await admin.create([NewTopic(name, 3, 1, new_configs(Topic.STATE, 1))])
        async with asyncio.timeout(LEARN_SECONDS):
            while name not in await admin.layouts([name]):  # noqa: ASYNC110  the broker says it
                await asyncio.sleep(LOOK_SECONDS)
    assert await ensure_topics(settings, create=True) == 3


async def test_another_programs_topic_is_refused(settings: KafkaSettings) -> None:
    """One partition, as a broker makes it by itself: named, and not to be mended in place."""
    async with Admin(settings) as admin:
        name = topic_name(settings.prefix, Topic.METADATA)
        await admin.create([NewTopic(name, 1, 1, new_configs(Topic.METADATA, 1))])
        others = [topic for topic in TOPICS if topic is not Topic.METADATA]
        await admin.create(
            [
                NewTopic(
                    topic_name(settings.prefix, topic),
                    partition_count(topic, 4),
                    1,
                    new_configs(topic, 1),
                )
                for topic in others
            ]
        )
    with pytest.raises(LogMismatch, match=f"{name}: it has 1 partitions, wanted 4") as caught:
        await ensure_topics(settings, create=True)
    assert "keys would move" in caught.value.hint


@pytest.mark.parametrize(
    ("topic", "config", "value"),
    [
        (Topic.STATE, "cleanup.policy", "delete"),
        (Topic.CHANGELOG, "cleanup.policy", "compact"),
        (Topic.CHANGELOG, "retention.ms", "604800000"),
        (Topic.METADATA, "max.message.bytes", "1048588"),
        (Topic.METADATA, "delete.retention.ms", "86400000"),
        (Topic.RELEASES, "message.timestamp.type", "CreateTime"),
    ],
)
async def test_what_differs_is_named_and_mended(
    settings: KafkaSettings, topic: Topic, config: str, value: str
) -> None:
    """Topic, config, found, wanted, the command; mending leaves an operator's own configs alone."""
    await ensure_topics(settings, 1, create=True)
    before = (await inspect_topics(settings)).topics
    await _set(settings, topic, **{config: value, "segment.jitter.ms": "7"})

    with pytest.raises(LogMismatch) as caught:
        await ensure_topics(settings, create=False)
    text = str(caught.value)
    assert f"{settings.prefix}{topic}: {config} is {value}, wanted" in text
    assert caught.value.hint == "pypistream topics --mend"

    report = await mend_topics(settings)
    assert report.ok
    assert await ensure_topics(settings, create=False) == 1
    for old, new in zip(before, report.topics, strict=True):
        assert old.configs is not None
        assert new.configs is not None
        changed = dict(new.configs.items() - old.configs.items())
        assert changed == ({"segment.jitter.ms": "7"} if new.topic is topic else {})


async def test_what_keeps_more_is_left_alone(settings: KafkaSettings) -> None:
    """Longer and larger is the operator's business, and mending does not take it back."""
    await ensure_topics(settings, 1, create=True)
    await _set(settings, Topic.REFETCH, **{"retention.ms": "-1"})
    await _set(settings, Topic.STATE, **{"max.message.bytes": "33554432", "segment.ms": "60000"})
    assert await ensure_topics(settings, create=False) == 1
    report = await mend_topics(settings)
    found = {each.topic: each.configs or {} for each in report.topics}
    assert found[Topic.REFETCH]["retention.ms"] == "-1"
    assert found[Topic.STATE]["segment.ms"] == "60000"


async def test_more_copies_than_brokers_are_refused(settings: KafkaSettings) -> None:
    """In the broker's own words; nothing is half made."""
    with pytest.raises(UsageError, match="replication factor of 3 cannot be reached"):
        await ensure_topics(settings, 1, 3, create=True)
    assert (await inspect_topics(settings)).partitions is None


async def test_the_largest_record_can_be_written(settings: KafkaSettings) -> None:
    """16 MiB that no compression makes smaller, as the broker takes them."""
    await ensure_topics(settings, 1, create=True)
    value = secrets.token_bytes(VALUE_BYTES_MAX)
    producer = AIOKafkaProducer(
        **settings.connection(), max_request_size=2 * len(value), compression_type="zstd"
    )
    await producer.start()
    try:
        for topic in (Topic.METADATA, Topic.RELEASES, Topic.CHANGELOG):
            name = topic_name(settings.prefix, topic)
            done = await producer.send_and_wait(name, value, b"key", headers=[("h", b"x" * 1024)])
            assert done.offset == 0
    finally:
        await producer.stop()


def _command(settings: KafkaSettings, data: Path, *arguments: str) -> tuple[int, str, str]:
    place = ("--kafka", settings.bootstrap, "--kafka-prefix", settings.prefix, "--data", str(data))
    done = run("topics", *place, *arguments, cwd=data)
    return done.returncode, done.stdout, done.stderr


async def test_the_command_shows_creates_checks_and_mends(
    settings: KafkaSettings, tmp_path: Path
) -> None:
    """From nothing to a log that is as it has to be; exit 1 whenever it is not."""

    async def topics(*arguments: str) -> tuple[int, str, str]:
        return await asyncio.to_thread(_command, settings, tmp_path, *arguments)

    code, text, _ = await topics()
    assert code == 0
    assert text.count("missing") == len(TOPICS)
    assert "Next:  pypistream topics --create" in text
    assert (await topics("--check"))[0] == 1

    code, text, _ = await topics("--create", "--partitions", "4", "--replication", "1")
    assert code == 0, text
    assert text.splitlines()[0].split()[:4] == ["topic", "partitions", "copies", "cleanup"]
    assert len([line for line in text.splitlines() if line.endswith(" ok")]) == len(TOPICS)
    assert (await topics("--check"))[0] == 0
    code, _, said = await topics("--check", "--partitions", "12")
    assert code == 1
    assert "4 partitions, not 12" in said

    await _set(settings, Topic.STATE, **{"cleanup.policy": "delete"})
    code, text, _ = await topics("--check", "--json")
    assert code == 1
    report = json.loads(text)
    assert (report["ok"], report["partitions"]) == (False, 4)
    line = next(each for each in report["topics"] if each["topic"] == "state")
    assert line["faults"] == ["cleanup.policy is delete, wanted compact"]
    assert line["mend"] == ["pypistream topics --mend"]
    code, text, _ = await topics("--mend")
    assert code == 0, text
    assert (await topics("--check"))[0] == 0


def test_the_command_shows_the_embedded_log_too(tmp_path: Path) -> None:
    """The same table; what only Kafka needs is refused."""
    from pypistream.data_dir import DataDir
    from pypistream.settings import Settings
    from pypistream.wiring import open_log

    async def found() -> None:
        log = await open_log(Settings(data=tmp_path, partitions=4), DataDir(tmp_path))
        await log.close()

    asyncio.run(found())
    done = run("topics", "--data", str(tmp_path), "--json", "--check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    counts = {each["topic"]: each["partitions"] for each in report["topics"]}
    assert counts == {str(topic): partition_count(topic, 4) for topic in TOPICS}
    assert all(each["faults"] == [] for each in report["topics"])
    refused = run("topics", "--data", str(tmp_path), "--create", cwd=tmp_path)
    assert refused.returncode == 2
    assert "makes and keeps its topics itself" in refused.stderr
