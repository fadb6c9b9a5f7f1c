"""Clients that are slow, vanish and resume, over servers that end: each has every event, once."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from sinks.http.streams import changes as streams_changes
from sinks.http.streams import channel as streams_channel
from sinks.http.streams import hub as streams_hub
from sinks.http.streams import metadata as streams_metadata
from streams.memory_log import MemoryLog
from tests.support.changes_world import Journal, row
from tests.support.sse import SseClient, connected
from tests.support.streams_world import StreamsWorld, document, publish, streaming

CLIENTS, STEPS, SERVERS = 6, 60, 3
NAMES = [f"{letter}{number}" for letter in "abc" for number in range(5)]
QUERIES = ("", "project=a*", "project=a*,b1", "kind=yank", "project=c*&kind=yank")
ACTIONS = ("new release", "yank release")


@dataclass
class Follower:
    """A client over all its connections: what it has, and the id that came last."""

    path: str
    query: str
    since: str
    had: list[Any] = field(default_factory=list)
    last: str | None = None
    client: SseClient | None = None
    stack: AsyncExitStack | None = None

    async def connect(self, world: StreamsWorld) -> None:
        headers = {} if self.last is None else {"Last-Event-ID": self.last}
        query = "&".join(filter(None, (self.query, f"since={self.since}")))
        self.stack = AsyncExitStack()
        connection = connected(world.app, self.path, query, headers)
        self.client = await self.stack.enter_async_context(connection)

    async def leave(self) -> None:
        """Go away in the middle of whatever comes; what was whole is kept."""
        client, stack = self.client, self.stack
        if client is None or stack is None:
            return
        self.client = self.stack = None
        raw = bytes(client.raw)
        await stack.aclose()
        seen = SseClient(raw=bytearray(raw))
        assert client.status in (0, 200), raw  # 0: it left before it was answered
        self.had += [each.value for each in seen.events if each.event == "message"]
        assert not [each for each in seen.events if each.event == "reset"]
        self.last = seen.last_id or self.last

    async def until(self, there: str) -> None:
        assert self.client is not None
        client = self.client
        await client.until(lambda: client.last_id == there or client.ended)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few dozen events fall out of every queue."""
    for module in (streams_changes, streams_metadata):
        monkeypatch.setattr(module, "GATHER_SECONDS", 0.0)
    monkeypatch.setattr(streams_changes, "RECENT_SERIALS", 10)
    monkeypatch.setattr(streams_changes, "PIECE_CHANGES", 7)
    monkeypatch.setattr(streams_metadata, "RECENT_OFFSETS", 3)
    monkeypatch.setattr(streams_metadata, "READ_RECORDS", 5)
    monkeypatch.setattr(streams_channel, "CHUNK_BYTES", 600)
    monkeypatch.setattr(streams_channel, "QUEUE_CHUNKS_MAX", 4)
    monkeypatch.setattr(streams_hub, "RING_EVENTS_MAX", 25)
    monkeypatch.setattr(streams_hub, "RING_PIECE", 4)
    monkeypatch.setattr(streams_hub, "BURST_BYTES", 1_500)
    monkeypatch.setattr(streams_hub, "BURST_SECONDS_MAX", 0.01)


LIMITS = streams_hub.Limits(clients_per_address=100, heartbeat_seconds=0.02, write_seconds=0.2)


async def _lived(
    world: StreamsWorld, followers: list[Follower], chance: random.Random, write: Any
) -> None:
    """One server's life: writing, reading, not reading, leaving, coming back."""
    for _ in range(STEPS):
        each = chance.choice(followers)
        match chance.randrange(8):
            case 0 | 1 | 2:
                await write(chance.randint(1, 12))
            case 3 if each.client is not None:
                each.client.stop_reading()
            case 4 if each.client is not None:
                each.client.read_on()
            case 5 | 6 if each.client is None:
                await each.connect(world)
            case 7:
                await each.leave()
            case _:
                await asyncio.sleep(chance.choice((0, 0, 0.005)))
        if each.client is not None and each.client.ended:
            await each.leave()
    for each in followers:
        await each.leave()


async def _caught_up(world: StreamsWorld, each: Follower, there: str) -> None:
    """The rest, until a frame shows that the client is where the log is."""
    while each.last != there:
        await each.connect(world)
        await each.until(there)
        await each.leave()


@pytest.mark.parametrize("number", range(8))
async def test_changes(number: int, seed: int) -> None:
    """The rows that are selected, in the order of their serials."""
    chance = random.Random(f"{seed}/{number}")
    journal = Journal(MemoryLog(chance.choice((1, 3))))
    await journal.found()
    rows: list[tuple[int, str, str]] = []

    async def write(count: int) -> None:
        made = []
        for _ in range(count):
            serial = (rows[-1][0] if rows else 0) + chance.randint(1, 3)
            rows.append((serial, chance.choice(NAMES), chance.choice(ACTIONS)))
            made.append(row(*rows[-1]))
        await journal.rows(made)

    followers = [
        Follower("/v1/stream/changes", chance.choice(QUERIES), "0") for _ in range(CLIENTS)
    ]
    for _ in range(SERVERS):
        async with streaming(journal.log, journal, limits=LIMITS) as world:
            await _lived(world, followers, chance, write)
    async with streaming(journal.log, journal, limits=LIMITS) as world:
        for each in followers:
            await _caught_up(world, each, str(rows[-1][0]))

    assert [
        [serial for serial, *_ in rows if _fits(each.query, serial, rows)] for each in followers
    ] == [[event["serial"] for event in each.had] for each in followers]


def _fits(query: str, serial: int, rows: list[tuple[int, str, str]]) -> bool:
    [(name, action)] = [(name, action) for number, name, action in rows if number == serial]
    globs = {"project=a*": "a", "project=a*,b1": "ab", "project=c*&kind=yank": "c"}.get(
        query, "abc"
    )
    named = name[0] in globs and (query != "project=a*,b1" or name[0] == "a" or name == "b1")
    return named and ("kind=yank" not in query or action == "yank release")


@pytest.mark.parametrize("number", range(8))
async def test_documents(number: int, seed: int) -> None:
    """Every record of the topic once, each project's in their order."""
    chance = random.Random(f"{seed}/{number}")
    journal = Journal(MemoryLog(chance.choice((1, 3))))
    await journal.found()
    written: list[tuple[str, int]] = []

    async def write(count: int) -> None:
        made = [(chance.choice(NAMES), len(written) + 1 + more) for more in range(count)]
        written.extend(made)
        await publish(journal.log, [document(name, serial) for name, serial in made])

    followers = [Follower("/v1/stream/metadata", "", "0") for _ in range(CLIENTS)]
    for _ in range(SERVERS):
        async with streaming(journal.log, journal, limits=LIMITS) as world:
            await _lived(world, followers, chance, write)
    async with streaming(journal.log, journal, limits=LIMITS) as world:
        for each in followers:
            while len(each.had) < len(written):
                await each.connect(world)
                client, missing = each.client, len(written) - len(each.had)
                assert client is not None
                await client.until(
                    lambda client=client, missing=missing: (
                        client.ended  # type: ignore[misc]
                        or sum(event.event == "message" for event in client.events) >= missing
                    )
                )
                await each.leave()

    for each in followers:
        had = [(event["project"], event["serial"]) for event in each.had]
        assert sorted(written) == sorted(had)
        for name in NAMES:
            own = [serial for project, serial in had if project == name]
            assert own == sorted(own)
