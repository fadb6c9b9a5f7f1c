"""Any order of writes, failures, cleanings and restarts: what a log shows follows from its history.

The model is the list of all acknowledged records. The adapters must also agree with one another to
the last row, so each is a check on the other.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import WriterFenced
from schemas.topics import TOPICS, Offset, Topic
from streams.cleaning import COMPACTION_LAG_MS
from streams.log import NextOffsets, Outgoing, Record, TopicPartition
from streams.placing import every_partition
from tests.support.logs import EMBEDDED, IN_MEMORY, OpenedLog, cleaned, opened_log, read_all

KEYS = ("a", "b", "c")
WHERE = (Topic.STATE, Topic.METADATA, Topic.CHANGELOG, Topic.REFETCH)
WEEK_MS = 7 * 24 * 60 * 60 * 1000


@dataclass(frozen=True)
class Write:
    """A transaction: by writer "a" or "b", or plain; `fails` at its very end."""

    by: str
    records: tuple[Outgoing, ...]
    fails: bool


@dataclass(frozen=True)
class Clean:
    """The clock goes on, then all that may go goes."""

    later_ms: int


@dataclass(frozen=True)
class Restart:
    """Another process goes on with the log; its writers fence those of before."""


def records(partitions: int) -> st.SearchStrategy[Outgoing]:
    value = st.none() | st.binary(max_size=3) | st.binary(min_size=1, max_size=2).map(_long)
    return st.builds(
        Outgoing,
        st.sampled_from(WHERE),
        st.sampled_from(KEYS),
        value,
        st.sampled_from([(), (("serial", b"7"), ("ce_source", b"pypistream"))]),
        st.integers(0, partitions - 1),
    )


def _long(seed: bytes) -> bytes:
    return seed * 600  # long enough to be stored compressed


def steps(partitions: int) -> st.SearchStrategy[list[Write | Clean | Restart]]:
    write = st.builds(
        Write,
        st.sampled_from(["a", "b", "plain"]),
        st.lists(records(partitions), max_size=6).map(tuple),
        st.sampled_from([False, False, False, True]),
    )
    clean = st.builds(Clean, st.sampled_from([0, COMPACTION_LAG_MS, WEEK_MS, 5 * WEEK_MS]))
    return st.lists(write | write | clean | st.builds(Restart), max_size=14)


class Failed(Exception):
    """A closing function's own error."""


async def run(
    adapter: str, partitions: int, todo: Sequence[object], directory: Path
) -> list[object]:
    """Do the steps, compare with the model, and return all that can be seen in the end."""
    history: dict[TopicPartition, list[tuple[Offset, Outgoing]]] = {
        at: [] for at in every_partition(partitions) if at.topic in WHERE
    }
    async with opened_log(adapter, partitions, directory) as opened:
        log = opened.log
        writers = {name: await log.writer(name) for name in ("a", "b")}
        for step in todo:
            if isinstance(step, Clean):
                opened.clock.ms += step.later_ms
                await cleaned(log, opened.clock.ms)
            elif isinstance(step, Restart):
                log = await opened.another()
                old, writers = writers, {name: await log.writer(name) for name in ("a", "b")}
                assert await fenced(old["a"].commit([]))
            elif isinstance(step, Write) and not (step.by == "plain" and step.fails):
                if step.by == "plain":
                    offsets = await log.append(step.records)
                elif step.fails:
                    await fail(writers[step.by].commit(step.records, failing))
                    writers[step.by] = await log.writer(step.by)
                    continue
                else:
                    offsets = await writers[step.by].commit(step.records)
                for record, offset in zip(step.records, offsets, strict=True):
                    at = TopicPartition(record.topic, record.partition or 0)
                    history[at].append((offset, record))
        return [await check(opened, at, written) for at, written in history.items()]


def failing(_: NextOffsets) -> Sequence[Outgoing]:
    raise Failed


async def fail(commit: object) -> None:
    try:
        await commit  # type: ignore[misc]  # a coroutine of an adapter
    except Failed:
        return
    raise AssertionError("a transaction whose closing failed was committed")


async def fenced(commit: object) -> bool:
    try:
        await commit  # type: ignore[misc]  # a coroutine of an adapter
    except WriterFenced:
        return True
    return False


async def check(
    opened: OpenedLog, at: TopicPartition, written: list[tuple[Offset, Outgoing]]
) -> object:
    """One partition against the model; what can be seen of it."""
    log = opened.opened[-1] if opened.opened else opened.log
    offsets = [offset for offset, _ in written]
    assert sorted(set(offsets)) == offsets, "an offset was used twice"
    found = await read_all(log, [at])
    known = {offset: (r.key, r.value, r.headers) for offset, r in written}
    assert found == sorted(found, key=lambda record: record.offset)
    for record in found:
        assert known[record.offset] == (record.key, record.value, record.headers)
    if written:
        assert found[-1].offset == written[-1][0], "the last record was removed"
    if TOPICS[at.topic].cleanup == "compact":
        assert fold(found) == {
            key: value for key, value in fold_written(written).items() if value is not None
        }
        table = await log.table(at)
        assert fold(list(table.rows.values())) == fold(found)
        assert table.next_offset == (written[-1][0] + 1 if written else 0)
    return found, (await log.starts(at.topic))[at], (await log.ends(at.topic))[at]


def fold(found: Sequence[Record]) -> dict[str, bytes]:
    rows: dict[str, bytes] = {}
    for record in found:
        if record.value is None:
            rows.pop(record.key or "", None)
        else:
            rows[record.key or ""] = record.value
    return rows


def fold_written(written: list[tuple[Offset, Outgoing]]) -> dict[str, bytes | None]:
    return {record.key or "": record.value for _, record in written}


@pytest.mark.timeout(600)  # the long profile has 5000 examples
@given(data=st.data(), partitions=st.sampled_from([1, 4]))
def test_fold_of_log_is_fold_of_compacted_log(data: st.DataObject, partitions: int) -> None:
    """Whatever happens, each adapter shows the folded history, and all show the same rows."""
    todo = data.draw(steps(partitions))
    seen = []
    for adapter in EMBEDDED:
        with tempfile.TemporaryDirectory(dir=IN_MEMORY) as directory:
            seen.append(asyncio.run(run(adapter, partitions, todo, Path(directory))))

    assert all(one == seen[0] for one in seen)
