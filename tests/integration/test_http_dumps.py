"""Dumps over HTTP: what a client that copies them relies on."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from schemas.topics import Topic
from sinks.http.dumps import Dumps
from sinks.http.files import file_answer
from tests.support.dump_world import FILES, World, document
from tests.support.http_world import client_of
from tests.support.memory_library import MemoryLibrary

NAME = "packages.jsonl.zst"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(MemoryLibrary(), Dumps(world.dumps).routes()) as asking:
        yield asking


def publish(world: World, salt: str = "", size: int = 50_000) -> None:
    world.apply([(Topic.METADATA, "foo", document("foo", salt, size))])
    world.publish()


async def test_before_the_first_dump_there_is_none(client: httpx.AsyncClient) -> None:
    for path in (
        "/dumps/",
        "/dumps/manifest.json",
        f"/dumps/{NAME}",
        "/dumps/deltas/manifest.json",
        "/dumps/full/manifest.json",
    ):
        answer = await client.get(path)

        assert 404 == answer.status_code
        assert answer.json()["error"]


async def test_every_file_of_the_manifest_is_there(world: World, client: httpx.AsyncClient) -> None:
    """By plain name, by version, by content and by hashed name: the same bytes, tagged by hash."""
    publish(world)
    listing = (await client.get("/dumps/")).json()
    manifest = (await client.get(listing["manifest"])).json()

    assert set(FILES) <= set(manifest["files"])
    assert set(manifest["files"]) == {line["name"] for line in listing["files"]}
    for line in listing["files"]:
        known = manifest["files"][line["name"]]
        versioned = f"/dumps/.versions/{manifest['version']}/{line['name']}"
        content = f"/dumps/sha256/{known['sha256']}/{line['name']}"
        for path in (line["url"], line["immutable_url"], content, versioned):
            answer = await client.get(path)

            assert known["sha256"] == hashlib.sha256(answer.content).hexdigest()
            hashed = known["file"] if path == line["immutable_url"] else known["sha256"]
            assert f'"{hashed}"' == answer.headers["etag"]
            assert "content-encoding" not in answer.headers
            forever = "immutable" in answer.headers["cache-control"]
            assert forever == (path in (line["immutable_url"], content))


async def test_kept_dumps_are_there_by_their_hash(world: World, client: httpx.AsyncClient) -> None:
    """Every file of every dump that is listed, for ever under its name."""
    publish(world)
    publish(world, "second")
    listing = (await client.get("/dumps/")).json()
    answer = await client.get(listing["full"])
    dumps = answer.json()["dumps"]

    assert "immutable" not in answer.headers["cache-control"]
    assert 2 == len(dumps)
    for dump in dumps:
        for file in dump["files"].values():
            answer = await client.get(f"/dumps/full/{file['file']}")

            assert file["sha256"] == hashlib.sha256(answer.content).hexdigest()
            assert "immutable" in answer.headers["cache-control"]


async def test_deltas_lead_from_dump_to_dump(world: World, client: httpx.AsyncClient) -> None:
    publish(world)
    publish(world, "second")
    manifest = (await client.get("/dumps/deltas/manifest.json")).json()

    assert manifest["deltas"]
    for delta in manifest["deltas"]:
        answer = await client.get(f"/dumps/deltas/{delta['file']}")

        assert delta["sha256"] == hashlib.sha256(answer.content).hexdigest()
        assert "immutable" in answer.headers["cache-control"]


async def test_a_download_is_resumed(world: World, client: httpx.AsyncClient) -> None:
    """Range with If-Range: the rest, if it is still the same file; else all of the new one."""
    publish(world)
    whole = await client.get(f"/dumps/{NAME}")
    etag, size = whole.headers["etag"], len(whole.content)
    rest = await client.get(f"/dumps/{NAME}", headers={"Range": "bytes=1000-", "If-Range": etag})

    assert 206 == rest.status_code
    assert f"bytes 1000-{size - 1}/{size}" == rest.headers["content-range"]
    assert whole.content[1000:] == rest.content

    publish(world, "changed")
    rest = await client.get(f"/dumps/{NAME}", headers={"Range": "bytes=1000-", "If-Range": etag})

    assert 200 == rest.status_code
    assert whole.content != rest.content

    old = await client.get(f"/dumps/sha256/{etag[1:-1]}/{NAME}")

    assert whole.content == old.content, "a version is kept until the second one after it"


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("bytes=0-0", 206),
        ("bytes=-5", 206),
        ("bytes=0-9,20-29", 206),
        ("bytes=99999999-", 416),
        ("bytes=5-1", 400),
        ("lines=1-2", 400),
    ],
)
async def test_ranges_of_any_kind(
    world: World, client: httpx.AsyncClient, asked: str, status: int
) -> None:
    publish(world)
    answer = await client.get(f"/dumps/{NAME}", headers={"Range": asked})

    assert status == answer.status_code


@pytest.mark.parametrize("asked", [{}, {"Range": "bytes=0-0"}, {"Range": "bytes=0-0,2-2"}])
async def test_a_file_that_is_removed_before_it_is_open_is_not_found(
    tmp_path: Path, asked: dict[str, str]
) -> None:
    """Old versions go while somebody asks for them: no 200 without a body, and no 500."""

    async def endpoint(_request: Request) -> Response:
        path = tmp_path / "packages.jsonl.zst"
        path.write_bytes(b"lines")
        answer = await file_answer(path, "application/zstd", {"ETag": '"lines"'})
        path.unlink()
        return answer

    async with client_of(MemoryLibrary(), [Route("/file", endpoint)]) as client:
        answer = await client.get("/file", headers=asked)

    assert 404 == answer.status_code
    assert "Not Found" == answer.json()["error"]


async def test_who_has_a_file_gets_304(world: World, client: httpx.AsyncClient) -> None:
    publish(world)
    for path in (f"/dumps/{NAME}", "/dumps/manifest.json", "/dumps/deltas/manifest.json"):
        first = await client.get(path)
        again = await client.get(path, headers={"If-None-Match": first.headers["etag"]})

        assert (200, 304) == (first.status_code, again.status_code)


async def test_a_manifest_has_another_tag_after_each_publication(
    world: World, client: httpx.AsyncClient
) -> None:
    seen = set()
    for salt in "abc":
        publish(world, salt)
        seen.add((await client.get("/dumps/manifest.json")).headers["etag"])

    assert 3 == len(seen)


@pytest.mark.parametrize(
    "path",
    [
        "/dumps/../state/frames/index.json",
        "/dumps/%2e%2e/secret",
        "/dumps/..%2fsecret",
        "/dumps/.versions/..%2f..%2fsecret/x",
        "/dumps/.versions/1/../../../secret",
        "/dumps/.versions/000000001/..%2f..%2fsecret",
        "/dumps/.versions",
        "/dumps/.tmp-x",
        "/dumps/deltas/..%2f..%2fsecret",
        "/dumps/deltas/.secret",
        "/dumps/secret%00.zst",
        "/dumps//etc/passwd",
        "/dumps/sha256/" + "0" * 64 + "/secret",
        "/dumps/secret",
        "/dumps/" + "a" * 300,
    ],
)
async def test_nothing_else_is_served(world: World, client: httpx.AsyncClient, path: str) -> None:
    """Not what lies beside, not by any way of writing its path."""
    publish(world)
    (world.root / "secret").write_text("secret")
    (world.dumps / "secret").write_text("secret")
    (world.dumps / "deltas" / ".secret").write_text("secret")
    answer = await client.get(path)

    assert 404 == answer.status_code
    assert "secret" != answer.text
