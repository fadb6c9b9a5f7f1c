"""What hardly ever happens to positions, decisions and documents, and what is done then."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from processors import publication
from processors.decide import STALE, Attempt, Effect, Patience, Unchanged, decide
from processors.publication import Answered
from processors.trim import trim
from schemas.compression import compress
from schemas.errors import DumpCorrupt, LogCorrupt
from schemas.names import NormalizedName
from schemas.records import State, Status
from schemas.topics import Topic
from sinks.dump.frame_store import INDEX_FILE, FrameStore
from sinks.dump.sink import TABLES, DumpSink
from sinks.durable import begin_sync, forget_pages
from streams.log import TopicPartition
from streams.masking import MaskedLog
from streams.memory_log import MemoryLog
from streams.progress import history_since
from streams.sqlite_log import SqliteLog
from tests.support.documents import body, document
from tests.support.logs import state

NAME = NormalizedName("some-project")
NOW_MS = 1_700_000_000_000


def test_a_304_where_nothing_is_published_is_asked_again_without_an_etag() -> None:
    """The ETag was another document's: nothing can be said to be unchanged."""
    waiting = State(Status.PENDING, 9, name="Some.Project", etag='"x"')

    verdict = decide(waiting, Unchanged(), Attempt(9, NOW_MS), Patience())

    assert (verdict.effect, verdict.state.etag, verdict.state.reason) == (Effect.NONE, "", STALE)


def test_a_log_without_releases_gets_none() -> None:
    """One record for a document, and one tombstone for a removal."""
    trimmed = trim(body(document("1.0")), NAME, header_serial=7)
    waiting = State(Status.PENDING, 9, name="Some.Project")
    asked = Attempt(9, NOW_MS)
    verdict = decide(waiting, Unchanged(), asked, Patience())
    for effect in (Effect.PUBLISH, Effect.TOMBSTONE):
        answered = Answered(NAME, waiting, verdict._replace(effect=effect), NOW_MS, trimmed)
        for with_releases, topics in (
            (False, [Topic.METADATA]),
            (True, [Topic.METADATA, Topic.RELEASES]),
        ):
            found = publication.records(answered, with_releases=with_releases)
            assert topics == [record.topic for record in found]


def test_a_field_that_is_null_already_is_not_left_out_again() -> None:
    """The document is the same, and has no anomaly for it."""
    whole = body(document("1.0", license=None))

    left_out = trim(whole, NAME, left_out=frozenset({"license"}))

    assert trim(whole, NAME) == left_out


async def test_a_partition_that_lost_its_place_is_damage(tmp_path: Path) -> None:
    """Nothing is written at an offset that may have been used."""
    path = tmp_path / "log.sqlite"
    log = await SqliteLog.open(path)
    await log.append([state("a", "1")])
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM partitions WHERE topic = 'state'")
    connection.close()
    with pytest.raises(LogCorrupt) as caught:
        await log.append([state("a", "2")])

    assert "pypistream run --backfill" in caught.value.hint
    await log.close()


def test_a_dump_whose_positions_cannot_be_read_is_begun_anew(tmp_path: Path) -> None:
    """The store is let go of, so that a reset can have it."""
    store = FrameStore(tmp_path / "frames", TABLES)
    store.flush(b'{"log_id": 7}')
    store.close()
    sink = DumpSink(tmp_path / "dumps", tmp_path / "frames")
    with pytest.raises(DumpCorrupt, match="positions"):
        sink.standing()

    sink.reset()
    assert sink.standing().positions == {}
    sink.close()


def test_without_a_head_nobody_knows_since_when_the_journal_is_held() -> None:
    """As in a log that was founded and has read nothing yet."""
    assert history_since(None, ()) is None


@pytest.mark.parametrize("raw", [b"no index at all", b'{"format":"7"}'])
def test_a_store_whose_index_is_none_is_refused(raw: bytes, tmp_path: Path) -> None:
    """The text names the command that makes it anew."""
    FrameStore(tmp_path, TABLES).close()
    (tmp_path / INDEX_FILE).write_bytes(compress(raw, 3))
    with pytest.raises(DumpCorrupt) as caught:
        FrameStore(tmp_path, TABLES)

    assert "rebuild dump" in caught.value.hint


async def test_what_rules_may_leave_something_out_of_is_not_folded() -> None:
    """State is: no rule reaches it."""
    log = MaskedLog.of(MemoryLog(1))
    await log.append([state("a", "1")])

    assert ["a"] == list((await log.table(TopicPartition(Topic.STATE, 0))).rows)
    with pytest.raises(ValueError, match="metadata is read, not folded"):
        await log.table(TopicPartition(Topic.METADATA, 0))
    await log.close()


def test_a_system_that_takes_no_hints_gets_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no such call on macOS; what was written is there all the same."""
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    with (tmp_path / "file").open("wb") as file:
        file.write(b"x")
        begin_sync(file, 0)
        forget_pages(file)

    assert b"x" == (tmp_path / "file").read_bytes()
