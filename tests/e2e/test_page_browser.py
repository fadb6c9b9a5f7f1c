"""The page in a real browser: what hostile texts do (nothing), what is live, who can use it."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, expect

from pypistream.data_dir import DataDir
from sinks.http.page.rendering import shown
from sinks.http.sql import SqlConsole
from tests.support.chromium import DESKTOP, PHONE, chromium, live, opened
from tests.support.page_world import (
    EVIL,
    MARK,
    NOW,
    PageServer,
    entry,
    hostile,
    hostile_library,
    nice_library,
    served,
)
from tests.support.sql_world import publish
from tests.support.view_records import document

PATHS = ("/", "/project/saltmarsh/", "/search/?q=s", "/changes/", "/removed/", "/exceptions/")
FOUND = """() => {
    const all = [...document.querySelectorAll("*")].filter((each) => !each.closest("#chart"));
    const names = all.flatMap((each) => each.getAttributeNames());
    const loads = "img, iframe, object, embed, style, base";
    const hidden = (c) => /[\\p{Cf}\\p{Co}\\p{Cn}]/u.test(c) || (/\\p{Cc}/u.test(c) && c !== "\\n");
    return {
        bad: window.bad ?? null,
        elements: document.querySelectorAll(loads).length,
        scripts: [...document.scripts].filter((each) => !each.src || each.textContent).length,
        handlers: names.filter((name) => name.startsWith("on") || name === "style"),
        links: [...document.links].map((each) => [each.href, each.rel]),
        hidden: [...document.body.textContent].filter(hidden),
    };
}"""
"""What is in a page that should not be. The chart's library places its parts by their style."""
HOSTILE_PATHS = ("/", f"/project/{EVIL}/", "/search/?q=needing", *PATHS[3:])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def nice() -> Iterator[PageServer]:
    with served(nice_library()) as server:
        yield server


@pytest.fixture(scope="module")
def evil() -> Iterator[PageServer]:
    with served(hostile_library()) as server:
        yield server


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_hostile_texts_are_texts(browser: Browser, evil: PageServer, path: str) -> None:
    """Nothing runs, nothing is loaded, no attribute or element of theirs is there, no bad link."""
    with opened(browser, evil.url) as page:
        page.goto(evil.url + path)
        found = page.evaluate(FOUND)
        links = found.pop("links")

    assert found == {"bad": None, "elements": 0, "scripts": 0, "handlers": [], "hidden": []}
    outward = [link for link in links if not link[0].startswith(f"{evil.url}/")]
    assert {rel for _, rel in outward} <= {"noopener nofollow ugc"}
    assert {url for url, _ in outward} <= {"https://fine.example.org/?a=1&b=2"}


def test_every_hostile_field_is_shown(browser: Browser, evil: PageServer) -> None:
    """The texts are there to read, with what would hide or reorder them written out."""
    fields = (
        "version summary author author_email maintainer maintainer_email license requires_python "
        "keywords home_page download_url yanked_reason classifier requirement label role user "
        "organization id details fixed filename python type sha256 reason action row"
    )
    with opened(browser, evil.url) as page:
        page.goto(f"{evil.url}/project/{EVIL}/")
        text = page.locator("main").text_content() or ""

    assert [field for field in fields.split() if f"{field}:{MARK[:11]}" not in text] == []
    assert f"summary:{MARK}\\u202eevil\\u2066\\u200b\\u2069\\x1b[31m" in text
    assert "javascript:window.bad=1" in text  # as text, see the links above


def test_a_hostile_change_that_comes_live_is_text(browser: Browser, evil: PageServer) -> None:
    """What scripts put into the page is text, too."""
    with opened(browser, evil.url) as page:
        page.goto(f"{evil.url}/")
        live(page)
        serial = evil.library.reached + 1
        evil.happen([entry(serial, NOW, (EVIL, hostile("live"), hostile("late")))])
        first = page.locator("#feed > li").first
        expect(first).to_contain_text(f"#{serial}")
        text, inside = first.text_content() or "", first.inner_html()

    assert f"live:{MARK}\\u202eevil" in text
    assert f"late:{MARK[:30]}" in text
    assert "<img" not in inside
    assert "<script" not in inside


def test_changes_come_live(browser: Browser, nice: PageServer) -> None:
    """A row that is written now is soon at the top, and counted; a pause holds others back."""
    with opened(browser, nice.url) as page:
        page.goto(f"{nice.url}/")
        live(page)
        expect(page.locator("#chart canvas")).to_be_visible()
        before = int((page.locator("#chart-total").text_content() or "").replace(",", ""))
        serial = nice.library.reached + 10
        nice.happen([entry(serial, NOW + 1, ("heron-cli", "new release", "0.2.0"))])
        first = page.locator("#feed > li").first
        expect(first).to_contain_text("0.2.0")
        expect(first.locator("a")).to_have_attribute("href", "/project/heron-cli/")
        expect(page.locator("#chart-total")).to_have_text(f"{before + 1:,}")

        pause = page.get_by_role("button", name="Pause")
        pause.focus()
        page.keyboard.press("Enter")
        expect(pause).to_have_attribute("aria-pressed", "true")
        nice.happen([entry(serial + 1, NOW + 2, ("heron-cli", "yank release", "0.2.0"))])
        expect(page.locator("#feed-state")).to_have_text("paused, 1 waiting")
        expect(first).to_contain_text("new release")
        page.keyboard.press("Enter")
        expect(page.locator("#feed > li").first).to_contain_text("yank")


