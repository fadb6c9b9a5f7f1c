"""How topics must be on Kafka: pure rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.topics import RECORD_BYTES_MAX, TOPICS, Topic
from streams.kafka_configs import (
    MESSAGE_BYTES_MAX,
    NEW_LOG_PARTITIONS,
    REPLICATION_MAX,
    differences,
    log_partitions,
    mended,
    min_insync,
    new_configs,
    partition_fault,
    topic_name,
    wanted,
)

PAGE = Path(__file__).parents[2] / "docs/kafka.md"
DAY_MS = 86_400_000


def test_a_new_topic_differs_in_nothing() -> None:
    """What a topic is made with is what is wanted, with any number of copies."""
    for topic in Topic:
        for replication in (1, 2, 3, 5):
            assert differences(topic, replication, new_configs(topic, replication)) == []


def test_cleanup_and_life_are_those_of_the_topic() -> None:
    """One table says it for every log."""
    for topic, spec in TOPICS.items():
        configs = new_configs(topic, 1)
        assert configs["cleanup.policy"] == spec.cleanup
        assert configs["retention.bytes"] == "-1"
        if spec.cleanup == "delete":
            assert configs["retention.ms"] == str(spec.retention_ms or -1)
        else:
            assert configs["delete.retention.ms"] == str(spec.tombstone_ms)
            assert int(configs["min.compaction.lag.ms"]) < int(configs["max.compaction.lag.ms"])


def test_the_largest_record_fits_every_topic() -> None:
    """As a batch of its own, also where zstd cannot make it smaller, and into one segment."""
    incompressible = RECORD_BYTES_MAX + RECORD_BYTES_MAX // 256 + 1024
    for topic in Topic:
        configs = new_configs(topic, 1)
        assert int(configs["max.message.bytes"]) == MESSAGE_BYTES_MAX >= incompressible
        assert int(configs["segment.bytes"]) >= MESSAGE_BYTES_MAX


@pytest.mark.parametrize(
    ("topic", "config", "found", "words"),
    [
        (Topic.STATE, "cleanup.policy", "delete", "wanted compact"),
        (Topic.STATE, "cleanup.policy", "compact,delete", "wanted compact"),
        (Topic.CHANGELOG, "cleanup.policy", "compact", "wanted delete"),
        (Topic.CHANGELOG, "retention.ms", "604800000", "wanted -1"),
        (Topic.CHANGELOG, "retention.bytes", "1000000", "wanted -1"),
        (Topic.REFETCH, "retention.ms", str(6 * DAY_MS), f"wanted at least {7 * DAY_MS}"),
        (Topic.METADATA, "delete.retention.ms", str(DAY_MS), f"wanted at least {30 * DAY_MS}"),
        (Topic.METADATA, "min.compaction.lag.ms", "0", "wanted at least 600000"),
        (Topic.METADATA, "max.message.bytes", "1048588", f"wanted at least {MESSAGE_BYTES_MAX}"),
        (Topic.METADATA, "segment.bytes", "1048576", f"wanted at least {MESSAGE_BYTES_MAX}"),
        (Topic.STATE, "message.timestamp.type", "CreateTime", "wanted LogAppendTime"),
        (Topic.STATE, "unclean.leader.election.enable", "true", "wanted false"),
        (Topic.STATE, "min.insync.replicas", "1", "wanted at least 2"),
        (Topic.STATE, "min.insync.replicas", "4", "could not be written"),
    ],
)
def test_what_would_lose_something_is_different(
    topic: Topic, config: str, found: str, words: str
) -> None:
    """Named with what was found and what is wanted; mending sets this one and no other."""
    configs = {**new_configs(topic, 3), config: found}
    listed = differences(topic, 3, configs)
    assert [each.config for each in listed] == [config]
    assert f"{config} is {found}" in str(listed[0])
    assert words in str(listed[0])
    assert mended(topic, 3, configs) == {config: wanted(topic, 3)[config].value}


@pytest.mark.parametrize(
    ("topic", "config", "found"),
    [
        (Topic.REFETCH, "retention.ms", str(8 * DAY_MS)),
        (Topic.REFETCH, "retention.ms", "-1"),
        (Topic.METADATA, "delete.retention.ms", str(60 * DAY_MS)),
        (Topic.METADATA, "min.compaction.lag.ms", str(DAY_MS)),
        (Topic.METADATA, "max.message.bytes", "104857600"),
        (Topic.METADATA, "max.compaction.lag.ms", "9223372036854775807"),
        (Topic.METADATA, "segment.bytes", "1073741824"),
        (Topic.PROGRESS, "segment.ms", "604800000"),
        (Topic.METADATA, "compression.type", "zstd"),
        (Topic.METADATA, "segment.jitter.ms", "60000"),
        (Topic.STATE, "min.insync.replicas", "3"),
    ],
)
def test_what_keeps_more_or_only_costs_is_fine(topic: Topic, config: str, found: str) -> None:
    """Longer, larger, stricter, or none of our business."""
    configs = {**new_configs(topic, 3), config: found}
    assert differences(topic, 3, configs) == []
    assert mended(topic, 3, configs) == {}


def test_a_config_that_the_broker_does_not_know_is_left_alone() -> None:
    """An older or a hosted broker may not show all of them."""
    assert differences(Topic.STATE, 1, {"cleanup.policy": "compact"}) == []


def test_one_broker_may_be_down() -> None:
    """With three copies two must have a record; with fewer, waiting for two would stop it all."""
    assert [min_insync(copies) for copies in (1, 2, 3, 4)] == [1, 1, 2, 2]


def test_the_number_of_partitions_is_what_most_topics_say() -> None:
    """Progress has two more; a topic that another program made does not change the answer."""
    counts = {Topic.CHANGELOG: 4, Topic.METADATA: 4, Topic.PROGRESS: 6, Topic.STATE: 1}
    assert log_partitions(counts) == 4
    assert log_partitions({Topic.PROGRESS: 14}) == 12
    assert log_partitions({}) is None
    assert partition_fault(Topic.STATE, 1, 4) == "it has 1 partitions, wanted 4"
    assert partition_fault(Topic.PROGRESS, 4, 4) == "it has 4 partitions, wanted 6"
    assert partition_fault(Topic.PROGRESS, 6, 4) is None


def test_names_have_the_prefix() -> None:
    """Nothing else is added."""
    assert topic_name("pypi.", Topic.DEAD_LETTER) == "pypi.dead-letter"


def test_the_page_explains_every_config() -> None:
    """docs/kafka.md has a row for each that a topic is made with, and the numbers of a new log."""
    page = PAGE.read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for topic in Topic:
        for config in wanted(topic, 3):
            assert [row for row in rows if row.startswith(f"| `{config}` |")], config
    assert f"({NEW_LOG_PARTITIONS} partitions, {REPLICATION_MAX} replicas" in page
