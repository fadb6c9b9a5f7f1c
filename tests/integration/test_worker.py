"""The worker on the in-memory log and a scripted upstream: what it writes, and after a crash."""

from __future__ import annotations

import asyncio
import json

import pytest

from processors.fetching import Outcome
from processors.metadata import Worker, WorkerSettings
from processors.transactions import Transactions
from producers.changelog import ChangelogProducer, ProducerSettings
from producers.reconcile import Reconciler
from schemas import codec
from schemas.errors import BrokenBody, UpstreamUnavailable, WriterFenced
from schemas.records import DeadLetter, Reason, Source, Status
from schemas.topics import Topic, partition_of
from streams.log import Outgoing
from streams.progress import read_progress
from tests.support.scripted_upstream import document
from tests.support.worker_world import QUICK, WAIT_SECONDS, World, settled
from upstream.source import Document, NotFound, Page, SerialMap

LATE_MS = 1_000  # between an answer and its transaction; ten times what a 404 needs to be a proof


@pytest.fixture(params=[1, 4])
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


async def test_an_event_becomes_metadata_releases_state_and_a_marked_cut(world: World) -> None:
    """The cut names the offsets after its own effects, and the marker it has passed."""
    world.upstream.script("foo", document("Foo", 7))
    world.upstream.row(7, "Foo", "new release", "1.0")
    config = await world.produce()

    async with world.working(config):
        await world.until(lambda progress, _: progress.watermark.serial == 7)

    rows = await world.rows(Topic.METADATA)
    assert list(rows) == ["foo"]
    assert (rows["foo"].header("event-serial"), rows["foo"].header("serial")) == ("7", "7")
    assert list(await world.rows(Topic.RELEASES)) == ["foo"]
    cut = (await read_progress(world.log)).cuts[partition_of("foo", config.partitions)]
    assert cut is not None
    assert (cut.metadata, cut.releases) == (1, 1)


async def test_a_stale_body_is_published_as_stale_then_replaced(world: World) -> None:
    world.upstream.script("foo", document("Foo", 6), document("Foo", 6), document("Foo", 8))
    world.upstream.row(8, "Foo", "new release", "1.0")
    config = await world.produce()

    async with world.working(config):
        await world.until(settled(1))

    found = [(r.header("serial"), r.header("stale")) for r in await world.records(Topic.METADATA)]
    assert found == [("6", "true"), ("8", None)]


async def test_a_document_without_a_serial_that_an_event_does_not_change(world: World) -> None:
    """A role is given: the bytes stay, only the header's serial rises. The name is settled."""
    raw = b'{"info": {"name": "Foo", "version": "1.0"}, "releases": {}}'
    world.upstream.script("foo", Document(raw, 5, '"same"'), Document(raw, 8, '"same"'))
    world.upstream.row(5, "Foo", "new release", "1.0")
    config = await world.produce()
    async with world.working(config):
        await world.until(settled(1))
        world.upstream.row(8, "Foo", "add Owner somebody")
        await world.produce()
        await world.until(lambda _, states: states["foo"].body == 8 and settled(1)(_, states))

    found = [(r.header("serial"), r.header("stale")) for r in await world.records(Topic.METADATA)]
    assert found == [("5", None), ("8", None)]


async def test_a_removal_becomes_a_tombstone_and_the_name_may_come_back(world: World) -> None:
    world.upstream.script("foo", document("Foo", 5), NotFound())
    world.upstream.row(5, "Foo", "create")
    config = await world.produce()
    async with world.working(config):
        await world.until(settled(1))
        world.upstream.row(6, "Foo", "remove project")
        await world.produce()
        await world.until(lambda _, states: states["foo"].gone == 6)
        assert await world.rows(Topic.METADATA) == {}

        world.upstream.script("foo", document("foo", 9))
        world.upstream.row(9, "foo", "create")
        await world.produce()
        await world.until(lambda _, states: states["foo"].body == 9)

    values = [record.value is None for record in await world.records(Topic.METADATA)]
    assert values == [False, True, False]


async def test_failures_are_parked_and_asked_again(world: World) -> None:
    world.upstream.script(
        "foo", UpstreamUnavailable("reset"), BrokenBody("cut"), document("Foo", 5)
    )
    world.upstream.row(5, "Foo", "create")
    config = await world.produce()

    async with world.working(config):
        await world.until(settled(1))

    assert len(world.upstream.asked) == 3


