"""Finding the place of a serial in the changelog, and the lines that `follow` prints."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypistream.read.following import Request, start_positions
from pypistream.read.record_lines import Selection, json_line, readable_line
from schemas.filters import project_glob
from schemas.records import Kind
from schemas.topics import Offset, Topic
from streams.log import Outgoing, Record
from streams.memory_log import MemoryLog
from streams.seeking import serial_of
from tests.support.logs import read_all
from tests.support.reading_world import DOCUMENTS, HOSTILE_SHOWN, ROWS, marker, row

NOW = 1_700_000_000


def _late(record: Outgoing) -> Outgoing:
    return record._replace(headers=(*record.headers, ("late", b"true")))


async def _shown(log: MemoryLog, since: int) -> tuple[list[int], int]:
    """Serials shown by `--since`, in order, and how many records were read for it."""
    selection = Selection(since=since)
    positions = await start_positions(log, Request([Topic.CHANGELOG], selection))
    reader = await log.reader(positions)
    records = await reader.read(100_000, 0)
    return [serial_of(r) or 0 for r in records if selection.wants(r)], len(records)


async def _changelog(serials: list[int], seed: int, partitions: int) -> MemoryLog:
    """Rows in the order of their serials, markers strewn in, old rows late and in between."""
    chance = random.Random(seed)
    log = MemoryLog(partitions)
    for serial in serials:
        await log.append([row(serial, f"name{serial % 7}", "new release", Kind.NEW_RELEASE)])
        if chance.random() < 0.3:
            await log.append([marker(serial, NOW, p) for p in range(partitions)])
        if chance.random() < 0.2:
            old = chance.randrange(1, 10)
            rows = [row(old + n, "old", "create", Kind.CREATE) for n in range(3)]
            await log.append([_late(each) for each in rows])
    return log


@given(
    st.lists(st.integers(50, 400), unique=True, max_size=60).map(sorted),
    st.integers(0, 420),
    st.integers(0, 2**16),
    st.sampled_from([1, 4]),
)
async def test_since_finds_every_row_above_the_serial(
    serials: list[int], since: int, seed: int, partitions: int
) -> None:
    """Whatever lies between the rows: none is missed, none comes twice, in any partition."""
    log = await _changelog(serials, seed, partitions)
    shown, _ = await _shown(log, since)

    assert sorted(s for s in shown if s >= 50) == [s for s in serials if s > since]


async def test_since_does_not_read_the_whole_log() -> None:
    """The place is found by halving: of 5000 rows the last ten are read, not all."""
    log = MemoryLog(1)
    await log.append([row(serial, "a", "create", Kind.CREATE) for serial in range(1, 5001)])

    assert await _shown(log, 4990) == (list(range(4991, 5001)), 10)


async def _records() -> list[Record]:
    log = MemoryLog(1)
    await log.append([*ROWS, marker(110, NOW, 0), *DOCUMENTS])
    return [r for topic in (Topic.CHANGELOG, Topic.METADATA) for r in await read_all(
        log, (await log.ends(topic)).keys()
    )]  # fmt: skip


async def test_every_line_is_one_line() -> None:
    """Documents with line ends in them, hostile actions: one record, one line, both ways."""
    records = [record for record in await _records() if Selection().wants(record)]

    for record in records:
        line = json_line(record)
        assert line.count(b"\n") == 1
        read = json.loads(line)
        assert read["value"] == (None if record.value is None else json.loads(record.value))
        assert readable_line(record).count(b"\n") == 1
    assert any(HOSTILE_SHOWN in readable_line(record).decode() for record in records)


async def test_markers_are_never_shown() -> None:
    """They have no key and are nobody's news."""
    records = await _records()
    kept = [record for record in records if Selection().wants(record)]

    assert len(records) - len(kept) == 1
    assert all(record.key is not None for record in kept)


@pytest.mark.parametrize(
    ("text", "glob"),
    [("Django*", "django*"), ("zope.*", "zope-*"), ("a__b", "a-b"), ("[a-c]*", "[a-c]*")],
)
def test_globs_as_people_write_them(text: str, glob: str) -> None:
    """Names are compared as PEP 503 does; a set of characters stays one."""
    assert project_glob(text) == glob


def test_a_document_of_an_unforeseen_shape_is_still_shown() -> None:
    """It is upstream's to change."""
    record = Record(Topic.METADATA, 0, Offset(0), 0, "a", b'{"info": [], "x": 1}', ())

    assert readable_line(record).split()[-1:] == [b"metadata"]
