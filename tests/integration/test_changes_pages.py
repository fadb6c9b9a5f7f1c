"""`/v1/changes`: pages, links, tags; what is asked of the memory is what the log says."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest

from sinks.changes import pages as changes_pages
from streams.memory_log import MemoryLog
from tests.support.changes_world import Journal, Page, row
from tests.support.streams_world import StreamsWorld, streaming

PATH = "/v1/changes"


async def journal_of(count: int, base: int = 0) -> Journal:
    """Rows with every serial but each tenth, in pages of 300."""
    journal = Journal(MemoryLog(3), base)
    await journal.found()
    serials = [number for number in range(base + 1, base + count + 1) if number % 10]
    for start in range(0, len(serials), 300):
        rows = [
            row(serial, f"p{serial % 7}", "yank release" if serial % 5 == 0 else "new release")
            for serial in serials[start : start + 300]
        ]
        await journal.write(Page(rows))
    return journal


async def get(world: StreamsWorld, path: str, **headers: str) -> Any:
    async with world.asking() as client:
        return await client.get(path, headers=headers)


def serials(page: Any) -> list[int]:
    return [change["serial"] for change in page["changes"]]


def joined(pages: list[list[int]]) -> list[int]:
    return list(chain.from_iterable(pages))


async def walked(world: StreamsWorld, path: str, link: str) -> list[list[int]]:
    """The serials of each page, to the last one."""
    found = []
    while path:
        page = (await get(world, path)).json()
        found.append(serials(page))
        assert page["base"] <= page["after"] <= page["through"] <= page["head"]
        path = page[link] if link == "previous" or page["through"] < page["head"] else ""
    return found


@pytest.mark.parametrize("held", [5_000, 200], ids=["memory", "log"])
async def test_links_lead_through_all_there_is(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Upwards from any serial, downwards from the newest; out of the memory or out of the log."""
    monkeypatch.setattr(changes_pages, "RECENT_MAX", held)
    journal = await journal_of(1_000)
    async with streaming(journal.log, journal) as world:
        await world.shown(journal.head.serial)
        up = await walked(world, f"{PATH}?since=123&limit=90", "next")
        down = await walked(world, f"{PATH}?limit=90", "previous")

    wanted = [serial for serial in range(1, 1_001) if serial % 10]
    assert [serial for serial in wanted if serial > 123] == joined(up)
    assert wanted == joined(down[::-1])
    assert {90} == {len(page) for page in (*up[:-1], *down[:-1])}


async def test_a_filter_that_fits_little_goes_on_by_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that was scanned in vain has no changes and says up to where it looked."""
    monkeypatch.setattr(changes_pages, "SCANNED_MAX", 150)
    monkeypatch.setattr(changes_pages, "RECENT_MAX", 10)
    journal = await journal_of(1_000)
    await journal.rows([row(1_005, "rare"), *(row(number, "p") for number in range(1_006, 1_400))])
    async with streaming(journal.log, journal) as world:
        await world.shown(journal.head.serial)
        up = await walked(world, f"{PATH}?since=0&project=rare", "next")
        down = await walked(world, f"{PATH}?project=ra*&kind=new-release", "previous")

    assert [1_005] == joined(up) == joined(down)
    assert [] in up
    assert [] in down


async def test_a_page_is_not_sent_twice() -> None:
    """Its tag stays while nothing new fits it; then the same address has another."""
    journal = await journal_of(100)
    async with streaming(journal.log, journal) as world:
        await world.shown(99)
        newest = await get(world, PATH)
        full = await get(world, f"{PATH}?since=0&limit=10")
        again = await get(world, PATH, **{"If-None-Match": newest.headers["etag"]})
        await journal.rows([row(101, "new")])
        await world.shown(101)
        changed = await get(world, PATH, **{"If-None-Match": newest.headers["etag"]})
        page = await get(world, newest.json()["next"])

    assert (304, b"") == (again.status_code, again.content)
    assert 200 == changed.status_code
    assert [101] == serials(page.json())
    assert full.json()["next"] == f"{PATH}?since=11&limit=10"


async def test_the_end_of_the_feed_is_a_page_without_changes() -> None:
    """Its `next` is itself: who polls it sees what comes."""
    journal = await journal_of(20)
    async with streaming(journal.log, journal) as world:
        await world.shown(19)
        page = (await get(world, f"{PATH}?since=19")).json()
        ahead = (await get(world, f"{PATH}?since=5000")).json()

    assert ([], f"{PATH}?since=19") == (page["changes"], page["next"])
    assert ([], 5000) == (ahead["changes"], ahead["through"])


async def test_a_log_that_begins_late_says_so() -> None:
    """`base` is where it begins; there is nothing previous to that."""
    journal = await journal_of(50, base=1_000)
    async with streaming(journal.log, journal) as world:
        await world.shown(1_049)
        page = (await get(world, f"{PATH}?since=10&limit=1000")).json()
        down = (await get(world, f"{PATH}?limit=1000")).json()

    assert (1_000, 1_001) == (page["base"], page["changes"][0]["serial"])
    assert down["previous"] is None
    assert serials(down) == serials(page)


async def test_since_a_time() -> None:
    """As the stream understands it."""
    journal = await journal_of(50)
    async with streaming(journal.log, journal) as world:
        await world.shown(49)
        page = (await get(world, f"{PATH}?since=2023-11-14T22:13:40Z&limit=3")).json()

    assert [21, 22, 23] == serials(page)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=1001", "limit=-1", "limit=x", "limit=", "limit=" + "9" * 3000,
        "limit=%D9%A1", "since=1&before=2", "before=x", "before=" + "9" * 20, "since=x",
        "kind=nonsense", "project=%00", "limit=1&limit=2",
    ],
)  # fmt: skip
async def test_hostile_queries_are_refused(query: str) -> None:
    """400 with a text; nothing is read."""
    journal = await journal_of(5)
    async with streaming(journal.log, journal) as world:
        found = await get(world, f"{PATH}?{query}")

    assert 400 == found.status_code
    assert {"error", "hint"} == set(found.json())
