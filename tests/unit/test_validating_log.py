"""The log that lets only records through which keep to the published schemas."""

from __future__ import annotations

import pytest

from schemas import codec, examples
from schemas.codec import Envelope, dataschema
from schemas.topics import Offset, Topic
from streams.log import NextOffsets, Outgoing, TopicPartition
from streams.memory_log import MemoryLog
from tests.support.schema_check import ValidatingLog, assert_log_valid

AT = TopicPartition(Topic.STATE, 0)


def a_row(value: bytes | None = None) -> Outgoing:
    """A record of `state`, valid unless `value` is not."""
    envelope = Envelope("1", "pypistream.state", "flask", 0, dataschema(Topic.STATE))
    raw = codec.encode(examples.STATE) if value is None else value
    return Outgoing(Topic.STATE, "flask", raw, codec.headers(envelope))


async def test_valid_records_pass_and_are_counted_afterwards() -> None:
    """Through a plain append, a transaction, and what closes a transaction."""
    log = ValidatingLog(MemoryLog())
    await log.append([a_row()])
    writer = await log.writer("w")

    def closing(_ends: NextOffsets) -> list[Outgoing]:
        return [Outgoing(Topic.PROGRESS, "p", codec.encode(examples.CUT), partition=0)]

    await writer.commit([a_row()], closing)

    assert await assert_log_valid(log) == 3


async def test_an_invalid_record_is_not_written() -> None:
    """The whole transaction is refused, whichever of its records it is."""
    log = ValidatingLog(MemoryLog())
    writer = await log.writer("w")
    wrong = a_row(b'{"status":"ok"}')

    with pytest.raises(AssertionError, match="refuses"):
        await log.append([a_row(), wrong])
    with pytest.raises(AssertionError, match="refuses"):
        await writer.commit([a_row(), wrong])
    with pytest.raises(AssertionError, match="refuses"):
        await writer.commit([a_row()], lambda _ends: [wrong])

    assert (await log.ends(Topic.STATE))[AT] == Offset(0)


async def test_a_log_that_others_wrote_is_checked_whole() -> None:
    """An invalid record is found wherever it lies."""
    log = MemoryLog(partitions=4)
    await log.append([a_row()._replace(key=f"name-{i}") for i in range(2_000)])
    await log.append([a_row(b'{"status":"fine","event":1}')])

    with pytest.raises(AssertionError, match="fine"):
        await assert_log_valid(log)
