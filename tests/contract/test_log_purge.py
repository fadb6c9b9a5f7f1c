"""Compaction at once, on every adapter; what is left in the embedded log's files: nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from schemas.topics import Topic
from streams.log import Outgoing, Record, TopicPartition
from tests.support.logs import EVERY, STATE_0, OpenedLog, opened_log, read_all, state

LETTERS = TopicPartition(Topic.DEAD_LETTER, 0)
SECRET = b"ada@example.org"


@pytest_asyncio.fixture(
    params=[
        pytest.param(each, marks=pytest.mark.kafka if each == "kafka" else ()) for each in EVERY
    ]
)
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenedLog]:
    if request.param == "kafka":
        request.getfixturevalue("kafka_bootstrap")
    async with opened_log(request.param, 1, tmp_path) as opened:
        yield opened


def as_it_is(record: Record) -> bytes | None:
    return record.value


def without_secret(record: Record) -> bytes | None:
    return None if record.value is None else record.value.replace(SECRET, b"")


def letter(text: bytes) -> Outgoing:
    return Outgoing(Topic.DEAD_LETTER, "foo", text, (), 0)


async def last_of(opened: OpenedLog, at: TopicPartition) -> dict[str | None, bytes | None]:
    return {record.key: record.value for record in await read_all(opened.log, [at])}


async def test_the_last_of_each_key_stays(opened: OpenedLog) -> None:
    """Tombstones, too: whoever was away still has to learn of them."""
    for n in range(5):
        await opened.log.append([state("a", str(n)), state("b", str(n))])
    await opened.log.append([state("b", None)])

    removed = await opened.log.purge(as_it_is)
    found = await read_all(opened.log, [STATE_0])

    assert {record.key: record.value for record in found} == {"a": b"4", "b": None}
    assert (removed, len(found)) in {(9, 2), (0, 11)}  # Kafka lets nobody do that
    assert await opened.log.purge(as_it_is) == 0
    assert (await opened.log.table(STATE_0)).rows["a"].value == b"4"


async def test_letters_change_at_their_own_offsets(opened: OpenedLog) -> None:
    """And can be read as before, by another process, too; others are left alone."""
    texts = [b"before " + SECRET * 100, b"plain", SECRET]
    offsets = list(await opened.log.append([letter(text) for text in texts]))

    changed = await opened.log.purge(without_secret)
    found = await read_all(await opened.another(), [LETTERS])

    assert [record.offset for record in found] == offsets
    if changed:
        assert [record.value for record in found] == [b"before ", b"plain", b""]
    assert changed in {0, 2}


async def test_readers_go_on_past_what_was_purged(opened: OpenedLog) -> None:
    """One that stands at a record that goes reads what replaced it."""
    await opened.log.append([state("a", "1"), state("b", "1")])
    reader = await opened.log.reader({STATE_0: (await opened.log.starts(Topic.STATE))[STATE_0]})
    await opened.log.append([state("a", "2")])
    await opened.log.purge(as_it_is)
    await opened.log.append([state("c", "1")])

    found: dict[str | None, bytes | None] = {}
    while "c" not in found:
        found |= {record.key: record.value for record in await reader.read(10, 1.0)}
    await reader.close()

    assert found == {"a": b"2", "b": b"1", "c": b"1"}


@pytest.mark.parametrize("again", [False, True], ids=["once", "compacted before"])
async def test_no_byte_stays_in_the_embedded_logs_files(tmp_path: Path, again: bool) -> None:
    """Neither of what this purge removes, nor of what compaction had removed long ago."""
    value = SECRET.decode() + "x" * 300  # short enough to lie there as it is
    async with opened_log("sqlite", 1, tmp_path) as opened:
        for n in range(50):
            await opened.log.append([state(f"k{n}", value), state("a", value), letter(SECRET)])
        if again:
            opened.clock.ms += 10**9
            await opened.log.clean(opened.clock.ms)
        await opened.log.append([state(f"k{n}", "gone") for n in range(50)])
        await opened.log.append([state("a", "gone")])
        assert held(tmp_path)

        await opened.log.purge(without_secret)

        assert not held(tmp_path)
    assert not held(tmp_path)


def held(folder: Path) -> list[Path]:
    """Files with the secret in them."""
    return [path for path in folder.iterdir() if SECRET in path.read_bytes()]
