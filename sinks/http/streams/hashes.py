"""Which files a change takes away, or gives to others, with the hashes last known of them. Pure.

As a change comes in, what is held is from before it; later on, what it took away is among the files
that are gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import UNSET

from schemas.names import NormalizedName
from schemas.records import ChangelogEntry, Kind
from schemas.releases import SlimFile, SlimReleases
from sinks.changes.order import Change
from sinks.http.library import GoneFile, Library
from sinks.http.streams.frames import LastKnown
from sinks.http.streams.selection import SECURITY_KINDS

FILES_MAX = 50  # of one change: 15 kB; some projects have 30 000
_WHOLE_PROJECT = frozenset({Kind.REMOVE_PROJECT, Kind.QUARANTINE, Kind.UNQUARANTINE})


def files_of(change: Change, library: Library) -> tuple[tuple[LastKnown, ...] | None, int]:
    """The files, the newest releases' first, and how many more there are. None = nothing held."""
    entry = change.entry
    if entry.kind not in SECURITY_KINDS:
        return None, 0
    name = NormalizedName(change.project)
    held, gone = library.releases(name), library.gone_files(name)
    if held is None and not gone:
        return None, 0
    found = [*(_held(entry, held.slim) if held is not None else ()), *_gone(entry, gone)]
    return tuple(found[:FILES_MAX]), max(0, len(found) - FILES_MAX)


def _held(entry: ChangelogEntry, slim: SlimReleases) -> Iterator[LastKnown]:
    for version in reversed(slim.releases):
        if _concerned(entry, version, slim.latest):
            for file in slim.releases[version]:
                if _names(entry, file.filename):
                    yield _known(version, file)


def _gone(entry: ChangelogEntry, gone: Sequence[GoneFile]) -> Iterator[LastKnown]:
    """What an event took away, or one after it."""
    for version, file in gone:
        if _concerned(entry, version, None) and _names(entry, file.filename):
            yield _known(version, file)


def _names(entry: ChangelogEntry, filename: str) -> bool:
    return entry.kind is not Kind.REMOVE_FILE or entry.action.endswith(f" {filename}")


def _concerned(entry: ChangelogEntry, version: str, latest: str | None) -> bool:
    if entry.kind in _WHOLE_PROJECT:
        return True
    # A new owner has power over all releases; what people install is the latest.
    return version == (latest if entry.kind is Kind.ROLE else entry.version)


def _known(version: str, file: SlimFile) -> LastKnown:
    digests = {} if file.digests is UNSET else file.digests
    url = None if file.url is UNSET else file.url
    return LastKnown(file.filename, version, digests, url)
