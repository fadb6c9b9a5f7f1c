"""What hardly ever happens to who writes, and to what is published, and what is done then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from processors import transactions
from producers import presence
from producers.presence import ALIVE_KEY, other_holder
from schemas import codec, compression
from schemas.errors import DataDirectoryVersion, DumpCorrupt, ViewCorrupt
from schemas.manifest import Delta, places
from schemas.records import Alive, Cut
from schemas.topics import Topic
from sinks.duckdb.copying import FileCopy, LiveFile
from sinks.dump.delta_file import DeltaFile, Mark, is_whole
from sinks.dump.forgetting import forget_behind, word_of
from sinks.dump.frame_store import FORMAT, INDEX_FILE, FrameStore
from sinks.dump.sink import TABLES, DumpSink
from sinks.sink import Vector
from streams.log import Outgoing
from streams.memory_log import MemoryLog
from tests.support import virtual_time
from tests.support.history import records_of
from tests.support.scripted_upstream import document
from tests.support.worker_world import World, settled

OWN = "ours"


def cut(offset: int, redacted: int = 0) -> Cut:
    """A place in all topics, with so many rules applied."""
    return Cut(*(offset,) * 5, redacted=redacted)


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[DumpSink]:
    """One that has published nothing."""
    yield (made := DumpSink(tmp_path / "dumps", tmp_path / "frames"))
    made.close()


def test_rules_made_since_a_dump_have_it_forgotten(sink: DumpSink, tmp_path: Path) -> None:
    """From the present cut on; without new rules nothing is; what was said before stays said."""
    before, at = Vector("log", (cut(5),)), Vector("log", (cut(9, redacted=1),))
    assert sink._word(before, None) is None
    assert sink._word(Vector("log", (cut(9),)), before) is None

    here = Mark("log", places(at.cuts))
    assert sink._word(at, before) == here == word_of(tmp_path / "dumps")

    later = Vector("log", (cut(12, redacted=2),))
    forget_behind(tmp_path / "dumps", "log", places(later.cuts))
    assert sink._word(at, before) == Mark("log", places(later.cuts))


def test_a_store_of_another_version_is_not_read(tmp_path: Path) -> None:
    """The text names the command that makes it anew."""
    store = FrameStore(tmp_path, TABLES)
    store.flush(b"{}")
    store.close()
    path = tmp_path / INDEX_FILE
    index = msgspec.json.decode(compression.decompress(path.read_bytes()))
    written = msgspec.json.encode({**index, "format": FORMAT + 1})
    path.write_bytes(compression.compress(written, 3))

    with pytest.raises(DataDirectoryVersion) as caught:
        FrameStore(tmp_path, TABLES)
    assert "rebuild dump" in caught.value.hint


def test_a_damaged_index_of_a_store_is_named(tmp_path: Path) -> None:
    """With the command that makes it anew."""
    store = FrameStore(tmp_path, TABLES)
    store.flush(b"{}")
    store.close()
    path = tmp_path / INDEX_FILE
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(DumpCorrupt, match=INDEX_FILE) as caught:
        FrameStore(tmp_path, TABLES)
    assert "rebuild dump" in caught.value.hint


def test_a_delta_that_is_gone_is_not_whole(tmp_path: Path) -> None:
    """It is left out, and nobody is told to fetch it."""
    delta = Delta(
        *("gone", 1, "0" * 64, 1, 1, "2026-01-01T00:00:00Z", ((1,) * 5,), ((2,) * 5,), None, 0, 0)
    )

    assert not is_whole(tmp_path, DeltaFile("gone", "log", 1, delta))


def test_a_copy_that_cannot_be_opened_is_not_published(tmp_path: Path) -> None:
    """What was published stays as it was, and nothing is left beside it."""
    live, target = tmp_path / "live.duckdb", tmp_path / "out" / "pypi.duckdb"
    target.parent.mkdir()
    target.write_bytes(b"as it was")
    live.write_bytes(b"no database at all" * 1_000)

    file = LiveFile(live)
    with pytest.raises(ViewCorrupt):
        FileCopy(file, target, "no cut").copied()
    file.close()

    assert target.read_bytes() == b"as it was"
    assert list(target.parent.iterdir()) == [target]


def sign(holder: str, *, ended: bool = False) -> bytes:
    """As `produce` writes it."""
    return codec.encode(Alive(holder, 1, ended=ended))


@pytest.mark.parametrize(
    ("first", "then", "found"),
    [
        (b"no sign of life", None, None),
        (None, None, None),
        (sign("other"), None, None),
        (sign("other"), sign("other"), "other"),
        (sign("other"), sign("other", ended=True), None),
        (sign("other"), b"no sign of life", None),
        (sign("other"), sign(OWN), None),
    ],
)
def test_who_else_holds_the_role(
    first: bytes | None, then: bytes | None, found: str | None
) -> None:
    """Only who gives a sign while it is waited for; what is no sign proves no life."""

    async def play() -> str | None:
        log = MemoryLog(1)
        await log.append([Outgoing(Topic.PROGRESS, "other-key", b"{}", partition=1)])
        if first is not None:
            await log.append([Outgoing(Topic.PROGRESS, ALIVE_KEY, first, partition=1)])
        real = log.reader

        async def reader(at: object) -> object:
            if then is not None:
                await log.append([Outgoing(Topic.PROGRESS, ALIVE_KEY, then, partition=1)])
            await log.append([Outgoing(Topic.PROGRESS, "other-key", b"{}", partition=1)])
            return await real(at)  # type: ignore[arg-type]

        log.reader = reader  # type: ignore[assignment, method-assign]
        other = await other_holder(log, OWN, lambda _: False)
        return other.holder if other else None

    assert virtual_time.run(play()) == found
    assert presence.SILENT_SECONDS > presence.SIGN_SECONDS


async def test_answers_that_do_not_fit_one_transaction_wait_for_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However small the room is, everything is published once."""
    monkeypatch.setattr(transactions, "BYTES_MAX", 1)
    monkeypatch.setattr(transactions, "RECORDS_MAX", 3)
    names = [f"project-{number}" for number in range(20)]
    world = World(1)
    for serial, name in enumerate(names, start=1):
        world.upstream.row(serial, name, "new release", "1.0")
        world.upstream.script(name, document(name, serial))
    config = await world.produce()
    async with world.working(config):
        await world.until(settled(len(names)))

    assert len(await records_of(world.log, Topic.METADATA)) == len(names)
