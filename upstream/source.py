"""The upstream port: what the stages may ask of PyPI, independent of HTTP.

Order     A JournalPage's rows have rising serials, all above the one asked for. A row written later
          never has a serial at or below one already read (PyPI writes them under a lock).
Resume    Ask again with the last serial read. A page of JOURNAL_ROWS_MAX rows means: ask on.
Pace      `permit()` first, then one call: permits come no faster than the set rate, and none during
          a hold. So a caller can choose the most urgent work at the moment that it gets a permit.
Errors    Retriable: wait (`retry_after_seconds`), the call may be made again. Permanent: this
          document will not do. Fatal: JournalGone. A missing project is an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from schemas.names import NormalizedName

JOURNAL_ROWS_MAX = 50_000  # PyPI's own limit of one `changelog_since_serial` call


class JournalRow(NamedTuple):
    """One changelog row as upstream wrote it; `time` in Unix seconds."""

    name: str
    version: str | None
    time: int
    action: str
    serial: int


class BadRow(NamedTuple):
    """A malformed row: why, its serial if that could be read (else 0), and its text."""

    reason: str
    serial: int
    excerpt: str


class JournalPage(NamedTuple):
    """Rows after a serial. `full`: there may be more."""

    rows: Sequence[JournalRow]
    bad: Sequence[BadRow]
    full: bool


class Document(NamedTuple):
    """A 200 answer: decoded body, `X-PyPI-Last-Serial` (None if absent), ETag ("" if absent)."""

    body: bytes
    serial: int | None
    etag: str


class NotModified(NamedTuple):
    """A 304 answer to the ETag sent."""

    serial: int | None


class NotFound(NamedTuple):
    """A 404 answer: never existed, deleted, without a release, quarantined, or a brief fault."""


Answer = Document | NotModified | NotFound


class Page(NamedTuple):
    """A project's page of the index: decoded body, and the URL that it came from."""

    body: bytes
    url: str


class FileMetadata(NamedTuple):
    """A file's core metadata (PEP 658), unparsed: text of any encoding."""

    body: bytes


class ProjectSerial(msgspec.Struct, frozen=True, gc=False):
    """One line of the index: display name and the project's `_last-serial`."""

    name: str
    serial: int = msgspec.field(name="_last-serial")


class SerialMap(NamedTuple):
    """The whole index at `last_serial` (which may be up to half an hour old)."""

    last_serial: int
    etag: str
    projects: Sequence[ProjectSerial]


class Upstream(Protocol):
    """See the module's docstring for the rules."""

    async def permit(self) -> None:
        """Wait for the right to make one call."""
        ...

    def hold(self, until_unix_seconds: float, reason: str) -> None:
        """No permit before that time (the latest wins): another process was asked to wait."""
        ...

    async def last_serial(self) -> int:
        """`changelog_last_serial()`."""
        ...

    async def journal_since(self, serial: int) -> JournalPage:
        """`changelog_since_serial(serial)`."""
        ...

    async def project(self, name: NormalizedName, etag: str = "") -> Answer:
        """`/pypi/<name>/json`; `etag` "" asks unconditionally."""
        ...

    async def version(self, name: NormalizedName, version: str) -> Answer:
        """`/pypi/<name>/<version>/json`."""
        ...

    async def page(self, name: NormalizedName) -> Page | NotFound:
        """`/simple/<name>/` as PEP 691 JSON, unparsed."""
        ...

    async def core_metadata(self, url: str) -> FileMetadata | NotFound:
        """The core metadata of the file at `url`, which an index page named: `<url>.metadata`.

        NotFound also for a URL that must not be requested: the writer of a page must not be able to
        direct our requests anywhere.
        """
        ...

    async def serial_map(self, etag: str = "") -> SerialMap | NotModified:
        """`/simple/` as PEP 691 JSON, bounded and typed."""
        ...

    async def close(self) -> None:
        """Close connections. Idempotent; never raises."""
        ...


class SharedUpstream(Upstream, Protocol):
    """An upstream that several processes ask at one rate."""

    def follow(self, rate_now: Callable[[], float | None]) -> None:
        """Ask `rate_now` at every turn: requests per second, 0 = unlimited.

        None = no document may be asked for, but journal and index may.
        """
        ...
