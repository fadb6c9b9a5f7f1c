"""Long stretches of the journal by XML-RPC: in pieces, a few at once, none in a multicall."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from xmlrpc.client import Fault, MultiCall, ServerProxy, dumps, loads

import httpx
import pytest
from starlette.types import Message

from schemas.errors import RateLimited, ViewCorrupt
from schemas.records import ChangelogEntry, Kind
from sinks.http.app import Front
from sinks.http.library import PAGE_MAX
from sinks.http.quota import Limit
from sinks.http.xmlrpc import calls as xmlrpc_calls
from sinks.http.xmlrpc.calls import CALLS_MAX, LONG_UNITS
from tests.support.documents import document, file
from tests.support.http_served import served
from tests.support.http_world import client_of
from tests.support.logs import Clock
from tests.support.memory_library import MemoryLibrary
from upstream.client import HttpUpstream
from upstream.settings import ClientSettings
from upstream.xmlrpc import parse_value

ROWS = 5 * PAGE_MAX
BEGIN = 1_800_000_000  # Unix time of the first row; the others come a second apart
STRANGER = "192.0.2.1"
ROW_BYTES_MAX = 500  # of one of these, written
LONG: list[tuple[str, Sequence[Any]]] = [
    ("changelog_since_serial", (0,)),
    ("changelog", (BEGIN - 1, True)),
    ("updated_releases", (BEGIN - 1,)),
    ("changed_packages", (BEGIN - 1,)),
]
SHORT: list[tuple[str, Sequence[Any]]] = [
    ("changelog_since_serial", (ROWS - 10,)),
    ("changelog", (BEGIN + ROWS - 11, True)),
    ("updated_releases", (BEGIN + ROWS - 11,)),
    ("changed_packages", (BEGIN + ROWS - 11,)),
]


class Counting(MemoryLibrary):
    """It knows how many pages of its journal were asked for."""

    pages = 0

    def changes(self, after_serial: int, limit: int = PAGE_MAX) -> Sequence[ChangelogEntry]:
        self.pages += 1
        return self.journal[after_serial : after_serial + limit]


@pytest.fixture
def library() -> Counting:
    """Releases one by one, each of a project of its own."""
    library = Counting()
    library.put(document("1", name="here"))
    library.write(
        ChangelogEntry(at + 1, f"project-{at}", "1.0", BEGIN + at, "new release", Kind.NEW_RELEASE)
        for at in range(ROWS)
    )
    return library


def in_one(calls: Sequence[tuple[str, Sequence[Any]]]) -> str:
    structs = [{"methodName": name, "params": list(given)} for name, given in calls]
    return dumps((structs,), "system.multicall")


def value_of(answer: httpx.Response) -> Any:
    """What a call gave. Raises Fault."""
    return loads(answer.content)[0][0]


async def sent(library: MemoryLibrary, call: str) -> list[int]:
    """How long each piece of the answer to a call is."""
    sizes: list[int] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/pypi",
        "raw_path": b"/pypi",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": call.encode(), "more_body": False}

    async def send(message: Message) -> None:
        sizes.append(len(message.get("body", b"")))

    await Front(library, xmlrpc_calls.routes(library), ())(scope, receive, send)
    return sizes


@pytest.mark.parametrize(("method", "given"), LONG)
async def test_a_long_answer_leaves_in_pieces(
    library: Counting, method: str, given: Sequence[Any]
) -> None:
    """None of which is longer than a page of the library, however long the whole is."""
    sizes = await sent(library, dumps(tuple(given), method))

    assert sum(sizes) > ROWS * 40
    assert max(sizes) < PAGE_MAX * ROW_BYTES_MAX
    assert len(sizes) > ROWS // PAGE_MAX


async def test_no_more_is_read_than_the_client_takes(library: Counting) -> None:
    """While its client reads nothing, a long answer stands still at what the sockets hold."""
    library.write(
        ChangelogEntry(at + 1, "x" * 2_000, "1.0", BEGIN, "new release", Kind.NEW_RELEASE)
        for at in range(ROWS, 45_000)
    )
    call = dumps((0,), "changelog_since_serial").encode()
    head = f"POST /pypi HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(call)}\r\n\r\n"
    async with served(library, xmlrpc_calls.routes(library)) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(head.encode() + call)
        await reader.readexactly(1)
        pages = 0
        while pages != library.pages:  # until nothing moves any more
            pages = library.pages
            await asyncio.sleep(0.2)
        writer.close()

    assert pages < 30


@pytest.mark.parametrize(("method", "given"), LONG)
async def test_it_is_the_same_answer(library: Counting, method: str, given: Sequence[Any]) -> None:
    """Python's own client reads it; packed or not it says the same."""

    def call(url: str) -> Any:
        with ServerProxy(f"{url}/pypi") as proxy:
            return getattr(proxy, method)(*given)

    async with served(library, xmlrpc_calls.routes(library)) as url:
        found = await asyncio.to_thread(call, url)
        async with httpx.AsyncClient(headers={"Accept-Encoding": "identity"}) as client:
            plain = await client.post(f"{url}/pypi", content=dumps(tuple(given), method))

    assert ((found,), None) == loads(plain.content)
    assert ROWS == len(found)
    first = found[0] if isinstance(found[0], str) else found[0][0]
    newest_first = method in ("updated_releases", "changed_packages")
    assert f"project-{ROWS - 1 if newest_first else 0}" == first


