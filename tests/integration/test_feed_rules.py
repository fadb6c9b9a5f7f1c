"""What a rule leaves out reaches no sink; one whose files may keep it is filled anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from schemas.codec import encode
from schemas.records import ChangelogEntry, Kind, Rule
from schemas.topics import Offset, Topic
from sinks.duckdb import snapshot
from sinks.feed import Feed
from sinks.serving.view import ServingView
from sinks.sink import Batch, Sink
from streams.log import Log, Outgoing, Record, TopicPartition
from streams.masking import MaskedLog
from streams.memory_log import MemoryLog, MemoryReader
from streams.rules import rule_record
from tests.support.feed_world import Clock, MemorySink, feeding, founded, until, work
from tests.support.new_view import new_view

SECRET = b"ada@example.org"
DOCUMENT = {
    "info": {"name": "foo", "version": "1", "author_email": SECRET.decode()},
    "releases": {"1": []},
}


def published() -> list[Outgoing]:
    """A document of somebody, and how they came to it."""
    row = ChangelogEntry(5, "foo", None, 0, f"add Owner {SECRET.decode()}", Kind.ROLE)
    return [
        Outgoing(Topic.METADATA, "foo", json.dumps(DOCUMENT).encode()),
        Outgoing(Topic.CHANGELOG, "foo", encode(row)),
        Outgoing(Topic.STATE, "foo", b'{"status":"ok","event":5,"body":5}'),
    ]


async def rule(log: Log, name: str, *fields: str) -> None:
    await log.append([rule_record(log, Rule(name, fields), 1)])


class Keeping(MemorySink):
    """Its files keep what was replaced, and it remembers all it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = b""

    def apply(self, batch: Batch) -> None:
        super().apply(batch)
        self.at = self.at._replace(rules=batch.rules)
        self.seen += b"".join(record.value or b"" for record in batch.records)

    def reset(self) -> None:
        super().reset()
        self.seen = b""


async def test_a_sink_that_keeps_what_was_replaced_is_filled_anew() -> None:
    """Once for a new rule; from then on nothing that it leaves out comes, from any topic."""
    log, sink = await founded(MemoryLog()), Keeping()
    await work(log, 0, published())
    async with feeding(log, sink, Clock()):
        await until(lambda: SECRET in sink.seen)
        await rule(log, "foo", "personal")
        await until(lambda: sink.resets == 1 and len(sink.rows) == 2)
        await work(log, 0, published())
        await until(lambda: len(sink.journal) == 2)

    assert (SECRET in sink.seen, sink.resets) == (False, 1)
    assert b'"author_email":null' in sink.rows[Topic.METADATA, "foo"]
    assert b"add Owner ***" in sink.seen


async def test_a_sink_that_keeps_nothing_goes_on() -> None:
    """It is handed over nothing, too."""
    log, sink = await founded(MemoryLog()), MemorySink()
    await work(log, 0, published())
    async with feeding(log, sink, Clock()):
        await until(lambda: sink.rows)
        await rule(log, "", "author_email")
        await until(lambda: sink.at.log_id)
        await work(log, 0, published())
        await until(lambda: SECRET not in sink.rows[Topic.METADATA, "foo"])

    assert sink.resets == 0


@pytest.mark.parametrize("kind", ["duckdb", "serving"])
async def test_no_byte_of_it_stays_in_a_sinks_files(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the live file, beside it, or in what is published; also if nobody was there just then."""
    # Else no byte of it could be found.
    monkeypatch.setattr(snapshot, "COMPRESSION", "uncompressed")
    log = await founded(MemoryLog())
    await work(log, 0, published())

    def sink() -> Sink:
        if kind == "serving":
            return ServingView(tmp_path / "state")
        return new_view(tmp_path)

    async def fed() -> int:
        async with Feed(log, sink(), Clock(), publish_every_seconds=0) as feed:
            await feed.finish()
            return feed.counters.resets

    assert await fed() == 0
    assert found(tmp_path)
    await rule(log, "foo", "personal")
    assert await fed() == 1
    assert not found(tmp_path)
    assert await fed() == 0


class RuleAmidReading(MemoryLog):
    """A rule is made while the first journal rows are read, and whoever else reads sees it."""

    masked: MaskedLog | None = None

    async def reader(self, positions: Mapping[TopicPartition, Offset]) -> MemoryReader:
        inner = await super().reader(positions)
        if not any(at.topic is Topic.CHANGELOG for at in positions):
            return inner
        genuine = inner.read

        async def read(max_records: int, wait_seconds: float) -> list[Record]:
            records = await genuine(max_records, wait_seconds)
            masked, self.masked = self.masked, None
            if masked is not None and records:
                await rule(self, "foo", "personal")
                await masked.look()
            return records

        inner.read = read  # type: ignore[method-assign]  # this reader's alone
        return inner


async def test_a_rule_that_comes_amid_the_first_batch_is_not_missed() -> None:
    """The batch was read without it: the sink does not claim to know it."""
    log, sink = RuleAmidReading(), Keeping()
    await founded(log)
    await work(log, 0, published())
    masked = log.masked = MaskedLog.of(log)
    async with Feed(masked, sink, Clock(), publish_every_seconds=60) as feed:
        await feed.finish()
        await feed.finish()

    assert (SECRET in sink.seen, sink.resets) == (False, 1)


def found(folder: Path) -> list[Path]:
    """Files with the secret in them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if SECRET in path.read_bytes()]
