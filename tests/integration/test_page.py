"""The page over ASGI: what it answers, its headers, its lists to their ends, its own files."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from hatchling.builders.wheel import WheelBuilder

from schemas.names import NormalizedName
from schemas.records import State, Status
from sinks.http.library import Document, Library
from sinks.http.page import endpoint as page_module
from sinks.http.page.assets import address_of
from sinks.http.page.endpoint import Pages
from sinks.http.page.minutes import Minutes
from sinks.http.page.refusal import refusal
from sinks.http.page.rendering import rendered, shown, web_url
from sinks.http.status import Health, StatusPages
from tests.support.http_world import client_of
from tests.support.memory_library import MemoryLibrary
from tests.support.page_world import MANIFEST, NOW, entry, nice_library
from tests.support.view_records import document, file

ROOT = Path(__file__).parents[2]
PAGES = ("/", "/project/tidewater/", "/search/?q=s", "/changes/", "/removed/", "/exceptions/")


def client(library: Library, *, sql: bool = False, now: float = NOW) -> httpx.AsyncClient:
    status = StatusPages(library, Health, lambda: MANIFEST, lambda: now, "1.0")
    pages = Pages(library, status.status, lambda: MANIFEST, now=lambda: now, sql=sql)
    return client_of(library, pages.routes(), page=partial(refusal, sql=sql))


@pytest.mark.parametrize("path", [*PAGES, "/sql/", "/project/none-such/"])
async def test_every_page_forbids_what_is_not_its_own(path: str) -> None:
    """The policy names only this service; nothing in the page asks for more than it allows."""
    async with client(nice_library(), sql=True) as asking:
        answer = await asking.get(path)

    policy = dict(
        part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; ")
    )
    own = ("script-src", "style-src", "connect-src", "img-src", "form-action")
    none = ("default-src", "base-uri", "frame-ancestors")
    assert policy == dict.fromkeys(own, "'self'") | dict.fromkeys(none, "'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert re.findall(r"<script(?![^>]* src=\"/static/)|<style| style=| on\w+=", answer.text) == []


async def test_a_wrong_address_is_a_page_in_a_browser() -> None:
    """The same as every page: its policy, its links. A program gets JSON."""
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    async with client(nice_library(), sql=True) as asking:
        page = await asking.get("/no/such/<b>", headers=browser)
        start = await asking.get("/")
        refused = await asking.post("/changes/", headers=browser)
        problem = await asking.get("/no/such/<b>")

    assert (404, "text/html; charset=utf-8") == (page.status_code, page.headers["content-type"])
    policy = "content-security-policy"
    assert start.headers[policy] == page.headers[policy]
    assert "There is nothing at this address." in page.text
    assert 'href="/sql/"' in page.text
    assert (405, "GET, HEAD") == (
        refused.status_code,
        ", ".join(sorted(refused.headers["allow"].split(", "))),
    )
    assert "POST is not served at this address" in refused.text
    assert "What is served here: GET, HEAD" in refused.text
    assert (404, "Not Found") == (problem.status_code, problem.json()["error"])
    assert {"Accept"} == {answer.headers["vary"] for answer in (page, refused, problem)}


async def test_a_page_is_asked_for_again_by_its_tag() -> None:
    """304, and a HEAD has no body."""
    async with client(nice_library()) as asking:
        for path in PAGES:
            answer = await asking.get(path)
            again = await asking.get(path, headers={"If-None-Match": answer.headers["etag"]})
            head = await asking.head(path)
            assert (200, 304, 200) == (answer.status_code, again.status_code, head.status_code)
            assert head.headers["content-type"] == answer.headers["content-type"]


async def test_names_are_brought_to_their_page() -> None:
    """By another spelling 301; no name and no project 404, with the name as text."""
    async with client(nice_library()) as asking:
        spelt = await asking.get("/project/Loopback_Hello/")
        bare = await asking.get("/project/tidewater")
        none = await asking.get("/project/<script>/")
        unknown = await asking.get("/project/none-such/")

    assert (301, "/project/loopback-hello/") == (spelt.status_code, spelt.headers["location"])
    assert (301, "/project/tidewater/") == (bare.status_code, bare.headers["location"])
    assert (404, 404) == (none.status_code, unknown.status_code)
    assert "&lt;script&gt;" in none.text
    assert "<script>" not in none.text


async def test_the_first_page_says_what_there_is() -> None:
    """Figures, the last hour, newest and removed projects, every file of the dump."""
    async with client(nice_library()) as asking:
        text = (await asking.get("/")).text

    assert "38,112,414" in text
    assert re.search(r'id="chart-total">1,198<', text)
    for project in ("heron-cli", "brackish", "old-lantern", "urgent-invoice"):
        assert f'href="/project/{project}/"' in text
    for name, known in MANIFEST.files.items():
        assert f'href="/dumps/{name}"' in text
        assert f'href="/dumps/sha256/{known.sha256}/{name}"' in text
    assert "One row per project" in text
    assert 'href="/sql/"' not in text


async def test_sql_has_a_page_only_where_it_is_switched_on() -> None:
    """Else there is neither link nor page."""
    async with client(nice_library()) as asking:
        off = await asking.get("/sql/")
    async with client(nice_library(), sql=True) as asking:
        on = await asking.get("/sql/", params={"q": "</textarea><script>"})
        first = (await asking.get("/")).text

    assert (404, 200) == (off.status_code, on.status_code)
    assert "&lt;/textarea&gt;&lt;script&gt;</textarea>" in on.text
    assert 'href="/sql/"' in first


@pytest.mark.parametrize(
    ("path", "row", "most", "parameter"),
    [
        ("/changes/", r"#(\d+)</span>", 250, "before"),
        ("/removed/", r'href="/project/(old-\d+)/"', 250, "before"),
        ("/exceptions/", r'href="/project/(owed-\d+)/"', 250, "after"),
        ("/project/much/", r"#(\d+)</span>", 250, "before"),
        ("/project/much/", r'href="/project/(needs-\d+)/"', 70, "after"),
    ],
)
async def test_lists_lead_to_their_ends(path: str, row: str, most: int, parameter: str) -> None:
    """Following the link at a list's end shows each row once, and then there is no link."""
    library = MemoryLibrary()
    library.put(document("much"))
    library.write([entry(100 + n, NOW - n, ("much", "new release", str(n))) for n in range(250)])
    for n in range(250):
        library.remove(NormalizedName(f"old-{n}"), 500 + n, NOW)
        library.owe(NormalizedName(f"owed-{n:03}"), State(Status.PARKED, 7))
    for n in range(70):
        needing = document(f"needs-{n}")
        library.put(needing | {"info": needing["info"] | {"requires_dist": ["much"]}})
    found: list[str] = []
    following: str | None = path
    async with client(library) as asking:
        while following is not None and len(found) <= most:
            text = (await asking.get(following)).text
            found += re.findall(row, text)
            link = re.search(rf'class="more"><a href="(\?{parameter}=[^"#]+)', text)
            following = path + link[1] if link else None

    assert most == len(found) == len(set(found))