def test_figures_are_looked_at_again(browser: Browser, nice: PageServer) -> None:
    """A page that comes back to the front asks for them at once; else every ten seconds."""
    with opened(browser, nice.url) as page:
        page.goto(f"{nice.url}/")
        live(page)
        had = len(nice.library.documents)
        expect(page.locator('[data-status="projects"]')).to_have_text(str(had))
        nice.library.put(document("brand-new"))
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator('[data-status="projects"]')).to_have_text(str(had + 1))
        expect(page.locator('[data-status="watermark"]')).to_have_text(f"{nice.library.reached:,}")


def test_it_reads_without_scripts(browser: Browser, nice: PageServer) -> None:
    """Figures, feed, chart and dumps are in the answer; the search leads to a project."""
    with opened(browser, nice.url, java_script_enabled=False) as page:
        page.goto(f"{nice.url}/")
        assert page.locator("#feed > li").count() == 20
        assert page.locator("#chart rect").count() == 59  # the last minute has just begun
        assert page.locator("button:visible").count() == 1  # the search's: a pause would do nothing
        expect(page.get_by_role("row").filter(has_text="packages.jsonl.zst")).to_contain_text(
            "4.5 kB"
        )
        page.get_by_role("searchbox").fill("sparse arr")
        page.keyboard.press("Enter")
        page.get_by_role("link", name="saltmarsh").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("1.12.3")
        page.get_by_role("link", name="0.9.0").click()
        expect(page.get_by_role("heading", name="Files of")).to_contain_text("0.9.0")


def test_a_keyboard_is_enough(browser: Browser, nice: PageServer) -> None:
    """The first stop skips to the content; what has the focus is seen."""
    with opened(browser, nice.url) as page:
        page.goto(f"{nice.url}/changes/")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        assert page.get_by_role("link", name="Skip to the content").bounding_box() is not None
        page.keyboard.press("Enter")
        expect(page.locator("#main")).to_be_focused()
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")

    assert outline == "3px"


@pytest.mark.parametrize(
    ("viewport", "scheme", "paths"),
    [
        (DESKTOP, "light", (*PATHS, "/project/none-such/")),
        (DESKTOP, "dark", PATHS[:2]),
        (PHONE, "light", PATHS[:2]),
        (PHONE, "dark", PATHS[:2]),
    ],
    ids=["desktop light", "desktop dark", "phone light", "phone dark"],
)
def test_axe_finds_nothing(
    browser: Browser, nice: PageServer, viewport: ViewportSize, scheme: str, paths: Sequence[str]
) -> None:
    """No violation of the rules of axe-core: names, roles, contrast, landmarks, order."""
    settings = {"viewport": viewport, "color_scheme": scheme}
    with opened(browser, nice.url, refused=True, **settings) as page:
        for path in paths:
            page.goto(nice.url + path)
            if path == "/":
                live(page)
            assert _violations(page) == []


def _violations(page: Page) -> list[str]:
    """What axe-core has against the page as it is now."""
    return [
        f"{each['id']}: {[node['html'][:200] for node in each['nodes']]}"
        for each in Axe().run(page).response["violations"]
    ]


@pytest.mark.parametrize("world", ["nice", "evil"])
def test_a_phone_shows_it_all_without_scrolling_sideways(
    browser: Browser, request: pytest.FixtureRequest, world: str
) -> None:
    """Wide tables scroll in a box of their own; long words break."""
    server = request.getfixturevalue(world)
    with opened(browser, server.url, viewport=PHONE) as page:
        for path in PATHS if world == "nice" else HOSTILE_PATHS:
            page.goto(server.url + path)
            over = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert (path, page.evaluate(over)) == (path, 0)


def test_scripts_hide_no_less_than_templates(browser: Browser, nice: PageServer) -> None:
    """Both write out the same characters, of all that this Python's Unicode knows."""
    known = [chr(code) for code in range(0x11_0000) if not 0xD800 <= code < 0xE000]
    known = [each for each in known if unicodedata.category(each) not in ("Cn", "Co")]
    with opened(browser, nice.url) as page:
        page.goto(f"{nice.url}/")
        source = page.locator("script[type=module]").get_attribute("src") or ""
        module = source.replace("overview.js", "shown.js")
        script = "async ([module, all]) => (await import(module)).shown(all, 1e7)"
        written = page.evaluate(script, [module, "|".join(known)])

    assert written == shown("|".join(known))


def test_sql_is_asked_in_the_page(browser: Browser, tmp_path: Path) -> None:
    """An answer is a table, an error a sentence; a recipe fills the box. axe finds nothing."""
    data = DataDir(publish(tmp_path, 3))
    console = SqlConsole(data.snapshot, tmp_path, time.monotonic, on=True)
    with (
        served(nice_library(), console) as server,
        opened(browser, server.url, refused=True) as page,
    ):
        page.goto(f"{server.url}/")
        page.get_by_role("link", name="SQL").click()
        box = page.get_by_label("Query")
        box.fill("select name, version, '<b>' || chr(8238) as odd from projects order by 1")
        page.keyboard.press("Control+Enter")
        expect(page.locator("#sql-table tbody tr")).to_have_count(3)
        assert ["p0000", "0.0", "<b>\\u202e"] == page.locator("#sql-table td").all_text_contents()[
            :3
        ]
        assert _violations(page) == []
        box.fill("select nothing from nowhere")
        page.get_by_role("button", name="Run").click()
        expect(page.locator("#sql-state")).to_contain_text("nowhere")
        page.get_by_role("link", name="Which projects are required most?").click()
        expect(box).to_have_value(re.compile("dependencies"))
