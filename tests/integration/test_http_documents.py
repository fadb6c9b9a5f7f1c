"""Documents, projects and status over HTTP, on a library held in memory."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import zstandard

from schemas.errors import ViewCorrupt
from schemas.names import NormalizedName
from schemas.records import State, Status
from sinks.http.library import Document
from sinks.http.projects import Projects
from sinks.http.status import Health, StatusPages
from tests.support.http_world import client_of, raw_answer
from tests.support.memory_library import MemoryLibrary
from tests.support.view_records import document, file

FOO = NormalizedName("foo-bar")
PATH = "/pypi/foo-bar/json"
TAKEN = ("x-pypi-last-serial", "etag", "content-type", "cache-control", "vary")


@pytest.fixture
def library() -> MemoryLibrary:
    held = MemoryLibrary()
    whole = document("Foo.Bar", "2.0", last_serial=70)
    whole["info"] |= {"description_content_type": "x" * 1_000}
    held.put(whole, {"1.0": [file("foo-1.0.tar.gz")], "2.0": [file("foo-2.0.tar.gz")]})
    user = document("user", "1.0", last_serial=71)
    user["info"]["requires_dist"] = ["Foo_Bar>=1", "foo.bar[x]; extra == 'y'"]
    held.put(user)
    return held


@pytest.fixture
async def client(library: MemoryLibrary) -> AsyncIterator[httpx.AsyncClient]:
    pages = StatusPages(library, lambda: Health("", 0), lambda: None, lambda: 100.0, "9.9")
    async with client_of(library, [*pages.routes(), *Projects(library).routes()]) as asking:
        yield asking


async def test_a_document_is_served_as_pypi_does(
    library: MemoryLibrary, client: httpx.AsyncClient
) -> None:
    """The bytes that are held, PyPI's headers, and 304 for who has them."""
    answer = await client.get(PATH)

    assert 200 == answer.status_code
    assert library.documents[FOO].body == answer.content
    assert "70" == answer.headers["x-pypi-last-serial"]
    assert "application/json" == answer.headers["content-type"]
    assert "nosniff" == answer.headers["x-content-type-options"]

    again = await client.get(PATH, headers={"If-None-Match": answer.headers["etag"]})

    assert (304, b"") == (again.status_code, again.content)
    assert answer.headers["etag"] == again.headers["etag"]

    other = await client.get(PATH, headers={"If-None-Match": '"something else"'})

    assert 200 == other.status_code


@pytest.mark.parametrize(
    ("accept", "unpack"), [("gzip", gzip.decompress), ("zstd, gzip", zstandard.decompress)]
)
async def test_a_document_is_packed_as_asked(
    library: MemoryLibrary, accept: str, unpack: Any
) -> None:
    """Same content, same tag, fewer bytes."""
    status, headers, body = await raw_answer(library, [], PATH, {"Accept-Encoding": accept})
    plain = library.documents[FOO]

    assert 200 == status
    assert accept.split(",", maxsplit=1)[0] == headers["content-encoding"]
    assert plain.body == unpack(body)
    assert len(body) < len(plain.body) / 2
    assert str(len(body)) == headers["content-length"]
    assert plain.etag == headers["etag"]


