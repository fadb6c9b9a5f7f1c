"""What Kafka's errors become."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from aiokafka import errors as kafka

from schemas.errors import (
    Fatal,
    LogCorrupt,
    LogRefused,
    LogTruncated,
    OversizedBody,
    PypistreamError,
    Retriable,
    UsageError,
    WriterFenced,
)
from streams.kafka_errors import meaning, translated
from streams.log import LogUnavailable


@pytest.mark.parametrize(
    ("error", "leaf"),
    [
        (kafka.ProducerFenced(), WriterFenced),
        (kafka.InvalidProducerEpoch(), WriterFenced),
        (kafka.InvalidProducerIdMapping(), WriterFenced),
        (kafka.OffsetOutOfRangeError({"a": 1}), LogTruncated),
        (kafka.CorruptRecordException("crc"), LogCorrupt),
        (kafka.MessageSizeTooLargeError("The message is 99 bytes"), OversizedBody),
        (kafka.RecordListTooLargeError(), OversizedBody),
        (kafka.TopicAuthorizationFailedError({"a"}), LogRefused),
        (kafka.GroupAuthorizationFailedError("g"), LogRefused),
        (kafka.TransactionalIdAuthorizationFailed("t"), LogRefused),
        (kafka.ClusterAuthorizationFailedError(), LogRefused),
        (kafka.SaslAuthenticationFailed("no"), LogRefused),
        (kafka.UnsupportedSaslMechanismError("PLAIN"), UsageError),
        (kafka.InvalidReplicationFactorError("3 > 1"), UsageError),
        (kafka.UnknownError(), LogUnavailable),
        (kafka.OutOfOrderSequenceNumber(), LogUnavailable),
        (kafka.UnknownProducerId(), LogUnavailable),
        (kafka.InvalidTxnState(), LogUnavailable),
        (kafka.NotLeaderForPartitionError(), LogUnavailable),
        (kafka.NotEnoughReplicasError(), LogUnavailable),
        (kafka.KafkaStorageError(), LogUnavailable),
        (kafka.UnknownTopicOrPartitionError(), LogUnavailable),
        (kafka.KafkaConnectionError("Unable to bootstrap"), LogUnavailable),
        (kafka.RequestTimedOutError(), LogUnavailable),
        (kafka.KafkaTimeoutError(), LogUnavailable),
        (kafka.ProducerClosed(), LogUnavailable),
        (kafka.ConsumerStoppedError(), LogUnavailable),
        (kafka.IllegalOperation("no group"), LogUnavailable),
        (TimeoutError(), LogUnavailable),
        (ConnectionResetError("reset"), LogUnavailable),
        (asyncio.IncompleteReadError(b"", 4), LogUnavailable),
        (ssl.SSLError("eof"), LogUnavailable),
        (ssl.SSLCertVerificationError("unknown"), LogRefused),
    ],
)
def test_each_error_becomes_a_leaf(error: Exception, leaf: type[PypistreamError]) -> None:
    """One leaf per meaning; its text says what was to be done, and the true error is its cause."""
    with pytest.raises(leaf) as caught, translated("read"):
        raise error
    assert type(caught.value) is leaf
    assert str(caught.value).startswith("cannot read: ")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


def test_every_broker_error_that_says_try_again_is_retriable() -> None:
    """Whatever aiokafka marks as retriable is waited out, none of them ends a process."""
    marked = [kind for kind in kafka.kafka_errors.values() if kind.retriable]
    assert len(marked) > 10
    for kind in marked:
        assert isinstance(meaning(kind(), "read"), Retriable), kind


def test_the_reason_is_found_behind_a_wrapper() -> None:
    """The sender wraps what it did not expect; the first error with a meaning counts."""

    def wrapped() -> None:
        try:
            raise kafka.TopicAuthorizationFailedError({"pypi.state"})
        except kafka.KafkaError as error:
            raise kafka.KafkaError("Unexpected error during batch delivery") from error

    with (
        pytest.raises(LogRefused, match=r"right Write on the topic pypi\.state"),
        translated("commit"),
    ):
        wrapped()


def test_a_missing_right_is_named_with_the_command_that_grants_it() -> None:
    """Who lacks what on which resource, and a kafka-acls line to paste."""
    found = meaning(
        kafka.TopicAuthorizationFailedError({"pypi.state", "pypi.metadata"}),
        "append",
        "User:worker",
    )
    assert str(found) == (
        "cannot append: User:worker lacks the right Write on the topics pypi.metadata, pypi.state"
    )
    assert (
        "--allow-principal User:worker --operation Write --topic pypi.metadata --topic pypi.state"
        in found.hint
    )
    found = meaning(kafka.TransactionalIdAuthorizationFailed("pypi.worker-0"), "take the writer id")
    assert "--operation Write --transactional-id pypi.worker-0" in found.hint
    assert "User:NAME" in found.hint
    found = meaning(kafka.ClusterAuthorizationFailedError(), "append", "the subject of me.crt")
    assert str(found) == "cannot append: the subject of me.crt has the right Write on no topic"
    assert "--allow-principal User:NAME --operation Write --topic NAME" in found.hint


def test_the_size_of_a_record_is_kept_where_it_is_known() -> None:
    """The library says it, the broker does not: 0."""
    text = "The message is 17000000 bytes when serialized which is larger than the maximum"
    known = meaning(kafka.MessageSizeTooLargeError(text), "append")
    unknown = meaning(kafka.MessageSizeTooLargeError(), "append")
    assert isinstance(known, OversizedBody)
    assert isinstance(unknown, OversizedBody)
    assert (known.bytes_seen, unknown.bytes_seen) == (17_000_000, 0)


def test_our_own_errors_and_cancels_pass_through() -> None:
    """What is a leaf already stays one; a cancel is none of its business."""
    with pytest.raises(Fatal, match=r"^mine$"), translated("read"):
        raise LogTruncated("mine")
    with pytest.raises(asyncio.CancelledError), translated("read"):
        raise asyncio.CancelledError


def test_assertions_are_translated_only_if_they_are_the_librarys() -> None:
    """The library asserts its own state after errors; an assertion of ours is a fault of ours."""
    code = compile("assert False, 'Invalid state transition'", "txn.py", "exec")
    with pytest.raises(LogUnavailable, match="out of step: Invalid state"), translated("commit"):
        exec(code, {"__name__": "aiokafka.producer.transaction_manager"})
    with pytest.raises(AssertionError, match="ours"), translated("commit"):
        raise AssertionError("ours")
