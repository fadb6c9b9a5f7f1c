"""Topics and Kafka's partitioner."""

from __future__ import annotations

import pytest

from schemas.topics import COMPACTED, TOPICS, Topic, murmur2, partition_count, partition_of

KAFKAS_OWN = [  # apache/kafka, UtilsTest.testMurmur2; signed 32-bit there
    (b"21", -973932308),
    (b"foobar", -790332482),
    (b"a-little-bit-long-string", -985981536),
    (b"a-little-bit-longer-string", -1486304829),
    (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    (b"abc", 479470107),
]


@pytest.mark.parametrize(("data", "signed"), KAFKAS_OWN)
def test_murmur2_agrees_with_kafka(data: bytes, signed: int) -> None:
    """Kafka's own test vectors: any Kafka client finds our keys in the same partition."""
    assert signed & 0xFFFFFFFF == murmur2(data)


@pytest.mark.parametrize(("data", "signed"), KAFKAS_OWN)
def test_partition_takes_the_sign_bit_off(data: bytes, signed: int) -> None:
    """`toPositive(murmur2(key)) % N`, as the default partitioner does for a record with a key."""
    for partitions in (2, 4, 12):
        assert (signed & 0x7FFFFFFF) % partitions == partition_of(data.decode(), partitions)


def test_one_partition_needs_no_hash() -> None:
    """The embedded log has one partition: everything is in it."""
    assert {0} == {partition_of(f"name-{i}", 1) for i in range(100)}


def test_keys_spread_over_all_partitions() -> None:
    """No partition of 12 has more than twice its share of 12 000 names."""
    counts = [0] * 12
    for i in range(12_000):
        counts[partition_of(f"project-{i}", 12)] += 1

    assert max(counts) < 2_000
    assert min(counts) > 500


def test_every_topic_is_described() -> None:
    """A topic without a cleanup rule cannot be added."""
    assert set(Topic) == set(TOPICS)
    assert all(TOPICS[topic].cleanup == "compact" for topic in COMPACTED)


@pytest.mark.parametrize("topic", list(Topic))
def test_progress_alone_has_two_more_partitions(topic: Topic) -> None:
    """N for the workers, one for the holder of the produce id, one for plain writes."""
    expected = 14 if topic is Topic.PROGRESS else 12

    assert expected == partition_count(topic, 12)


@pytest.mark.parametrize("spec", TOPICS.values(), ids=lambda spec: spec.topic.value)
def test_retention_fits_the_cleanup(spec: object) -> None:
    """A compacted topic keeps its rows and drops tombstones late; the others know only an age."""
    known = TOPICS[spec.topic]  # type: ignore[attr-defined]  # parametrize loses the type

    if known.cleanup == "compact":
        assert known.retention_ms is None
        days = 1 if known.topic is Topic.PROGRESS else 30  # progress is folded, never resumed
        assert known.tombstone_ms == days * 24 * 3600 * 1000
    else:
        assert known.tombstone_ms is None
