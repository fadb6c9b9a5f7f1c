"""`/pypi/<name>/<version>/json`: one release, as whole as it is held."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from schemas.names import NormalizedName
from schemas.records import State, Status
from sinks.http import versions
from tests.support.http_world import client_of
from tests.support.memory_library import MemoryLibrary
from tests.support.view_records import document, file

WHEEL, ARCHIVE = "foo_bar-1.0-py3-none-any.whl", "foo_bar-1.0.tar.gz"


@pytest.fixture
def library() -> MemoryLibrary:
    held = MemoryLibrary()
    old = [file(WHEEL, requires_python=">=3.9"), file(ARCHIVE, requires_python=">=3.9")]
    gone = [file("foo_bar-0.9.tar.gz", yanked=True, yanked_reason="broken")]
    whole = document("Foo.Bar", "2.0", last_serial=70)
    whole["vulnerabilities"] = [{"id": "PYSEC-1"}]
    held.put(whole, {"0.9": gone, "1.0": old, "2.0": [file("foo_bar-2.0.tar.gz")], "junk": []})
    held.put(document("only-latest", "3.0"))
    return held


@pytest.fixture
async def client(library: MemoryLibrary) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(library, versions.routes(library)) as asking:
        yield asking


async def test_the_latest_release_is_whole(client: httpx.AsyncClient) -> None:
    """What PyPI gives of a release: its `info`, files, advisories; headers, tag and 304."""
    answer = await client.get("/pypi/foo-bar/2.0/json")
    value = answer.json()
    again = await client.get(
        "/pypi/foo-bar/2.0/json", headers={"If-None-Match": answer.headers["etag"]}
    )

    assert ("all", "2.0", 70) == (value["held"], value["info"]["version"], value["last_serial"])
    assert "a summary" == value["info"]["summary"]
    assert ["Foo.Bar-2.0.tar.gz"] == [each["filename"] for each in value["urls"]]
    assert [{"id": "PYSEC-1"}] == value["vulnerabilities"]
    assert "releases" not in value
    assert "70" == answer.headers["x-pypi-last-serial"]
    assert (304, b"") == (again.status_code, again.content)


async def test_of_an_older_release_what_its_files_say(client: httpx.AsyncClient) -> None:
    """What is not held is not there, or null: never a made-up nothing."""
    value = (await client.get("/pypi/foo-bar/1.0/json")).json()
    yanked = (await client.get("/pypi/foo-bar/0.9/json")).json()

    assert {
        "name": "Foo.Bar",
        "version": "1.0",
        "requires_python": ">=3.9",
        "yanked": False,
        "yanked_reason": None,
    } == value["info"]
    assert [WHEEL, ARCHIVE] == [each["filename"] for each in value["urls"]]
    assert ("files", None) == (value["held"], value["vulnerabilities"])
    assert (True, "broken") == (yanked["info"]["yanked"], yanked["info"]["yanked_reason"])


@pytest.mark.parametrize("spelling", ["1", "v1.0", "1.0.0", "1.0.0.0"])
async def test_other_spellings_of_a_version_are_the_same(
    client: httpx.AsyncClient, spelling: str
) -> None:
    assert "1.0" == (await client.get(f"/pypi/foo-bar/{spelling}/json")).json()["info"]["version"]


async def test_a_text_that_is_no_version_is_found_as_it_stands(client: httpx.AsyncClient) -> None:
    assert [] == (await client.get("/pypi/foo-bar/junk/json")).json()["urls"]


async def test_other_spellings_of_a_name_are_moved(client: httpx.AsyncClient) -> None:
    answer = await client.get("/pypi/Foo.Bar/1.0+x%20y/json")

    assert (301, "/pypi/foo-bar/1.0%2Bx%20y/json") == (
        answer.status_code,
        answer.headers["location"],
    )


async def test_what_is_not_there_says_why(
    library: MemoryLibrary, client: httpx.AsyncClient
) -> None:
    """No such release, one that is not held, no such project, and one that is owed: 503."""
    library.owe(NormalizedName("owed"), State(Status.PARKED, 5, reason="unavailable"))
    asked = ("foo-bar/1.1", "foo-bar/%00", "only-latest/2.0", "nobody/1.0", "owed/1.0")
    answers = [await client.get(f"/pypi/{each}/json") for each in asked]
    hints = [each.json()["hint"] for each in answers]

    assert [404, 404, 404, 404, 503] == [each.status_code for each in answers]
    assert "/v1/projects/foo-bar" in hints[0]
    assert "--releases latest" in hints[2]
    assert "is known here" in hints[3]
    assert int(answers[4].headers["retry-after"]) > 0
