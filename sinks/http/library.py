"""The library port: what endpoints may ask about projects, independent of the storage.

Consistent  All answers are of one cut of the log. It moves on while a request awaits something:
            calls with no `await` between them see the same cut.
Quick       Every call is a few lookups, or a page of at most PAGE_MAX rows: some microseconds to
            some milliseconds, made on the loop. Who reads many pages awaits `asyncio.sleep(0)`
            between them; by name or serial nothing comes twice then, and nothing is left out that
            was there all the time.
Names       `name` is always the normalised name (`schemas.names.normalize`).
Errors      ViewCorrupt, DiskFull, StorageFailed: answered as 503. "Not there" is None or empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from schemas.names import NormalizedName
from schemas.records import ChangelogEntry, Config, Head, Kind, State, Status
from schemas.releases import SlimFile, SlimReleases
from sinks.sink import Vector

PAGE_MAX = 1_000  # rows of one call: some milliseconds


class Document(NamedTuple):
    """`body` is PyPI's JSON without description and older releases, as `metadata` holds it.

    `etag` as an HTTP header has it, quotes included; it changes whenever `body` does. `stale`: an
    event newer than `serial` is known, and upstream had no newer document yet.
    """

    body: bytes
    serial: int
    etag: str
    stale: bool


class Releases(NamedTuple):
    """Releases with their files. `held` "latest": only those that the document itself has.

    `omitted`: how many of the lowest are not here because the record would have been too large.
    """

    slim: SlimReleases
    omitted: int
    held: Literal["all", "latest"]


class GoneFile(NamedTuple):
    """A removed file, as it was last published."""

    version: str
    file: SlimFile


class Listed(NamedTuple):
    """A published project in a list. `serial` is its document's, `version` the latest's."""

    name: NormalizedName
    display_name: str
    version: str | None
    summary: str | None
    serial: int


class Dependent(NamedTuple):
    """A project whose latest release names another in `requires_dist`; the lines that do.

    `optional`: only for extras of its own.
    """

    name: NormalizedName
    display_name: str
    requirements: tuple[str, ...]
    optional: bool


class UserRole(NamedTuple):
    """A user's role (`Owner` or `Maintainer`) in a project."""

    role: str
    name: NormalizedName
    display_name: str


class Removed(NamedTuple):
    """A name whose project is gone: `removed`, `quarantined`, `no-releases`. `time`: Unix seconds.

    `serial` is that of the event that proved it; `time` is when that was, 0 = unknown.
    """

    name: NormalizedName
    display_name: str
    reason: str
    serial: int
    time: int


class View(NamedTuple):
    """What is in the library now: a cut, and what it lets claim.

    watermark   every serial up to it is reflected but for the exceptions; None = no such claim
    reached     the journal rows here are whole from `base` (0 = from the beginning) up to this
                serial; rows above are not given yet
    base        the serial this log's own journal starts after
    names       ever heard of; `projects` of them are published now, `removed` are gone
    statuses    names by status; what is not `ok` or settled as absent is an exception
    as_of_ms    Unix time when all of the log up to then was here
    """

    vector: Vector
    config: Config
    head: Head | None
    watermark: int | None
    reached: int
    base: int
    backfill_done: int | None
    backfill_names: int | None
    names: int
    projects: int
    removed: int
    exceptions: int
    statuses: Mapping[Status, int]
    as_of_ms: int


class Library(Protocol):
    """See the module's text for the rules. `limit` is at most PAGE_MAX."""

    def view(self) -> View | None:
        """What is here; None before the first cut was read."""
        ...

    def document(self, name: NormalizedName) -> Document | None:
        """The published document."""
        ...

    def releases(self, name: NormalizedName) -> Releases | None:
        """All releases held, ascending by version; of the latest alone where only that is held."""
        ...

    def gone_files(self, name: NormalizedName) -> Sequence[GoneFile]:
        """Files that were held and are gone, of a project that is gone or not, by file name.

        At most PAGE_MAX; a library that was built anew, or holds only the latest, knows none.
        """
        ...

    def state(self, name: NormalizedName) -> State | None:
        """What is known and owed; None if the name was never heard of."""
        ...

    def listed(self, name: NormalizedName) -> Listed | None:
        """The published project's line."""
        ...

    def projects(self, after: str = "", limit: int = PAGE_MAX) -> Sequence[Listed]:
        """Published projects ascending by name, from the first name above `after`."""
        ...

    def search(self, words: Sequence[str], limit: int = PAGE_MAX) -> Sequence[Listed]:
        """Projects that have every one of the words in name or summary, the best first.

        A word may be the beginning of one there; case does not matter.
        """
        ...

    def dependents(
        self, name: NormalizedName, after: str = "", limit: int = PAGE_MAX
    ) -> Sequence[Dependent]:
        """Projects whose latest release depends on `name`, ascending by name.

        `name` need not be published, or known.
        """
        ...

    def dependent_count(self, name: NormalizedName) -> int:
        """How many `dependents` there are in all."""
        ...

    def projects_of(self, user: str, after: str = "", limit: int = PAGE_MAX) -> Sequence[UserRole]:
        """The projects a user has a role in, ascending by name. User names are as written."""
        ...

    def classified(
        self, classifiers: Sequence[str], after: str = "", limit: int = PAGE_MAX
    ) -> Sequence[Listed]:
        """Projects whose latest release has all of the classifiers, ascending by name."""
        ...

    def changes(self, after_serial: int, limit: int = PAGE_MAX) -> Sequence[ChangelogEntry]:
        """Journal rows above `after_serial` and up to `View.reached`, ascending by serial."""
        ...

    def changes_of(
        self, name: NormalizedName, before_serial: int | None = None, limit: int = PAGE_MAX
    ) -> Sequence[ChangelogEntry]:
        """Journal rows of one name, the newest first, below `before_serial`."""
        ...

    def recent(
        self, kinds: frozenset[Kind], before_serial: int | None = None, limit: int = PAGE_MAX
    ) -> Sequence[ChangelogEntry]:
        """The newest journal rows of these kinds (none = any), the newest first."""
        ...

    def serial_at(self, unix_seconds: int) -> int:
        """A serial such that every journal row of that time or later lies above it."""
        ...

    def removed(self, before_serial: int | None = None, limit: int = PAGE_MAX) -> Sequence[Removed]:
        """Names whose project is gone, the one removed last first."""
        ...

    def exceptions(
        self, after: str = "", limit: int = PAGE_MAX
    ) -> Sequence[tuple[NormalizedName, State]]:
        """Names the watermark does not speak for, ascending by name."""
        ...
