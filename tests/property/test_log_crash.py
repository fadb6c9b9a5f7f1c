"""A crash at any point: the SQLite log opens with a prefix of its transactions, never with a part.

What a crash or a power cut leaves is the file and a write-ahead log that ends anywhere. Both are
copied while the log is open, the second one is cut (or damaged) at any byte, and opened.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import LogTruncated
from schemas.topics import Offset, Topic
from streams.log import NextOffsets, Outgoing, TopicPartition
from streams.sqlite_log import SqliteLog
from tests.support.logs import IN_MEMORY, read_all

TRANSACTIONS = 12
TOUCHED = (
    TopicPartition(Topic.STATE, 0),
    TopicPartition(Topic.METADATA, 0),
    TopicPartition(Topic.PROGRESS, 0),
)


async def make(path: Path, copy: Path) -> None:
    """A log of some transactions, copied while it is open: nothing of it is checkpointed."""
    log = await SqliteLog.open(path)
    writer = await log.writer("a")
    for n in range(TRANSACTIONS):
        value = str(n).encode()
        await writer.commit(
            [Outgoing(topic, f"k{n % 3}", value + b" " * 700, (), 0) for topic, _ in TOUCHED[:2]],
            partial(closing, value),
        )
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    await log.close()


def closing(value: bytes, _: NextOffsets) -> list[Outgoing]:
    return [Outgoing(Topic.PROGRESS, "p", value)]


async def transactions_in(path: Path) -> int:
    """How many transactions the log shows, each of them whole; and it can go on."""
    log = await SqliteLog.open(path)
    try:
        shown = []
        for at in TOUCHED:
            found = await read_all(log, [at])
            values = [int((record.value or b"").strip()) for record in found]
            assert list(range(len(values))) == values
            assert values == [record.offset for record in found]
            shown.append(len(values))
        assert len(set(shown)) == 1, "a part of a transaction is seen"
        writer = await log.writer("a")
        assert [shown[0]] == list(await writer.commit([Outgoing(Topic.STATE, "k", b"on", (), 0)]))
        with pytest.raises(LogTruncated):  # a sink that knew more than survived is told so
            await log.reader({TOUCHED[1]: Offset(TRANSACTIONS + 1)})
        return shown[0]
    finally:
        await log.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("crash")
    copy = directory / "copy.sqlite"
    asyncio.run(make(directory / "log.sqlite", copy))
    return copy


def crashed(made: Path, directory: str, wal: bytes) -> Path:
    path = Path(directory) / "log.sqlite"
    shutil.copy(made, path)
    Path(f"{path}-wal").write_bytes(wal)
    return path


@pytest.mark.timeout(600)  # the long profile has 5000 examples
@given(data=st.data())
def test_cut_anywhere(made: Path, data: st.DataObject) -> None:
    """Cut at any byte, the log holds the first transactions, whole; cut nowhere, it holds all."""
    wal = Path(f"{made}-wal").read_bytes()
    cut = data.draw(st.integers(0, len(wal)) | st.just(len(wal)))
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as directory:
        shown = asyncio.run(transactions_in(crashed(made, directory, wal[:cut])))

    if cut == len(wal):
        assert shown == TRANSACTIONS


@pytest.mark.timeout(600)  # the long profile has 5000 examples
@given(data=st.data())
def test_damaged_anywhere(made: Path, data: st.DataObject) -> None:
    """One bit of the write-ahead log flipped: again a prefix of whole transactions."""
    wal = bytearray(Path(f"{made}-wal").read_bytes())
    place = data.draw(st.integers(0, len(wal) - 1))
    wal[place] ^= 1 << data.draw(st.integers(0, 7))
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as directory:
        assert asyncio.run(transactions_in(crashed(made, directory, bytes(wal)))) <= TRANSACTIONS