async def test_what_fails_to_the_end_is_a_dead_letter_and_the_stream_goes_on(world: World) -> None:
    world.upstream.script("foo", document("Other", 5))
    world.upstream.script("bar", document("bar", 6))
    world.upstream.row(5, "Foo", "create")
    world.upstream.row(6, "bar", "create")
    config = await world.produce()

    async with world.working(config):
        await world.until(
            lambda progress, states: (
                progress.watermark.serial == 6
                and states.get("bar", states["foo"]).status is Status.OK
                and states["foo"].status is Status.DEAD
            )
        )

    letters = await world.records(Topic.DEAD_LETTER)
    letter = codec.decode(letters[0].value or b"", DeadLetter)
    assert len(letters) == 1
    assert letter.reason.startswith("foreign")
    assert "Other" in letter.excerpt


async def test_a_backfill_settles_every_name_of_the_index(world: World) -> None:
    """The watermark is null until the closing marker, whatever the journal says."""
    for number in range(30):
        world.upstream.script(f"p{number}", document(f"p{number}", number + 1))
    world.upstream.script("gone", NotFound())
    world.upstream.map_serial = 50
    world.upstream.row(50, "p3", "new release", "2")
    world.upstream.script("p3", document("p3", 50))
    producer = ChangelogProducer(world.log, world.upstream, world.clock, ProducerSettings(base=50))
    config = await producer.begin()
    await producer.poll()

    async with world.working(config):
        await world.until(lambda progress, _: progress.watermark.reached == 50)
        assert (await read_progress(world.log)).watermark.serial is None
        await world.backfill(config)
        await world.until(lambda progress, _: progress.watermark.serial == 50)
        await world.until(settled(31))

    assert len(await world.rows(Topic.METADATA)) == 30
    assert world.upstream.asked.count("gone") == 2


async def test_a_worker_that_dies_anywhere_loses_nothing(world: World, seed: int) -> None:
    """Cancelled at random moments, a new worker goes on from the cut; the result is the same."""
    from random import Random

    moments = Random(seed)
    world.upstream.delay_seconds = 0.002
    for number in range(40):
        world.upstream.script(f"p{number}", document(f"p{number}", number + 1))
        world.upstream.row(number + 1, f"p{number}", "new release", "1.0")
    config = await world.produce()
    for _ in range(12):
        async with world.working(config):
            await asyncio.sleep(moments.uniform(0, 0.03))

    async with world.working(config):
        await world.until(settled(40))

    serials: dict[str, list[int]] = {}
    for record in await world.records(Topic.METADATA):
        serials.setdefault(record.key or "", []).append(int(record.header("serial") or 0))
    assert {name: found[-1] for name, found in serials.items()} == {
        f"p{number}": number + 1 for number in range(40)
    }
    assert all(len(found) == 1 for found in serials.values())
    assert not world.upstream.overlapped


async def test_an_older_worker_is_fenced(world: World) -> None:
    """The one that was there first learns of its successor when it next writes, and ends."""
    world.upstream.script("foo", document("Foo", 7))
    config = await world.produce()
    settings = WorkerSettings(0, config, settle_seconds=0, patience=QUICK)
    older = Worker(world.log, world.upstream, world.slots, world.clock, settings)
    task = asyncio.create_task(older.run())
    await world.until(lambda progress, _: progress.cuts[0] is not None)
    await world.log.writer("worker-0")
    await Reconciler(world.log, world.clock, config).run(SerialMap(9, "", ()), Reason.BACKFILL)

    with pytest.raises(BaseExceptionGroup) as caught:
        async with asyncio.timeout(WAIT_SECONDS):
            await task
    assert caught.group_contains(WriterFenced)


async def test_a_404_proves_no_more_when_it_is_written_late(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes too early to be a proof, so the index is not asked; a second later neither is it."""
    decided = Transactions._decide

    def late(self: Transactions, outcome: Outcome, now_ms: int) -> list[Outgoing]:
        return decided(self, outcome, now_ms + LATE_MS)

    monkeypatch.setattr(Transactions, "_decide", late)
    world.upstream.script("foo", document("Foo", 7), NotFound())
    world.upstream.row(7, "Foo", "new release", "1.0")
    config = await world.produce()
    async with world.working(config):
        await world.until(settled(1))
        world.upstream.pages["foo"] = page("foo", 8)
        world.upstream.row(8, "Foo", "yank release", "1.0")
        await world.produce()
        await world.until(lambda _, states: states["foo"].event == 8 and settled(1)(_, states))
        state = (await world.states())["foo"]

    assert (state.status, state.source, state.body) == (Status.OK, Source.INDEX, 8)
    assert None not in [record.value for record in await world.records(Topic.METADATA)]


def page(name: str, serial: int) -> Page:
    """An index page with one file."""
    file = {"filename": f"{name}-1.0.tar.gz", "url": "1.0.tar.gz", "hashes": {}, "size": 1}
    meta = {"api-version": "1.4", "_last-serial": serial}
    value = {"meta": meta, "name": name, "versions": ["1.0"], "files": [file]}
    return Page(json.dumps(value).encode(), f"https://index.example.org/simple/{name}/")
