"""A rule of redaction at a worker: what it publishes from then on, and what it writes anew."""

from __future__ import annotations

import asyncio
import json

import pytest

from processors.content import started
from schemas import codec
from schemas.names import NormalizedName
from schemas.records import Ask, Config, DeadLetter, Reason, Rule
from schemas.redaction import PERSONAL
from schemas.topics import Topic
from streams.asks import ask_record
from streams.log import Outgoing, Record
from streams.rules import read_rules, rule_record
from tests.support.scripted_upstream import document
from tests.support.worker_world import World, settled
from upstream.source import Document

EMAIL = "ada@example.org"


def of_ada(name: str, serial: int, **info: object) -> Document:
    """A document with personal data."""
    whole = json.loads(document(name, serial).body)
    whole["info"] |= {"author": "Ada", "author_email": EMAIL, "maintainer": None, **info}
    whole["ownership"] = {"roles": [{"role": "Owner", "user": "ada"}], "organization": None}
    return Document(json.dumps(whole).encode(), serial, f'"{serial}{info}"')


@pytest.fixture(params=[1, 4])
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


def operator(name: str) -> Outgoing:
    """Somebody wants to have it looked at."""
    return ask_record(NormalizedName(name), Ask(name, Reason.OPERATOR), 1)


async def backfilled(world: World, *names: str) -> Config:
    """A log that holds these names as of serial 7."""
    for name in names:
        world.upstream.script(name, of_ada(name, 7))
    world.upstream.map_serial = 7
    config = await world.produce()
    await world.backfill(config)
    async with world.working(config):
        await world.until(settled(len(names)))
    return config


async def make_rule(world: World, *rules: Rule) -> int:
    """Write rules; how many there are then."""
    await world.log.append([rule_record(world.log, rule, 1) for rule in rules])
    return (await read_rules(world.log)).count


async def applied(world: World, count: int) -> None:
    """Wait until every partition is done with so many rules."""
    await world.until(
        lambda progress, _: all(cut is not None and cut.redacted == count for cut in progress.cuts)
    )


def info_of(record: Record) -> dict[str, object]:
    value: dict[str, dict[str, object]] = json.loads(record.value or b"")
    return value["info"]


async def test_what_was_published_is_written_anew(world: World) -> None:
    """At new offsets, without asking upstream, and every hash is that of what is there."""
    config = await backfilled(world, "foo", "bar", "baz")
    asked = len(world.upstream.asked)
    before = await world.rows(Topic.METADATA)
    count = await make_rule(world, Rule("foo", ("personal",)))

    async with world.working(config):
        await applied(world, count)

    after = await world.rows(Topic.METADATA)
    releases = await world.rows(Topic.RELEASES)
    states = await world.states()
    assert len(world.upstream.asked) == asked
    assert {name for name in after if after[name] != before[name]} == {"foo"}
    assert after["foo"].offset > before["foo"].offset
    assert info_of(after["foo"]) == {**info_of(before["foo"]), "author": None, "author_email": None}
    assert json.loads(after["foo"].value or b"")["ownership"] is None
    assert "redacted" in str(after["foo"].header("anomalies"))
    assert after["foo"].header("ce_id") == releases["foo"].header("ce_id")
    for name, row in after.items():
        hashes = started(row.value or b"").with_releases(releases[name].value or b"")
        assert states[name].hash in hashes


async def test_what_is_fetched_from_then_on_is_trimmed_by_the_rule(world: World) -> None:
    """A rule for every project holds for names that come later, and the hash stays the same."""
    config = await backfilled(world, "foo")
    count = await make_rule(world, Rule("", ("author_email", "ownership")))
    async with world.working(config):
        await applied(world, count)
        rewritten = (await world.rows(Topic.METADATA))["foo"]
        world.upstream.script("new", of_ada("new", 9))
        await world.log.append([operator("foo"), operator("new")])
        await world.until(settled(2))

    rows = await world.rows(Topic.METADATA)
    assert rows["foo"].offset == rewritten.offset  # the whole answer was no news
    assert (info_of(rows["new"])["author"], info_of(rows["new"])["author_email"]) == ("Ada", None)
    assert b"redacted" in dict(rows["new"].headers)["anomalies"]


async def test_an_answer_that_was_under_way_is_not_published_as_it_was(world: World) -> None:
    """The fetch began before the rule was made: it is made once more."""
    config = await backfilled(world, "foo")
    world.upstream.script("foo", of_ada("foo", 8))
    world.upstream.delay_seconds = 0.2
    async with world.working(config) as workers:
        await world.log.append([operator("foo")])
        async with asyncio.timeout(60):
            while not world.upstream.in_flight["foo"]:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        count = await make_rule(world, Rule("foo", ("personal",)))
        rules = await read_rules(world.log)
        for worker in workers:
            assert worker.session is not None
            worker.session.adopt(rules)
        await applied(world, count)
        await world.until(lambda _, states: states["foo"].body == 8 and not states["foo"].exception)

    for record in await world.records(Topic.METADATA):
        if record.header("serial") == "8":
            assert EMAIL.encode() not in (record.value or b"")
    assert any(record.header("serial") == "8" for record in await world.records(Topic.METADATA))


async def test_evidence_of_such_a_name_is_not_kept(world: World) -> None:
    """The first bytes of a body that cannot be read may hold anything."""
    await make_rule(world, Rule("foo", ("personal",)))
    world.upstream.script("foo", Document(b'{"info": "' + EMAIL.encode(), 7, ""))
    world.upstream.script("bar", Document(b'{"info": "' + EMAIL.encode(), 7, ""))
    world.upstream.map_serial = 7
    config = await world.produce()
    await world.backfill(config)
    async with world.working(config):
        await world.until(
            lambda _, states: (
                {str(state.status) for state in states.values()} == {"dead"} and len(states) == 2
            )
        )

    letters = {
        record.key: codec.decode(record.value or b"", DeadLetter)
        for record in await world.records(Topic.DEAD_LETTER)
    }
    assert EMAIL in letters["bar"].excerpt
    assert (letters["foo"].excerpt, letters["foo"].hash) == ("", "")


async def test_a_document_without_its_other_half_is_fetched(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have the same id; where they do not, the log cannot be mended from itself."""
    config = await backfilled(world, "foo", "bar")
    count = await make_rule(world, Rule("foo", tuple(PERSONAL)))

    async def none(_partners: object, _answer: str) -> None:
        """Nobody has seen it."""

    monkeypatch.setattr("processors.rewriting._Partners.of", none)
    async with world.working(config):
        await applied(world, count)
        async with asyncio.timeout(60):
            while EMAIL.encode() in ((await world.rows(Topic.METADATA))["foo"].value or b""):  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    assert (await world.states())["foo"].ask is None
