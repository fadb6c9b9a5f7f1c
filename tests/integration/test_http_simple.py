"""The serial map over HTTP, read as another pypistream reads PyPI's."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from schemas.names import NormalizedName
from sinks.http.simple import RENEW_SECONDS_MIN, SimpleIndex
from tests.support.feed_world import Clock
from tests.support.http_world import client_of, raw_answer
from tests.support.memory_library import MemoryLibrary
from tests.support.view_records import document
from upstream.index import ACCEPT, parse_serial_map

PATH = "/simple/"
COUNT = 2_500  # more than two pages


@pytest.fixture
def library() -> MemoryLibrary:
    held = MemoryLibrary()
    for number in range(COUNT):
        held.put(document(f"P.{number}", last_serial=number + 1))
    return held


async def test_it_is_the_map_another_instance_reads(library: MemoryLibrary, tmp_path: Path) -> None:
    """Every published project as it spells itself, with its document's serial; PEP 691's type."""
    routes = SimpleIndex(library, tmp_path / "lists", Clock()).routes()
    async with client_of(library, routes) as client:
        answer = await client.get(PATH, headers={"Accept": ACCEPT})
    serial_map = parse_serial_map(answer.content)

    assert COUNT == serial_map.last_serial
    assert "application/vnd.pypi.simple.v1+json" == answer.headers["content-type"]
    assert {f"P.{number}": number + 1 for number in range(COUNT)} == {
        project.name: project.serial for project in serial_map.projects
    }


async def test_it_is_packed_for_who_takes_gzip(library: MemoryLibrary, tmp_path: Path) -> None:
    routes = SimpleIndex(library, tmp_path, Clock()).routes()
    _, _, plain = await raw_answer(library, routes, PATH, {})
    _, headers, packed = await raw_answer(library, routes, PATH, {"Accept-Encoding": "gzip"})

    assert "gzip" == headers["content-encoding"]
    assert plain == gzip.decompress(packed)
    assert len(packed) * 3 < len(plain)


async def test_it_is_written_anew_when_it_is_old_and_has_changed(
    library: MemoryLibrary, tmp_path: Path
) -> None:
    """Soon after it is the same; unchanged it is, too; 304 for who has it; old files go."""
    clock = Clock()
    routes = SimpleIndex(library, tmp_path, clock).routes()
    async with client_of(library, routes) as client:
        first = await client.get(PATH)
        library.put(document("new", last_serial=COUNT + 1))
        soon = await client.get(PATH, headers={"If-None-Match": first.headers["etag"]})
        last = first
        for number in range(4):
            clock.ms += int(RENEW_SECONDS_MIN * 1000) + 1
            library.remove(NormalizedName(f"p-{number}"), COUNT + 2 + number, 0)
            last = await client.get(PATH, headers={"If-None-Match": first.headers["etag"]})

    assert 304 == soon.status_code
    assert (200, COUNT + 5) == (last.status_code, parse_serial_map(last.content).last_serial)
    assert b'"p-0"' not in last.content
    assert b'"new"' in last.content
    assert 4 == len(os.listdir(tmp_path))  # noqa: PTH208  two lists, each as it is and packed


async def test_there_is_none_while_something_may_be_missing(
    library: MemoryLibrary, tmp_path: Path
) -> None:
    """Whoever reconciled against half a list would take the other half for removed."""
    library.no_watermark = True
    async with client_of(library, SimpleIndex(library, tmp_path, Clock()).routes()) as client:
        answer = await client.get(PATH)

    assert 503 == answer.status_code
    assert "retry-after" in answer.headers
