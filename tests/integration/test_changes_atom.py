"""The Atom feed: a reader that follows its links loses nothing, and archives never change."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from sinks.http.changes_atom import ATOM, BLOCK_SERIALS
from streams.memory_log import MemoryLog
from tests.support.changes_world import Journal, row
from tests.support.memory_library import MemoryLibrary
from tests.support.streams_world import StreamsWorld, streaming

PATH = "/v1/changes.atom"
NS = {"a": "http://www.w3.org/2005/Atom", "fh": "http://purl.org/syndication/history/1.0"}


async def journal_of(serials: list[int], base: int = 0) -> Journal:
    journal = Journal(MemoryLog(3), base)
    await journal.found()
    await journal.rows([row(serial, f"p{serial % 7}") for serial in serials])
    return journal


async def fetched(world: StreamsWorld, path: str) -> ET.Element:
    async with world.asking() as client:
        found = await client.get(path)
    assert (200, ATOM) == (found.status_code, found.headers["content-type"].partition(";")[0])
    return ET.fromstring(found.content)


def link(feed: ET.Element, relation: str) -> str | None:
    found = feed.find(f"a:link[@rel='{relation}']", NS)
    return None if found is None else found.get("href")


def entries(feed: ET.Element) -> list[tuple[str, int]]:
    """Id and serial of each entry, the newest first as they are."""
    found = []
    for entry in feed.findall("a:entry", NS):
        serial = (entry.findtext("a:content", "", NS)).split()[1]
        found.append((entry.findtext("a:id", "", NS), int(serial)))
    return found


async def all_of(world: StreamsWorld, known: set[str] | None = None) -> tuple[set[Any], set[str]]:
    """What a reader of RFC 5005 finds that knows some archives; and the archives it went to."""
    feed = await fetched(world, PATH)
    found, archives = set(entries(feed)), set()
    path = link(feed, "prev-archive")
    while path is not None and path not in (known or set()):
        archives.add(path)
        feed = await fetched(world, path)
        assert feed.find("fh:archive", NS) is not None
        assert link(feed, "self") == path
        found |= set(entries(feed))
        path = link(feed, "prev-archive")
    return found, archives


async def test_a_reader_that_follows_the_archives_has_everything() -> None:
    """Every row once, in the feed or in an archive, gaps of serials between them or not."""
    serials = [*range(1, 600), *range(2_000, 2_700), 5_001, *range(9_000, 9_030)]
    journal = await journal_of(serials)
    async with streaming(journal.log, journal) as world:
        await world.shown(serials[-1])
        found, archives = await all_of(world)

    assert sorted(serials) == sorted(serial for _, serial in found)
    assert len({name for name, _ in found}) == len(serials)
    assert 6 == len(archives)  # of 250 serials each; those without a row are left out


async def test_who_comes_back_reads_only_what_is_new() -> None:
    """Archives keep their addresses and contents; those that are known end the walk."""
    journal = await journal_of(list(range(1, 1_001)))
    async with streaming(journal.log, journal) as world:
        await world.shown(1_000)
        before, known = await all_of(world)
        archived = {path: entries(await fetched(world, path)) for path in known}
        await journal.rows([row(serial, "new") for serial in range(1_001, 1_701)])
        await world.shown(1_700)
        new, read = await all_of(world, known)
        same = {path: entries(await fetched(world, path)) for path in known}

    assert archived == same
    assert 1_700 == len(before | new)
    assert len(read) <= 700 // BLOCK_SERIALS + 1


async def test_a_filtered_feed_has_older_changes_too() -> None:
    """A feed of one project goes back until it has something; and its links to the rest."""
    journal = await journal_of([1])
    rows = [row(serial, "rare" if serial % 400 == 0 else "p") for serial in range(2, 3_000)]
    await journal.rows(rows)
    query = "?project=rare"
    async with streaming(journal.log, journal) as world:
        await world.shown(2_999)
        feed = await fetched(world, PATH + query)

    assert [2_800, 2_400, 2_000, 1_600, 1_200, 800, 400] == [serial for _, serial in entries(feed)]
    assert link(feed, "self") == f"http://example.org{PATH}{query}"


async def test_what_an_entry_says() -> None:
    """What happened, when, to what, with the last known hashes; nothing in it is markup."""
    library = MemoryLibrary()
    file = {"filename": "a-1.0.tar.gz", "digests": {"sha256": "ab" * 32}}
    library.put({"info": {"name": "a", "version": "1.0"}, "last_serial": 1}, {"1.0": [file]})
    journal = Journal(MemoryLog(1))
    await journal.found()
    await journal.rows([
        row(2, "a", "remove project", None), row(3, "b", "<b>&\x00\x1b\ud7ff</title>", "]]>"),
    ])  # fmt: skip
    async with streaming(journal.log, journal, library=library) as world:
        await world.shown(3)
        feed = await fetched(world, PATH)
    odd, removal = feed.findall("a:entry", NS)

    assert "a: remove project" == removal.findtext("a:title", "", NS)
    assert "2023-11-14T22:13:22Z" == removal.findtext("a:updated", "", NS)
    assert f"serial 2\na-1.0.tar.gz sha256:{'ab' * 32}" == removal.findtext("a:content", "", NS)
    assert link(removal, "alternate") == "http://example.org/v1/projects/a"
    assert "b ]]>: <b>&  \ud7ff</title>" == odd.findtext("a:title", "", NS)
    for required in ("a:id", "a:title", "a:updated", "a:author/a:name"):
        assert feed.findtext(required, "", NS)


@pytest.mark.parametrize("archive", ["x", "-1", "9" * 20, "1&archive=2", "1.5"])
async def test_hostile_archives_are_refused(archive: str) -> None:
    """400; and one that is far away is only empty."""
    journal = await journal_of([1, 2])
    async with streaming(journal.log, journal) as world, world.asking() as client:
        await world.shown(2)
        found = await client.get(f"{PATH}?archive={archive}")
        far = await fetched(world, f"{PATH}?archive={2**63 - 1}")

    assert 400 == found.status_code
    assert [] == entries(far)


async def test_an_empty_log_has_a_feed() -> None:
    """Valid, and without entries."""
    journal = await journal_of([], base=1_234)
    async with streaming(journal.log, journal) as world:
        feed = await fetched(world, PATH)

    assert ([], None) == (entries(feed), link(feed, "prev-archive"))
    assert feed.findtext("a:updated", "", NS)