async def test_a_project_with_very_many_releases() -> None:
    """The newest are shown; one link shows more of them, and any one's files can be chosen."""
    library = MemoryLibrary()
    versions = [f"{n}.0" for n in range(1_200)]
    every = {each: [file(f"many-{each}.tar.gz")] for each in versions}
    every["7.0"] = [file(f"many-7.0-{n}.whl") for n in range(150)]
    library.put(document("many", "1199.0"), every)
    async with client(library) as asking:
        first = (await asking.get("/project/many/")).text
        whole = (await asking.get("/project/many/?releases=all")).text
        chosen = (await asking.get("/project/many/?release=7.0")).text
        odd = await asking.get("/project/many/", params={"release": "\0", "before": "9" * 40})

    def shown_of(text: str) -> list[str]:
        return re.findall(r'<a href="\?release=([\d.]+)', text)

    assert shown_of(first) == list(reversed(versions))[:25]
    assert shown_of(whole) == list(reversed(versions))[:1_000]
    assert (chosen.count("many-7.0-"), "50 more" in chosen) == (200, True)  # in address and text
    assert odd.status_code == 200


@pytest.mark.parametrize(
    "body", [b"[]", b"{", b'{"info":[]}', b'{"info":{"summary":[1]}}', b"[" * 9999]
)
async def test_a_document_of_another_shape_has_a_page(body: bytes) -> None:
    """What is not as it should be is left out."""
    library = nice_library()
    held = library.documents[NormalizedName("tidewater")]
    strange = _Strange(library, held._replace(body=body))
    async with client(strange) as asking:
        answer = await asking.get("/project/tidewater/")

    assert answer.status_code == 200
    assert "tidewater-2.4.0.tar.gz" in answer.text


class _Strange:
    """A library with one document replaced."""

    def __init__(self, library: MemoryLibrary, document: Document) -> None:
        self._library = library
        self._document = document

    def document(self, _name: NormalizedName) -> Document:
        return self._document

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)


async def test_a_removed_project_keeps_its_history() -> None:
    """404, and what happened to it."""
    async with client(nice_library()) as asking:
        answer = await asking.get("/project/old-lantern/")

    assert answer.status_code == 404
    assert "This project is gone" in answer.text
    assert "remove project" in answer.text


