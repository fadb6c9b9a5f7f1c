"""An upstream whose answers a test writes down: no HTTP, no waiting."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Sequence

from schemas.errors import PypistreamError
from schemas.names import NormalizedName
from upstream.source import (
    Answer,
    Document,
    FileMetadata,
    JournalPage,
    JournalRow,
    NotFound,
    NotModified,
    Page,
    ProjectSerial,
    SerialMap,
)

Step = Answer | PypistreamError


def document(name: str, serial: int, *, version: str = "1.0", summary: str = "") -> Document:
    """A small project document as PyPI serves it."""
    info = {"name": name, "version": version, "summary": summary, "description": "long"}
    value = {"info": info, "last_serial": serial, "releases": {version: []}, "urls": []}
    return Document(json.dumps(value).encode(), serial, f'"{serial}{summary}"')


class ScriptedUpstream:
    """Per name a list of steps, the last of which repeats; a journal; an index."""

    def __init__(self) -> None:
        self.steps: dict[str, deque[Step]] = defaultdict(deque)
        self.pages: dict[str, Page | PypistreamError] = {}
        self.metadata: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.journal: list[JournalRow] = []
        self.page_rows_max = 50_000
        self.journal_errors: deque[PypistreamError] = deque()
        self.map_serial = 0
        self.delay_seconds = 0.0
        self.in_flight: dict[str, int] = defaultdict(int)
        self.overlapped = False

    def script(self, name: str, *steps: Step) -> None:
        """What `name` answers from now on."""
        self.steps[name] = deque(steps)

    def row(self, serial: int, name: str, action: str, version: str | None = None) -> None:
        """A journal row, long settled."""
        self.journal.append(JournalRow(name, version, 1_000_000, action, serial))

    async def permit(self) -> None:
        """At once."""
        await asyncio.sleep(0)

    def hold(self, until_unix_seconds: float, reason: str) -> None:
        """Nobody is held here."""

    async def last_serial(self) -> int:
        """The newest row's."""
        return self.journal[-1].serial if self.journal else 0

    async def journal_since(self, serial: int) -> JournalPage:
        """Rows above `serial`."""
        if self.journal_errors:
            raise self.journal_errors.popleft()
        rows = [row for row in self.journal if row.serial > serial][: self.page_rows_max]
        return JournalPage(rows, (), len(rows) == self.page_rows_max)

    async def project(self, name: NormalizedName, etag: str = "") -> Answer:
        """The next step of the name's script; 304 if it is the document the ETag names."""
        self.asked.append(name)
        self.in_flight[name] += 1
        self.overlapped = self.overlapped or self.in_flight[name] > 1
        try:
            await asyncio.sleep(self.delay_seconds)
        finally:
            self.in_flight[name] -= 1
        steps = self.steps[name]
        step = steps.popleft() if len(steps) > 1 else (steps[0] if steps else NotFound())
        if isinstance(step, PypistreamError):
            raise step
        if isinstance(step, Document) and etag and step.etag == etag:
            return NotModified(step.serial)
        return step

    async def version(self, name: NormalizedName, version: str) -> Answer:
        """Not scripted: there is none."""
        del name, version
        return NotFound()

    async def page(self, name: NormalizedName) -> Page | NotFound:
        """What `pages` has; None unless a test puts something there."""
        self.asked.append(f"{name} page")
        page = self.pages.get(name, NotFound())
        if isinstance(page, PypistreamError):
            raise page
        return page

    async def core_metadata(self, url: str) -> FileMetadata | NotFound:
        """What `metadata` has under the file's address."""
        self.asked.append(f"{url}.metadata")
        return FileMetadata(self.metadata[url]) if url in self.metadata else NotFound()

    async def serial_map(self, etag: str = "") -> SerialMap | NotModified:
        """Every scripted name with its newest document's serial."""
        del etag
        projects: Sequence[ProjectSerial] = [
            ProjectSerial(name, _serial(steps)) for name, steps in self.steps.items()
        ]
        return SerialMap(self.map_serial, "", projects)

    async def close(self) -> None:
        """Nothing to close."""


def _serial(steps: deque[Step]) -> int:
    return max((s.serial or 0 for s in steps if isinstance(s, Document)), default=1)
