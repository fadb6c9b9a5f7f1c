"""Any process may write to `refetch` and to the plain part of `progress`: garbage stops nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from processors.decide import Patience
from processors.metadata import Worker, WorkerSettings
from processors.slots import Slots
from producers.changelog import ChangelogProducer, ProducerSettings
from pypistream.data_dir import DataDir
from pypistream.health.doctor_log import held
from pypistream.health.status_report import StatusReader
from pypistream.holding import HOLD_KEY, SharedHold
from pypistream.settings import Settings
from pypistream.wiring import open_log
from schemas import codec
from schemas.names import NormalizedName
from schemas.records import Ask, DeadLetter, Reason, State, Status
from schemas.topics import Topic, partition_of
from streams.asks import ask_record
from streams.clock import SystemClock
from streams.log import Outgoing, TopicPartition
from streams.memory_log import MemoryLog
from streams.progress import read_progress
from tests.support.scripted_upstream import ScriptedUpstream, document

PARTITIONS = 4
FOO = NormalizedName("foo")
OWN = partition_of(FOO, PARTITIONS)
OTHER = (OWN + 1) % PARTITIONS
GARBAGE = {
    "no JSON": Outgoing(Topic.REFETCH, FOO, b"\xff{", (), OWN),
    "another type": Outgoing(Topic.REFETCH, FOO, b'{"name":"foo","reason":"magic"}', (), OWN),
    "a serial of 70 bits": Outgoing(
        Topic.REFETCH,
        FOO,
        b'{"name":"foo","reason":"sweep","serial":1180591620717411303424}',
        (),
        OWN,
    ),
    "a negative serial": Outgoing(
        Topic.REFETCH, FOO, b'{"name":"foo","reason":"sweep","serial":-5}', (), OWN
    ),
    "no name": Outgoing(Topic.REFETCH, "../../etc", codec.encode(Ask("x", Reason.SWEEP)), (), OWN),
    "another partition": Outgoing(
        Topic.REFETCH, FOO, codec.encode(Ask("foo", Reason.SWEEP)), (), OTHER
    ),
    "another project": Outgoing(
        Topic.REFETCH, FOO, codec.encode(Ask("bar", Reason.SWEEP)), (), OWN
    ),
    "a marker that is none": Outgoing(
        Topic.REFETCH, None, b"[]", (("ce_type", codec.BACKFILL_TYPE.encode()),), OWN
    ),
}


@pytest.mark.parametrize("what", GARBAGE)
async def test_what_is_no_ask_is_a_dead_letter_and_the_next_ask_is_served(what: str) -> None:
    log, upstream, clock = MemoryLog(PARTITIONS), ScriptedUpstream(), SystemClock()
    upstream.script("foo", document("Foo", 7))
    producer = ChangelogProducer(log, upstream, clock, ProducerSettings(base=0))
    config = await producer.begin()
    garbage = GARBAGE[what]
    await log.append([garbage, ask_record(FOO, Ask("Foo", Reason.BACKFILL, 7, 7), 0)])
    workers = [
        Worker(log, upstream, Slots(2), clock, WorkerSettings(p, config, 0.0, Patience()))
        for p in range(PARTITIONS)
    ]
    tasks = [asyncio.create_task(worker.run()) for worker in workers]

    ends = await log.ends(Topic.REFETCH)
    async with asyncio.timeout(60):
        while True:
            cuts = (await read_progress(log)).cuts
            if all(
                cut is not None and cut.refetch == ends[TopicPartition(Topic.REFETCH, p)]
                for p, cut in enumerate(cuts)
                if p in (OWN, garbage.partition)
            ):
                break
            assert not any(task.done() for task in tasks)
            await asyncio.sleep(0.005)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    rows = (await log.table(TopicPartition(Topic.STATE, OWN))).rows
    assert codec.decode(rows["foo"].value or b"", State).status is Status.OK
    assert not (await log.table(TopicPartition(Topic.STATE, OTHER))).rows
    reader = await log.reader(await log.starts(Topic.DEAD_LETTER))
    letters = [codec.decode(r.value or b"", DeadLetter) for r in await reader.read(10, 0)]
    assert [letter.reason.partition(":")[0] for letter in letters] == ["bad-ask"]


async def test_a_hold_that_is_none_holds_nobody() -> None:
    log = MemoryLog(1)
    await log.append([Outgoing(Topic.PROGRESS, HOLD_KEY, b"nonsense", (), 2)])
    hold = SharedHold(log, SystemClock())

    await hold.load(ScriptedUpstream())

    assert hold.present is None


async def test_a_hold_that_is_none_ends_neither_status_nor_doctor(tmp_path: Path) -> None:
    data, settings = DataDir(tmp_path), Settings(data=tmp_path)
    log = await open_log(settings, data)
    await log.append([Outgoing(Topic.PROGRESS, HOLD_KEY, b"nonsense", (), log.partitions + 1)])

    assert (await StatusReader(data, log, brief=True).report()).hold is None
    await log.close()
    assert await held(settings, data) is None
