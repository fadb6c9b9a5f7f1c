"""When the service cannot answer a call just now: a fault, or an answer that is broken off."""

from __future__ import annotations

from collections.abc import Sequence
from xmlrpc.client import Fault, dumps, loads

import httpx
import pytest

from schemas.errors import RateLimited, UpstreamUnavailable, ViewCorrupt
from schemas.names import NormalizedName
from sinks.http.library import PAGE_MAX, Listed, Releases
from sinks.http.xmlrpc import calls as xmlrpc_calls
from tests.support.documents import document
from tests.support.http_served import served
from tests.support.http_world import client_of
from tests.support.memory_library import MemoryLibrary
from upstream.client import HttpUpstream
from upstream.settings import ClientSettings
from upstream.xmlrpc import parse_value

LIST = dumps((), "list_packages").encode()


class Damaged(MemoryLibrary):
    """A library whose file turns out to be damaged: at once, or on the second page."""

    def releases(self, name: NormalizedName) -> Releases | None:
        raise ViewCorrupt("/secret/serving.sqlite: database disk image is malformed")

    def projects(self, after: str = "", limit: int = PAGE_MAX) -> Sequence[Listed]:
        if after:
            raise ViewCorrupt("/secret/serving.sqlite: database disk image is malformed")
        return super().projects(after, limit)


async def test_what_cannot_be_read_is_a_fault_without_its_path() -> None:
    library = Damaged()
    async with client_of(library, xmlrpc_calls.routes(library)) as client:
        answer = await client.post("/pypi", content=dumps(("x",), "package_releases"))

    with pytest.raises(Fault, match="cannot read") as caught:
        loads(answer.content)
    assert "secret" not in caught.value.faultString


async def test_a_list_that_fails_half_way_is_not_whole() -> None:
    """The connection ends without the end of the answer: nobody takes half a list for all of it."""
    library = Damaged()
    library.put(document("1", name="first"))
    async with served(library, xmlrpc_calls.routes(library)) as url, httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(f"{url}/pypi", content=LIST)


async def test_a_list_that_takes_too_long_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xmlrpc_calls, "STREAM_SECONDS_MAX", 0.0)
    library = MemoryLibrary()
    library.put(document("1", name="first"))
    async with served(library, xmlrpc_calls.routes(library)) as url, httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(f"{url}/pypi", content=LIST)


async def test_too_many_lists_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyPI's own words for it: a client of ours waits; what is short is answered all the same."""
    monkeypatch.setattr(xmlrpc_calls, "STREAMS_MAX", 0)
    library = MemoryLibrary()
    library.put(document("1", name="first"))
    async with client_of(library, xmlrpc_calls.routes(library)) as client:
        answer = await client.post("/pypi", content=LIST)
        with pytest.raises(RateLimited) as caught:
            parse_value(answer.content)
        assert 10 == caught.value.retry_after_seconds
        other = await client.post("/pypi", content=dumps(("first",), "package_releases"))
        assert ((["1"],), None) == loads(other.content)


async def test_a_list_gives_its_place_back() -> None:
    """One after the other, as many as one likes."""
    library = MemoryLibrary()
    library.put(document("1", name="first"))
    async with client_of(library, xmlrpc_calls.routes(library)) as client:
        for _ in range(3 * xmlrpc_calls.STREAMS_MAX):
            answer = await client.post("/pypi", content=LIST)
            assert ((["first"],), None) == loads(answer.content)


async def test_a_large_answer_is_packed_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread, and it is the same answer."""
    monkeypatch.setattr(xmlrpc_calls, "THREAD_FROM_BYTES", 100)
    library = MemoryLibrary()
    library.put(document("1", name="first"), {str(at): [] for at in range(500)})
    call = dumps(("first", True), "package_releases")
    async with client_of(library, xmlrpc_calls.routes(library)) as client:
        plain = await client.post("/pypi", content=call)
        packed = await client.post("/pypi", content=call, headers={"Accept-Encoding": "gzip"})

    assert "gzip" == packed.headers["content-encoding"]
    assert plain.content == packed.content


async def test_a_client_of_ours_waits_for_what_is_not_there_yet() -> None:
    """Before the first cut the journal is a fault that passes, not one that ends the following."""
    library = MemoryLibrary()
    library.view = lambda: None  # type: ignore[method-assign]
    async with served(library, xmlrpc_calls.routes(library)) as url:
        upstream = HttpUpstream(ClientSettings(url, "me@example.org", rate=0))
        try:
            with pytest.raises(UpstreamUnavailable, match="nothing can be served yet"):
                await upstream.last_serial()
        finally:
            await upstream.close()
