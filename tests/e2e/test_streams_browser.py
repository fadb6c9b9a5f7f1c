"""`EventSource` in Chromium, as a page uses it, over a server that is killed."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from streams.sqlite_log import SqliteLog
from tests.support.changes_world import Journal, row
from tests.support.chromium import chromium
from tests.support.process import started
from tests.support.served import answers, free_port

ROWS, MORE = 3_000, 500
MILLISECONDS_MAX = 60_000.0
LISTEN = """() => {
    window.had = []; window.failed = 0;
    const stream = new EventSource("/v1/stream/changes?since=0");
    stream.onmessage = event => window.had.push([event.lastEventId, JSON.parse(event.data).serial]);
    stream.onerror = () => window.failed += 1;
}"""


def written(data: Path, first: int, last: int) -> None:
    """In a thread: playwright has a loop of its own in this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, _written(data, first, last)).result()


async def _written(data: Path, first: int, last: int) -> None:
    await asyncio.to_thread(data.mkdir, exist_ok=True)
    log = await SqliteLog.open(data / "log.sqlite", 1)
    journal = Journal(log)
    if first == 1:
        await journal.found()
    await journal.rows([row(serial, f"p{serial % 50}") for serial in range(first, last + 1)])
    await log.close()


def test_event_source_resumes_by_itself(tmp_path: Path) -> None:
    """The browser keeps the id, comes again when told to, and the page has every event once."""
    data, url = tmp_path / "data", f"http://127.0.0.1:{free_port()}"
    written(data, 1, ROWS)
    serve = ("serve", "--data", str(data), "--http", url.removeprefix("http://"))
    with chromium() as browser:
        page = browser.new_page()
        with started(*serve, cwd=tmp_path) as program:
            program.until(lambda: answers(url), 60, "answer")
            page.goto(f"{url}/")
            assert "pypistream" in page.title()
            page.evaluate(LISTEN)
            page.wait_for_function("() => window.had.length > 0", timeout=MILLISECONDS_MAX)
            program.kill()
        page.wait_for_function("() => window.failed > 0", timeout=MILLISECONDS_MAX)
        written(data, ROWS + 1, ROWS + MORE)
        with started(*serve, cwd=tmp_path) as program:
            program.until(lambda: answers(url), 60, "answer")
            wanted = f"() => window.had.length >= {ROWS + MORE}"
            page.wait_for_function(wanted, timeout=MILLISECONDS_MAX)
            had = page.evaluate("() => window.had")

    assert [[str(serial), serial] for serial in range(1, ROWS + MORE + 1)] == had
