"""Debian's Chromium, driven by playwright: pages of the service in it, and pictures of them.

`python -m tests.support.chromium DIR` makes the pictures in `docs/images` anew; their bytes depend
on the machine's fonts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from tests.support.page_world import NOW, nice_library, served
from tests.support.tools import needs

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]
PATIENCE_MS = 30_000  # for what is usually there at once: other tests have the processor, too
DESKTOP: ViewportSize = {"width": 1280, "height": 860}
PHONE: ViewportSize = {"width": 390, "height": 844}


@contextmanager
def chromium() -> Iterator[Browser]:
    """One browser; see `needs` for what happens where there is none."""
    path = needs("chromium")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield started
        finally:
            started.close()


class Seen:
    """What a page did that nobody should see: requests elsewhere, errors, dialogs."""

    def __init__(self, page: Page, url: str, *, refused: bool) -> None:
        self._refused = refused
        self.odd: list[str] = []
        page.on("console", lambda said: self._said(said.text))
        page.on("pageerror", lambda error: self.odd.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self.odd.append(f"dialog: {dialog.message}"))
        page.on("request", lambda asked: self._asked(asked.url, url))

    def _said(self, text: str) -> None:
        if not (self._refused and "responded with a status of 4" in text):
            self.odd.append(f"console: {text}")

    def _asked(self, asked: str, url: str) -> None:
        if not asked.startswith(f"{url}/"):
            self.odd.append(f"request: {asked}")


@contextmanager
def opened(browser: Browser, url: str, *, refused: bool = False, **settings: Any) -> Iterator[Page]:
    """A page whose clock stands at NOW; at the end it has done nothing odd.

    `refused`: what it asks for may be refused, which Chromium says on its console, too.
    """
    context = browser.new_context(**{"viewport": DESKTOP, **settings})
    page = context.new_page()
    page.clock.set_fixed_time(NOW * 1000)
    seen = Seen(page, url, refused=refused)
    yield page
    context.close()
    assert seen.odd == []


def live(page: Page) -> None:
    """Wait for the stream."""
    expect(page.locator("#feed-state")).to_have_class("on")


def pictures(folder: Path) -> None:
    """Of the first page and of a project's, on a desktop and on a phone, light and dark."""
    with served(nice_library()) as server, chromium() as browser:
        for scheme in ("light", "dark"):
            for size, viewport in (("desktop", DESKTOP), ("phone", PHONE)):
                with opened(browser, server.url, viewport=viewport, color_scheme=scheme) as page:
                    for path, name in (("/", "page"), ("/project/saltmarsh/", "project")):
                        page.goto(server.url + path)
                        if path == "/":
                            live(page)
                            expect(page.locator("#chart canvas")).to_be_visible()
                        page.screenshot(path=folder / f"{name}-{size}-{scheme}.png")


if __name__ == "__main__":
    pictures(Path(sys.argv[1]))
