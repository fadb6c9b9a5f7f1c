"""The small parts that the embedded logs are made of."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec
from schemas.errors import (
    LogBroken,
    LogCorrupt,
    LogFull,
    OversizedBody,
    PypistreamError,
    UsageError,
)
from schemas.topics import RECORD_BYTES_MAX, TOPICS, Topic
from streams.bell import Bell, heard_within
from streams.cleaning import COMPACTION_LAG_MS, limits
from streams.log import Headers, LogUnavailable, Outgoing, TopicPartition
from streams.packing import _PAIRS, UNPACKED_PER_BYTE_MAX, pack_headers, unpack_headers
from streams.placing import every_partition, placed
from streams.sqlite_errors import refused, translated
from streams.sqlite_rows import checksum, packed, record_of, sound_rows

NOW_MS = 1_700_000_000_000
AT = TopicPartition(Topic.STATE, 0)
texts = st.sampled_from(["ce_id", "ce_type", "serial", "x", ""]) | st.text(max_size=5)
headers_strategy = st.lists(
    st.tuples(texts, st.binary(max_size=6)) | st.sampled_from(_PAIRS), max_size=8
).map(tuple)


def _long(seed: bytes) -> bytes:
    return seed * 600


class TestPacking:
    @given(headers=headers_strategy)
    def test_round_trip(self, headers: Headers) -> None:
        """Any headers come back as they were, in their order, and have no more bytes than said."""
        stored = pack_headers(headers)

        assert headers == unpack_headers(stored)
        assert sum(len(k) + len(v) for k, v in headers) <= UNPACKED_PER_BYTE_MAX * len(stored)

    def test_too_large_by_its_headers(self) -> None:
        """A record whose headers are over the limit is refused, also where they pack to little."""
        headers = (("ce_dataschema", b"dead-letter.v1.schema.json"),) * (RECORD_BYTES_MAX // 39 + 1)

        with pytest.raises(OversizedBody, match="a record of state for 'k'"):
            packed(Outgoing(Topic.STATE, "k", b"v", headers))

    def test_ours_are_small(self) -> None:
        """The headers of one of our records take less than half of their own length."""
        envelope = codec.Envelope(
            id="12345678-ok",
            type="pypistream.state",
            subject="requests",
            time=1.7e9,
            dataschema=codec.dataschema(Topic.STATE),
            event_serial=12345678,
        )
        headers = codec.headers(envelope)

        assert len(pack_headers(headers)) < sum(len(k) + len(v) for k, v in headers) / 2

    def test_every_schema_name_is_known(self) -> None:
        """The table of whole headers keeps up with the topics."""
        for topic in Topic:
            pair = ("ce_dataschema", codec.dataschema(topic).encode())
            assert len(pack_headers((pair,))) == 2

    @given(noise=st.binary(max_size=12))
    def test_noise(self, noise: bytes) -> None:
        """Bytes that are no packed headers raise ValueError, or are some headers after all."""
        try:
            headers = unpack_headers(noise)
        except ValueError:
            return
        assert isinstance(headers, tuple)

    def test_table_is_only_appended_to(self) -> None:
        """Stored bytes of the first version are read for ever."""
        with pytest.raises(ValueError, match="unknown form"):
            unpack_headers(bytes.fromhex("9115"))  # 0x15 = 21: no code yet
        stored = bytes.fromhex("97" + "00" + "01" + "64c40131" + "14" + "a178c4017a")

        assert unpack_headers(stored) == (
            ("ce_specversion", b"1.0"),
            ("ce_source", b"pypistream"),
            ("ce_id", b"1"),
            ("reason", b"no-releases"),
            ("x", b"z"),
        )


class TestRows:
    @given(
        key=st.none() | st.text(max_size=4),
        value=st.none() | st.binary(max_size=4) | st.binary(min_size=1, max_size=2).map(_long),
        headers=headers_strategy,
    )
    def test_round_trip(self, key: str | None, value: bytes | None, headers: Headers) -> None:
        """A record is the same after its stored form; a long value is stored shorter."""
        stored = packed(Outgoing(Topic.STATE, key, value, headers))
        crc = checksum(7, NOW_MS, stored)
        row = (7, NOW_MS, crc, stored.unpacked_bytes, stored.key, stored.headers, stored.value)
        [sound] = sound_rows([row], AT)
        record = record_of(sound, AT)

        assert (key, value, headers) == (record.key, record.value, record.headers)
        assert (7, NOW_MS) == (record.offset, record.timestamp_ms)
        if value is not None and len(value) >= 600:
            assert len(stored.value or b"") < len(value)

    def test_bytes_cannot_move_between_columns(self) -> None:
        """Key, headers and value each have their own length in the checksum."""
        stored = packed(Outgoing(Topic.STATE, "ab", b"cd", ()))
        crc = checksum(7, NOW_MS, stored)
        for key, value in (("a", b"bcd"), ("abc", b"d"), ("abcd", b""), ("abcd", None)):
            with pytest.raises(LogCorrupt, match="state/0 offset 7 "):
                list(sound_rows([(7, NOW_MS, crc, 0, key, b"", value)], AT))


class TestPlacing:
    def test_every_partition(self) -> None:
        """N of each topic, N + 2 of `progress`."""
        assert len(every_partition(4)) == 7 * 4 + 2
        assert len(set(every_partition(12))) == 7 * 12 + 2

    def test_progress_beyond_n(self) -> None:
        """The partitions N and N + 1 of `progress` are written explicitly."""
        record = Outgoing(Topic.PROGRESS, "config", b"{}", (), 5)

        assert TopicPartition(Topic.PROGRESS, 5) == placed(record, 4)
        with pytest.raises(ValueError, match="no partition 6"):
            placed(record._replace(partition=6), 4)


class TestLimits:
    def test_compacted(self) -> None:
        """Replaced records wait for the lag, tombstones for their own time, others for ever."""
        limit = limits(Topic.METADATA, NOW_MS)

        assert limit.superseding == NOW_MS - COMPACTION_LAG_MS
        assert limit.tombstone == NOW_MS - (TOPICS[Topic.METADATA].tombstone_ms or 0)
        assert limit.any is None

    def test_deleted(self) -> None:
        """`refetch` goes by its retention, `changelog` stays."""
        day_ms = 24 * 60 * 60 * 1000

        assert limits(Topic.REFETCH, NOW_MS) == (None, None, NOW_MS - 7 * day_ms)
        assert limits(Topic.CHANGELOG, NOW_MS) == (None, None, None)


class TestBell:
    async def test_rung_from_a_thread(self) -> None:
        """A listener is woken from any thread; what was rung while it looked away counts."""
        bell = Bell()
        with bell.listening() as event:
            await asyncio.to_thread(bell.ring)
            assert await heard_within(event, 5)
            assert await heard_within(event, 0), "it stays rung until cleared"
            event.clear()
            assert not await heard_within(event, 0)
        bell.ring()
        assert not bell.heard, "nobody listens any more"

    async def test_rung_for_some_places(self) -> None:
        """Whoever listens to other places is not woken; who names none hears all."""
        bell = Bell()
        with bell.listening(["a", "b"]) as some, bell.listening() as every:
            bell.ring(["c"])
            assert await heard_within(every, 5)
            assert not some.is_set()
            bell.ring(["b", "c"])
            assert await heard_within(some, 5)
            some.clear()
            bell.ring()
            assert await heard_within(some, 5)

    def test_listener_whose_loop_is_gone(self) -> None:
        """A loop that was closed is no reason to fail."""
        bell = Bell()
        listening = bell.listening()

        async def listen() -> None:
            listening.__enter__()

        asyncio.run(listen())
        assert bell.heard
        bell.ring()


class TestErrors:
    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            (sqlite3.SQLITE_FULL, LogFull),
            (sqlite3.SQLITE_IOERR_SHMSIZE, LogFull),
            (sqlite3.SQLITE_BUSY, LogUnavailable),
            (sqlite3.SQLITE_BUSY_SNAPSHOT, LogUnavailable),
            (sqlite3.SQLITE_CORRUPT, LogCorrupt),
            (sqlite3.SQLITE_NOTADB, LogCorrupt),
            (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, LogCorrupt),
            (sqlite3.SQLITE_IOERR_FSYNC, LogBroken),
            (sqlite3.SQLITE_IOERR_WRITE, LogBroken),
            (sqlite3.SQLITE_IOERR_READ, LogBroken),
            (sqlite3.SQLITE_READONLY, UsageError),
            (sqlite3.SQLITE_CANTOPEN, UsageError),
        ],
    )
    def test_codes(self, code: int, expected: type[PypistreamError]) -> None:
        """Each of SQLite's codes becomes the error that says what to do, with a hint."""
        error = sqlite3.OperationalError("something")
        error.sqlite_errorcode = code
        error.sqlite_errorname = "SQLITE_SOMETHING"
        found = translated(error, Path("data/log.sqlite"))

        assert type(found) is expected
        assert "data/log.sqlite" in str(found)
        assert found.hint

    def test_who_may_not_write_is_told_who_may(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """SQLite itself says that it is "unable to open database file"."""
        monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path)
        found = refused(tmp_path / "log.sqlite", "unable to open database file")

        assert f"this user ({os.geteuid()}) may not write {tmp_path}" in str(found)
        assert f"run it as user {tmp_path.stat().st_uid}" in found.hint

    def test_too_many_open_files_are_no_matter_of_permissions(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def none_left(*_: object) -> int:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(os, "open", none_left)
        found = refused(tmp_path / "log.sqlite", "unable to open database file")

        assert str(found).endswith("cannot be used: Too many open files")