async def test_before_the_log_was_read_the_page_says_so() -> None:
    """503, and a link to ask again: a page that loads itself anew is nothing for slow readers."""

    class Empty(MemoryLibrary):
        def view(self) -> None:
            return None

    async with client(Empty()) as asking:
        for path in PAGES:
            answer = await asking.get(path)
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert '<a href="">Ask again</a>' in answer.text


async def test_many_who_ask_at_once_get_one_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a second the first page is rendered once, however many wait for it."""
    renderings = []

    def counting(template: str, **context: object) -> bytes:
        renderings.append(template)
        return rendered(template, **context)

    monkeypatch.setattr(page_module, "rendered", counting)
    library, clock = nice_library(), [1.0]
    status = StatusPages(library, Health, lambda: None, lambda: NOW, "1.0")
    pages = Pages(library, status.status, lambda: None, monotonic=lambda: clock[0])
    async with client_of(library, pages.routes()) as asking:
        for now, times in ((1.0, 1), (1.9, 1), (2.1, 2)):
            clock[0] = now
            answers = await asyncio.gather(*(asking.get("/") for _ in range(5)))
            assert {200} == {answer.status_code for answer in answers}
            assert times == len(renderings)


async def test_minutes_are_counted_on() -> None:
    """However rows come in, each look has what a count from the start has."""
    library = MemoryLibrary()
    minutes = Minutes(library)
    times = [NOW - 4_000 + 7 * n for n in range(1_500)]  # up to well after NOW
    for step in range(10):
        now = NOW - 1_000 + 700 * step
        have = len(library.journal)
        due = [time for time in times if time <= now][have:]
        library.write(
            entry(have + n + 1, time, ("a", "new release", "1")) for n, time in enumerate(due)
        )
        edges = [(now // 60 - 59 + place) * 60 for place in range(61)]
        expected = [sum(a <= time < b for time in times if time <= now) for a, b in pairwise(edges)]
        assert expected == list(await minutes.look(now))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(path) as opened:
        yield opened


@pytest.mark.parametrize("folder", ["templates", "static"])
def test_the_wheel_has_the_pages_files(wheel: zipfile.ZipFile, folder: str) -> None:
    """All of them, byte by byte, and nothing else there."""
    here = {
        f"sinks/http/page/{folder}/{path.name}": path.read_bytes()
        for path in (ROOT / "sinks/http/page" / folder).iterdir()
    }
    inside = {
        name: wheel.read(name)
        for name in wheel.namelist()
        if name.startswith(f"sinks/http/page/{folder}/")
    }

    assert here == inside


def test_what_comes_from_others_is_what_it_was() -> None:
    """The chart's library has the hashes that the script which fetched it names."""
    script = [sys.executable, str(ROOT / "scripts/vendor_uplot.py"), "--check"]

    assert subprocess.run(script, check=False).returncode == 0


async def test_its_own_files_never_change_under_an_address() -> None:
    """They may be kept for ever; another address, or a path, has nothing."""
    async with client(nice_library()) as asking:
        script = await asking.get(address_of("overview.js"))
        beside = await asking.get(address_of("overview.js").replace("overview.js", "shown.js"))
        other = await asking.get("/static/0123456789abcdef/overview.js")
        path = await asking.get(address_of("overview.js").replace("overview.js", "uPlot.LICENSE"))

    assert "immutable" in script.headers["cache-control"]
    assert script.headers["content-type"].startswith("text/javascript")
    assert (200, 200, 404, 404) == tuple(each.status_code for each in (script, beside, other, path))


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain", "plain"),
        ("two\nlines", "two lines"),
        ("a\u202eb\u200bc\x00", "a\\u202eb\\u200bc\\x00"),
        ("\U000e0001", "\\U000e0001"),
        (None, ""),
    ],
)
def test_nothing_in_a_text_is_hidden(text: str | None, seen: str) -> None:
    assert seen == shown(text)


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("https://example.org/a?b=c&d#e", True),
        ("http://[2001:db8::1]:8080/", True),
        ("HTTPS://EXAMPLE.ORG", True),
        ("javascript:alert(1)", False),
        ("JavaScript://example.org/%0aalert(1)", False),
        ("data:text/html,x", False),
        ("//example.org", False),
        ("/local", False),
        ("https:example.org", False),
        ("https://", False),
        ("https://a@b.example.org/", False),
        ("https://example.org\\@evil.example.org", False),
        (" https://example.org", False),
        ("https://example.org/\n", False),
        ("https://ex\u0430mple.org/", False),
        ('https://example.org/"x', False),
        ("https://[", False),
        ("https://example.org/" + "a" * 2_000, False),
        (None, False),
        (7, False),
    ],
)
def test_only_web_addresses_are_links(text: object, fine: bool) -> None:
    assert (text if fine else None) == web_url(text)
