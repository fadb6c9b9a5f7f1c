"""Libraries that pages are made of, one nice and one hostile, and a server for browsers."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from producers.actions import kind_of
from producers.rows import entry_record
from schemas.manifest import DumpFile, Exceptions, Manifest
from schemas.names import NormalizedName
from schemas.records import ChangelogEntry, State, Status
from sinks.http import sql
from sinks.http.app import Front
from sinks.http.page.endpoint import Pages
from sinks.http.server import serve_app
from sinks.http.status import Health, StatusPages
from sinks.http.streams import endpoint as streams
from sinks.http.streams.endpoint import Streams
from streams.memory_log import MemoryLog
from tests.support.changes_world import Journal
from tests.support.memory_library import MemoryLibrary
from tests.support.view_records import document, file
from upstream.source import JournalRow

NOW = 1_795_262_400  # 2026-11-21 12:00:00 UTC
PATIENCE_SECONDS = 60
ROWS = (
    ("tidewater", "new release", "2.4.0"),
    ("tidewater", "add py3 file tidewater-2.4.0-py3-none-any.whl", "2.4.0"),
    ("Loopback.Hello", "yank release", "0.9.1"),
    ("heron-cli", "create", None),
    ("heron-cli", "add Owner mareike", None),
    ("heron-cli", "new release", "0.1.0"),
    ("saltmarsh", "add source file saltmarsh-1.12.3.tar.gz", "1.12.3"),
    ("old-lantern", "remove project", None),
    ("reedbed", "new release", "24.11rc1"),
    ("reedbed", "add Maintainer tomke", None),
    ("kelp-forest", "remove file kelp_forest-3.0.0-cp312-cp312-manylinux_2_28_x86_64.whl", "3.0.0"),
    ("brackish", "create", None),
    ("brackish", "new release", "0.0.1"),
)
PROJECTS = (
    ("tidewater", "2.4.0", "Typed pipelines for tables that do not fit in memory"),
    ("Loopback.Hello", "0.9.2", "Says hello to whoever listens on this machine"),
    ("heron-cli", "0.1.0", "Patient command lines: waits, looks, and strikes once"),
    ("saltmarsh", "1.12.3", "Sparse arrays with labelled axes"),
    ("reedbed", "24.10", "Filters for streams of events"),
    ("kelp-forest", "3.0.0", "Trees that sway: gradient boosting on tabular data"),
    ("brackish", "0.0.1", "Mixes sync and async code without drowning"),
)
NEEDED = (
    "saltmarsh>=1.10",
    "reedbed<25,>=24.1",
    'brackish; python_version < "3.12"',
    'kelp-forest[gpu]>=3; extra == "boost"',
)
FILES = {
    "pypicache.json.zst": DumpFile(4_212, "5d41402abc4b2a76" * 4, 7, 21_206),
    "packages.jsonl.zst": DumpFile(4_530, "7d793037a0760186" * 4, 7, 23_008),
    "releases.jsonl.zst": DumpFile(7_142, "b6d767d2f8ed5d21" * 4, 7, 41_771),
    "state.jsonl.zst": DumpFile(913, "c4ca4238a0b92382" * 4, 10, 2_950),
    "projects.parquet": DumpFile(3_371, "a3f5b1c04e7d2968" * 4, 7, 3_371),
    "releases.parquet": DumpFile(5_816, "0e9d8c7b6a5f4e3d" * 4, 84, 5_816),
    "pypi.duckdb": DumpFile(1_323_008, "9b74c9897bac770f" * 4, 7, 1_323_008),
}
MANIFEST = Manifest(
    created="2026-11-21T11:48:07.113Z",
    log="log",
    vector=(),
    watermark=38_112_040,
    exceptions=Exceptions({"parked": 2}),
    files=FILES,
    names=10,
    coverage=90.0,
)


def entry(serial: int, time: int, row: tuple[str, str, str | None]) -> ChangelogEntry:
    """A journal row as the library has it."""
    name, action, version = row
    return ChangelogEntry(serial, name, version, time, action, kind_of(action, version))


def nice_library() -> MemoryLibrary:
    """Some projects, and an hour of changes that ends at NOW."""
    library = MemoryLibrary()
    serial = 38_110_000
    for at, (name, version, summary) in enumerate(PROJECTS):
        library.put(_nice(name, version, summary, serial + at), _releases(name, version))
    rows: list[ChangelogEntry] = []
    for minute in range(60):
        busy = 9 + (minute * 7) % 11 + (24 if minute % 17 == 5 else 0) + minute // 6
        for nth in range(busy):
            serial += 2
            time = NOW - 60 * (59 - minute) + nth * 60 // busy - 60
            rows.append(entry(serial, time, ROWS[len(rows) % len(ROWS)]))
    library.write(rows)
    for nth, name in enumerate(("old-lantern", "urgent-invoice", "reqeusts-toolbelt")):
        reason = "removed" if nth == 0 else "quarantined"
        library.remove(NormalizedName(name), serial - 10 * nth, NOW - 4_000 * nth - 600, reason)
    parked = State(Status.PARKED, serial, 7, name="reedbed", attempts=3, reason="older than asked")
    library.owe(NormalizedName("reedbed"), parked)
    return library


def _nice(name: str, version: str, summary: str, serial: int) -> dict[str, Any]:
    whole = document(name, version, last_serial=serial)
    whole["info"] |= {
        "summary": summary,
        "requires_python": ">=3.11",
        "license_expression": "Apache-2.0",
        "author_email": "Mareike Watt <mareike@example.org>",
        "keywords": "tables, streams, arrow",
        "project_urls": {
            "Documentation": f"https://docs.example.org/{name}/",
            "Source": f"https://code.example.org/{name}",
        },
        "classifiers": ["Development Status :: 4 - Beta", "Typing :: Typed"],
        "requires_dist": [line for line in NEEDED if not line.startswith(name)],
    }
    roles = [{"role": "Owner", "user": "mareike"}, {"role": "Maintainer", "user": "tomke"}]
    whole["ownership"] = {"organization": None, "roles": roles}
    return whole


def _releases(name: str, latest: str) -> dict[str, list[dict[str, Any]]]:
    stem = name.replace("-", "_").lower()
    found = {}
    for at, version in enumerate(("0.8.0", "0.9.0", "0.9.1", latest)):
        time = f"2026-{at + 7:02d}-14T08:30:00.000000Z"
        more = {"size": 48_211 + 9_977 * at, "upload_time_iso_8601": time}
        yanked = {"yanked": True, "yanked_reason": "breaks on empty tables"} if at == 2 else {}
        found[version] = [
            file(f"{stem}-{version}-py3-none-any.whl", **more, **yanked),
            file(f"{stem}-{version}.tar.gz", **more, **yanked),
        ]
    return found


MARK = '"\'><script>window.bad=1</script><img src=x onerror="window.bad=1">'
BIDI = "\u202eevil\u2066\u200b\u2069\x1b[31m"
EVIL = "evil-name"


def hostile(field: str) -> str:
    """A text that runs, loads, or hides something wherever it is taken for more than text."""
    return f"{field}:{MARK}{BIDI}"


def hostile_library() -> MemoryLibrary:
    """A project with such a text in every field that has one, and rows with them."""
    library = MemoryLibrary()
    whole = document(EVIL, "1.0", last_serial=90)
    texts = (
        "summary author author_email maintainer maintainer_email license requires_python keywords "
        "home_page download_url yanked_reason"
    )
    whole["info"] |= {field: hostile(field) for field in texts.split()}
    whole["info"] |= {
        "version": hostile("version"),
        "yanked": True,
        "classifiers": [hostile("classifier")],
        "requires_dist": [hostile("requirement"), f"ok @ javascript:alert(1)//{MARK[:3]}"],
        "project_urls": {
            hostile("label"): "javascript:window.bad=1",
            "data": "data:text/html,<script>window.bad=1</script>",
            "user": "https://trusted.example.org@evil.example.org/",
            "quote": 'https://evil.example.org/"onmouseover="window.bad=1',
            "fine": "https://fine.example.org/?a=1&b=2",
        },
    }
    roles = [{"role": hostile("role"), "user": hostile("user")}]
    whole["ownership"] = {"organization": hostile("organization"), "roles": roles}
    flaw = {"id": hostile("id"), "summary": hostile("details"), "fixed_in": [hostile("fixed")]}
    whole["vulnerabilities"] = [flaw | {"link": "javascript:window.bad=1"}]
    odd = file(
        hostile("filename"),
        url="javascript:window.bad=1",
        requires_python=hostile("python"),
        packagetype=hostile("type"),
        digests={"sha256": hostile("sha256")},
        yanked=True,
        yanked_reason=hostile("reason"),
        upload_time_iso_8601=MARK,
    )
    library.put(whole, {hostile("version"): [odd]})
    needing = document("needing-it", "1.0", last_serial=91)
    needing["info"] |= {"requires_dist": [f"{EVIL}; extra == 'x'"], "summary": hostile("other")}
    library.put(needing)
    rows = [
        entry(92, NOW - 90, (EVIL, hostile("action"), hostile("row"))),
        entry(93, NOW - 30, (EVIL, "create", None)),
    ]
    library.write(rows)
    library.remove(NormalizedName("gone-one"), 94, NOW - 10, hostile("why"))
    state = State(Status.DEAD, 95, 0, name=hostile("state"), reason=hostile("dead"), attempts=1)
    library.owe(NormalizedName("dead-one"), state)
    return library


@dataclass
class PageServer:
    """A service that runs in a thread of its own; `url` has no slash at its end."""

    url: str
    library: MemoryLibrary
    _loop: asyncio.AbstractEventLoop
    _journal: Journal

    def happen(self, rows: Sequence[ChangelogEntry]) -> None:
        """Write journal rows: streams tell of them."""
        records = [
            entry_record(JournalRow(row.name, row.version, row.time, row.action, row.serial), 0)
            for row in rows
        ]
        self._wait(self._journal.rows(records))

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_SECONDS)


@contextmanager
def served(
    library: MemoryLibrary, sql_answers: sql.SqlConsole | None = None
) -> Iterator[PageServer]:
    """The page, the figures and the stream over a library; the journal goes on after its rows."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    stop = asyncio.Event()
    started: asyncio.Future[PageServer] = asyncio.run_coroutine_threadsafe(_future(), loop).result()
    running = asyncio.run_coroutine_threadsafe(_serve(library, sql_answers, started, stop), loop)
    try:
        yield asyncio.run_coroutine_threadsafe(_awaited(started), loop).result(PATIENCE_SECONDS)
    finally:
        loop.call_soon_threadsafe(stop.set)
        running.result(PATIENCE_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _future() -> asyncio.Future[PageServer]:
    return asyncio.get_running_loop().create_future()


async def _awaited(future: asyncio.Future[PageServer]) -> PageServer:
    return await future


async def _serve(
    library: MemoryLibrary,
    sql_answers: sql.SqlConsole | None,
    started: asyncio.Future[PageServer],
    stop: asyncio.Event,
) -> None:
    loop = asyncio.get_running_loop()
    journal = Journal(MemoryLog(2), library.reached)
    await journal.found()
    feed = Streams(journal.log, library)
    status = StatusPages(library, Health, lambda: MANIFEST, lambda: NOW + 4.0, "1.0")
    pages = Pages(
        library, status.status, lambda: MANIFEST, now=lambda: NOW, sql=sql_answers is not None
    )
    routes = [*pages.routes(), *status.routes(), *streams.routes(feed)]
    if sql_answers is not None:
        routes += sql_answers.routes()
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    roles = [
        asyncio.create_task(feed.run()),
        asyncio.create_task(
            serve_app(
                Front(library, routes, ()),
                listener,
                ready=lambda: started.set_result(PageServer(url, library, loop, journal)),
                stopping=feed.close,
            )
        ),
    ]
    await stop.wait()
    for role in reversed(roles):
        role.cancel()
        await asyncio.wait([role])