@pytest.mark.parametrize("name", ["Foo.Bar", "foo_bar", "FOO--bar"])
async def test_another_spelling_is_moved(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/pypi/{name}/json")

    assert 301 == answer.status_code
    assert PATH == answer.headers["location"]

    other = await client.get(f"/v1/projects/{name}")

    assert (301, "/v1/projects/foo-bar") == (other.status_code, other.headers["location"])


@pytest.mark.parametrize("name", ["unknown", "Un.Known", "..", "a%20b", "x" * 300, "%00", "é"])
async def test_what_is_not_there_is_not_found(client: httpx.AsyncClient, name: str) -> None:
    """404 as JSON with PyPI's own key, whatever the name looks like."""
    answer = await client.get(f"/pypi/{name}/json")

    assert 404 == answer.status_code
    assert "Not Found" == answer.json()["error"]
    assert "no-store" == answer.headers["cache-control"]


async def test_a_document_that_is_owed_is_no_404(
    library: MemoryLibrary, client: httpx.AsyncClient
) -> None:
    """Another instance that asks must not take it for removed; one that failed for good it may."""
    library.owe(NormalizedName("owed"), State(Status.PARKED, 5, reason="unavailable"))
    library.owe(NormalizedName("dead"), State(Status.DEAD, 5, reason="oversized"))
    owed = await client.get("/pypi/owed/json")

    assert 503 == owed.status_code
    assert int(owed.headers["retry-after"]) > 0
    assert 404 == (await client.get("/pypi/dead/json")).status_code


async def test_nothing_is_said_to_be_missing_before_the_log_was_read() -> None:
    """503 everywhere, and told when to come again."""

    class Empty(MemoryLibrary):
        def view(self) -> None:
            return None

    library = Empty()
    pages = StatusPages(library, Health, lambda: None, lambda: 0.0, "9.9")
    async with client_of(library, [*pages.routes(), *Projects(library).routes()]) as client:
        for path in (PATH, "/v1/projects", "/v1/projects/foo-bar", "/healthz"):
            answer = await client.get(path)

            assert 503 == answer.status_code, path
        assert (await client.get("/v1/status")).json()["serving"] is False


async def test_a_damaged_view_is_a_503() -> None:
    class Damaged(MemoryLibrary):
        def document(self, name: NormalizedName) -> Document | None:
            raise ViewCorrupt("/srv/x/serving.sqlite: malformed")

    library = Damaged()
    async with client_of(library, Projects(library).routes()) as client:
        for path in (PATH, "/v1/projects/foo-bar"):
            answer = await client.get(path)

            assert 503 == answer.status_code
            assert "/srv" not in answer.text


async def test_head_is_get_without_a_body(client: httpx.AsyncClient) -> None:
    answer, head = await client.get(PATH), await client.head(PATH)

    assert 200 == head.status_code
    assert [answer.headers[each] for each in TAKEN] == [head.headers[each] for each in TAKEN]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_refused(client: httpx.AsyncClient, method: str) -> None:
    for path in (PATH, "/v1/status", "/v1/projects/foo-bar"):
        answer = await client.request(method, path)

        assert answer.status_code in (404, 405)
        assert {"error", "hint"} <= set(answer.json())


async def test_all_that_is_held_of_a_project(client: httpx.AsyncClient) -> None:
    """Every release with its files, what the document says, who depends on it."""
    project = (await client.get("/v1/projects/foo-bar")).json()

    assert ("foo-bar", "Foo.Bar", 70, "2.0") == tuple(
        project[key] for key in ("name", "display_name", "serial", "latest")
    )
    assert ["1.0", "2.0"] == list(project["releases"])
    assert "foo-1.0.tar.gz" == project["releases"]["1.0"][0]["filename"]
    assert "Foo.Bar" == project["info"]["name"]
    assert ("all", 0, 1) == tuple(
        project[key] for key in ("releases_held", "releases_omitted", "dependents")
    )
    assert 200 == (await client.get(project["links"]["document"])).status_code


async def test_who_depends_on_a_project(library: MemoryLibrary, client: httpx.AsyncClient) -> None:
    """With the lines that say so, in pages, also for names that nobody has published."""
    for number in range(5):
        other = document(f"more-{number}", "1.0", last_serial=80 + number)
        other["info"]["requires_dist"] = ["foo-bar", "ghost; extra == 'z'"]
        library.put(other)
    path = "/v1/projects/foo-bar/reverse-dependencies?limit=4"
    first = (await client.get(path)).json()
    second = (await client.get(first["next"])).json()

    names = [line["name"] for line in (*first["dependents"], *second["dependents"])]

    assert [*(f"more-{number}" for number in range(5)), "user"] == names
    assert (6, 6, None) == (first["count"], second["count"], second["next"])
    assert {
        "name": "user",
        "display_name": "user",
        "requirements": ["Foo_Bar>=1", "foo.bar[x]; extra == 'y'"],
        "optional": False,
    } == second["dependents"][-1]

    ghost = (await client.get("/v1/projects/ghost/reverse-dependencies")).json()

    assert 5 == ghost["count"]
    assert all(line["optional"] for line in ghost["dependents"])


async def test_projects_are_listed_and_searched(client: httpx.AsyncClient) -> None:
    first = (await client.get("/v1/projects?limit=1")).json()
    second = (await client.get(first["next"])).json()

    assert ["foo-bar"] == [line["name"] for line in first["projects"]]
    assert ["user"] == [line["name"] for line in second["projects"]]
    assert "2.0" == first["projects"][0]["version"]

    found = (await client.get("/v1/projects?q=FOO")).json()

    assert ["foo-bar"] == [line["name"] for line in found["projects"]]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=-1", "limit=%F0%9F%92%A9", "q=" + "w+" * 9]
)
async def test_a_wrong_question_is_told_so(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/v1/projects?{query}")

    assert 400 == answer.status_code
    assert answer.json()["error"]


async def test_status_says_how_complete_and_fresh_it_is(
    library: MemoryLibrary, client: httpx.AsyncClient
) -> None:
    library.remove(NormalizedName("user"), 90, 5)
    library.owe(NormalizedName("owed"), State(Status.PARKED, 91))
    told = (await client.get("/v1/status")).json()

    assert ("9.9", True, 90, 1, 1, 1) == tuple(
        told[key]
        for key in ("version", "serving", "watermark", "projects", "removed", "exceptions")
    )
    assert {"ok": 2, "parked": 1} == told["names"]
    assert 66.6666 == told["coverage"]
    assert 200 == (await client.get("/healthz")).status_code

    library.no_watermark = True
    told = (await client.get("/v1/status")).json()

    assert (None, None, None) == (told["watermark"], told["lag_serials"], told["coverage"])
