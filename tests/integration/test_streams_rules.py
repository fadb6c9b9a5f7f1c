"""What a rule leaves out is told to nobody any more: live, resumed, in a page, out of memory."""

from __future__ import annotations

import asyncio

import pytest

from schemas.records import Rule
from sinks.http.streams import endpoint as module
from streams.memory_log import MemoryLog
from streams.rules import rule_record
from tests.support.changes_world import Journal, row
from tests.support.sse import connected
from tests.support.streams_world import StreamsWorld, document, publish, streaming

CHANGES, METADATA = "/v1/stream/changes", "/v1/stream/metadata"
SECRET = "alice"


async def said(world: StreamsWorld, path: str, events: int, query: str) -> str:
    """The text of so many events."""
    async with connected(world.app, path, query) as client:
        return str([event.value for event in await client.take(events)])


async def test_user_names_are_masked_also_in_what_was_at_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The ring and the newest changes hold frames that were made before the rule was."""
    monkeypatch.setattr(module, "RULES_SECONDS", 0.01)
    journal = Journal(MemoryLog(3))
    await journal.found()
    async with streaming(journal.log, journal) as world, world.asking() as client:
        await journal.rows([row(3, "foo", f"add Owner {SECRET}"), row(4, "bar", "add Owner bob")])
        await publish(journal.log, [document("foo", 4)])
        await world.shown(4)
        assert SECRET in await said(world, CHANGES, 2, "since=0")

        await journal.log.append([rule_record(journal.log, Rule("foo", ("personal",)), 1)])
        async with asyncio.timeout(60):
            while SECRET in (await client.get("/v1/changes?since=0")).text:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        again = await said(world, CHANGES, 2, "since=0")
        await journal.rows([row(5, "foo", f"remove Owner {SECRET}")])
        await world.shown(5)
        live = await said(world, CHANGES, 1, "since=4")

    assert "add Owner ***" in again
    assert "add Owner bob" in again
    assert "remove Owner ***" in live


async def test_documents_come_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that lie in the log as they were."""
    monkeypatch.setattr(module, "RULES_SECONDS", 0.01)
    journal = Journal(MemoryLog(3))
    await journal.found()
    await publish(journal.log, [document("foo", 4, SECRET)])
    await journal.log.append([rule_record(journal.log, Rule("", ("summary",)), 1)])
    async with streaming(journal.log, journal) as world:
        assert SECRET not in await said(world, METADATA, 1, "since=0")
