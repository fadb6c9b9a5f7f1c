"""The client and a project's index page, and core metadata on the index's host or another."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator

import pytest

from processors.index_document import latest_of
from processors.index_page import parse_page
from schemas.errors import OversizedBody, RateLimited, UpstreamUnavailable
from schemas.names import normalize
from tests.support.standin import Running, standin
from upstream.answers import Reply
from upstream.client import HttpSender, HttpUpstream
from upstream.limits import SystemClock
from upstream.routes import Call, PypiRoutes
from upstream.settings import BodyLimits, ClientSettings, RouteLimits
from upstream.source import FileMetadata, NotFound, Page

HELLO = normalize("loopback-hello")


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    with standin(projects=60, changes_per_second=0) as running:
        yield running


@pytest.fixture
def site(shared: Running) -> Iterator[Running]:
    shared.heal()
    yield shared
    shared.heal()


@pytest.fixture
async def upstream(site: Running) -> AsyncIterator[HttpUpstream]:
    made = HttpUpstream(ClientSettings(site.url, rate=0))
    yield made
    await made.close()


async def test_a_page_and_the_metadata_that_it_names(site: Running, upstream: HttpUpstream) -> None:
    """Both whole; they count among requests for documents, on their connections."""
    answer = await upstream.page(HELLO)
    assert isinstance(answer, Page)
    assert answer.url == f"{site.url}/simple/loopback-hello/"
    file = latest_of(parse_page(answer.body, HELLO), HELLO).described_by
    assert file is not None
    metadata = await upstream.core_metadata(file.url)

    assert isinstance(metadata, FileMetadata)
    assert file.metadata == {"sha256": hashlib.sha256(metadata.body).hexdigest()}
    assert isinstance(await upstream.page(normalize("no-such-project")), NotFound)
    assert isinstance(await upstream.core_metadata(f"{site.url}/files/no/x.whl"), NotFound)
    connections = site.control("stats")["connections"]
    assert (connections["document"]["now"], connections["journal"]["now"]) == (1, 0)


async def test_addresses_that_are_not_asked(site: Running, upstream: HttpUpstream) -> None:
    """Nothing is sent, whoever wrote the page."""
    before = site.control("stats")["total"]
    for url in ("http://127.0.0.2:9/x.whl", "file:///etc/hostname", "https://127.0.0.1/x.whl", ""):
        assert isinstance(await upstream.core_metadata(url), NotFound)

    assert site.control("stats")["total"] == before


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("html", UpstreamUnavailable),
        ("500", UpstreamUnavailable),
        ("redirect-host", UpstreamUnavailable),
        ("429-retry-after", RateLimited),
    ],
)
async def test_a_page_that_is_none(
    site: Running, upstream: HttpUpstream, kind: str, error: type[Exception]
) -> None:
    """Only what the port promises is raised."""
    site.fault(kind, route="simple")

    with pytest.raises(error):
        await upstream.page(HELLO)


async def test_metadata_has_a_limit_of_its_own(site: Running) -> None:
    """Above it nothing is kept."""
    limits = RouteLimits(BodyLimits(100, 100), 5.0)
    upstream = HttpUpstream(ClientSettings(site.url, rate=0, core_metadata=limits))
    url = f"{site.url}/files/loopback-hello/loopback_hello-1.0.0-py3-none-any.whl"
    try:
        with pytest.raises(OversizedBody):
            await upstream.core_metadata(url)
    finally:
        await upstream.close()


async def test_another_host_has_connections_of_its_own(site: Running) -> None:
    """The request says which host it is for, holds a document's slot, and none is in its way."""
    with standin(projects=20, changes_per_second=0) as other:
        sender = HttpSender(ClientSettings(site.url, rate=0, in_flight=1), SystemClock(), None)
        limits = RouteLimits(BodyLimits(), 5.0)
        path = "/pypi/loopback-hello/json"
        here = Call("a document", f"{site.url}{path}", (), limits)
        elsewhere = Call("a file", f"{other.url}{path}", (), limits, elsewhere=True)
        try:
            for _ in range(3):
                assert (await sender.send(elsewhere)).head.status == 200
                assert (await sender.send(here)).head.status == 200
        finally:
            await sender.close()
        assert other.control("stats")["connections"]["document"]["total"] == 1
        assert sender.requests_sent == 6


async def test_a_file_on_another_host_is_marked_so(site: Running) -> None:
    """HTTPS to a full name is what a page may name; nothing is sent here."""
    seen: list[Call] = []

    class Recorder:
        """Takes the call and says that it could not be sent."""

        requests_sent = 0

        async def send(self, call: Call) -> Reply:
            seen.append(call)
            raise UpstreamUnavailable("not sent")

    routes = PypiRoutes(ClientSettings(site.url, rate=0), Recorder())  # type: ignore[arg-type]
    for url in ("https://files.example.org/x.whl", f"{site.url}/x.whl"):
        with pytest.raises(UpstreamUnavailable):
            await routes.core_metadata(url)

    assert [(call.url, call.elsewhere, call.control) for call in seen] == [
        ("https://files.example.org/x.whl.metadata", True, False),
        (f"{site.url}/x.whl.metadata", False, False),
    ]