async def test_another_pypistream_catches_up_by_it(library: Counting) -> None:
    async with served(library, xmlrpc_calls.routes(library)) as url:
        upstream = HttpUpstream(ClientSettings(url, "me@example.org", rate=0))
        try:
            page = await upstream.journal_since(0)
        finally:
            await upstream.close()

    assert list(range(1, ROWS + 1)) == [row.serial for row in page.rows]


@pytest.mark.parametrize(("method", "given"), LONG)
async def test_a_multicall_has_no_long_answers(
    library: Counting, method: str, given: Sequence[Any]
) -> None:
    """As many as fit into one call: each is told to be asked alone, and costs a page at most."""
    library.pages = 0
    async with client_of(library, xmlrpc_calls.routes(library)) as client:
        answer = await client.post("/pypi", content=in_one([(method, given)] * CALLS_MAX))
    found = value_of(answer)

    assert CALLS_MAX == len(found)
    assert all("by itself" in each["faultString"] for each in found)
    assert len(answer.content) < 20_000
    assert library.pages <= 3 * CALLS_MAX


async def test_a_multicall_has_short_stretches_of_the_journal(library: Counting) -> None:
    """What a client asks who looks in every few minutes."""

    def calls(url: str) -> list[Any]:
        with ServerProxy(f"{url}/pypi") as proxy:
            many = MultiCall(proxy)
            for method, given in SHORT:
                getattr(many, method)(*given)
            results = many()
            return [results[at] for at in range(len(SHORT))]

    async with served(library, xmlrpc_calls.routes(library)) as url:
        assert [10] * len(SHORT) == [len(each) for each in await asyncio.to_thread(calls, url)]


async def test_a_multicall_ends_where_it_is_too_long(
    library: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fits is answered, the rest has a fault each, in its place."""
    library.put(document("2", name="large"), {"2": [file(f"{at}.whl") for at in range(900)]})
    call = ("release_urls", ("large", "2"))
    async with client_of(library, xmlrpc_calls.routes(library)) as client:
        one = len((await client.post("/pypi", content=in_one([call]))).content)
        assert one < xmlrpc_calls.MULTICALL_BYTES_MAX
        monkeypatch.setattr(xmlrpc_calls, "MULTICALL_BYTES_MAX", 3 * one)
        calls = [call] * (CALLS_MAX - 1) + [("package_releases", ("here",))]
        answer = await client.post("/pypi", content=in_one(calls))
    found = value_of(answer)

    assert [900] * 3 == [len(each[0]) for each in found[:3]]
    assert CALLS_MAX == len(found)
    assert all("too long" in each["faultString"] for each in found[3:])


@pytest.mark.parametrize(("method", "given"), LONG)
async def test_only_a_few_are_under_way(
    library: Counting, monkeypatch: pytest.MonkeyPatch, method: str, given: Sequence[Any]
) -> None:
    """Beyond them a client of ours waits; what is short is answered all the same."""
    monkeypatch.setattr(xmlrpc_calls, "STREAMS_MAX", 0)
    async with client_of(library, xmlrpc_calls.routes(library)) as client:
        long = await client.post("/pypi", content=dumps(tuple(given), method))
        with pytest.raises(RateLimited):
            parse_value(long.content)
        for name, few in SHORT:
            short = await client.post("/pypi", content=dumps(tuple(few), name))
            assert 10 == len(value_of(short))


async def test_looking_in_often_costs_little(
    library: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short stretch is one unit of a client's minute; a long one is a long answer."""
    monkeypatch.setattr(xmlrpc_calls, "LIMIT", Limit("xml-rpc", LONG_UNITS + 20))
    routes = xmlrpc_calls.routes(library, Clock(0))
    polls = [dumps((ROWS - 10,), "changelog_since_serial")] * 20
    page = dumps((0,), "changelog_since_serial")
    async with client_of(library, routes, address=STRANGER) as client:
        codes = [
            (await client.post("/pypi", content=each)).status_code for each in (*polls, page, page)
        ]

    assert [200] * 21 + [429] == codes


async def test_damage_before_the_first_piece_is_a_fault(library: Counting) -> None:
    """Of what is looked at in full before anything is said; and its place is free again."""

    class Damaged(Counting):
        looks = 0

        def recent(self, *given: Any, **named: Any) -> Sequence[ChangelogEntry]:
            self.looks += 1
            if self.looks > 2:
                raise ViewCorrupt("/secret/serving.sqlite: malformed")
            return super().recent(*given, **named)

    damaged = Damaged()
    damaged.write(library.journal)
    async with client_of(damaged, xmlrpc_calls.routes(damaged)) as client:
        for _ in range(2 * xmlrpc_calls.STREAMS_MAX):
            damaged.looks = 0
            answer = await client.post("/pypi", content=dumps((BEGIN - 1,), "changed_packages"))
            with pytest.raises(Fault, match="cannot read") as caught:
                loads(answer.content)
            assert "secret" not in caught.value.faultString
