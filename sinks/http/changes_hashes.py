"""Which files a change takes away, or gives to others, with the hashes last known of them. Pure.

What is held is the newest `releases` of the project: as a change comes in, that is from before it.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET

from schemas.names import NormalizedName
from schemas.records import ChangelogEntry, Kind
from schemas.releases import SlimFile, SlimReleases
from sinks.changes_order import Change
from sinks.http.library import Library
from sinks.http.streams_frames import LastKnown
from sinks.http.streams_selection import SECURITY_KINDS

FILES_MAX = 50  # of one change: 15 kB; some projects have 30 000
_WHOLE_PROJECT = frozenset({Kind.REMOVE_PROJECT, Kind.QUARANTINE, Kind.UNQUARANTINE})


def files_of(change: Change, library: Library) -> tuple[tuple[LastKnown, ...] | None, int]:
    """The files, the newest releases' first, and how many more there are. None = nothing held."""
    entry = change.entry
    if entry.kind not in SECURITY_KINDS:
        return None, 0
    held = library.releases(NormalizedName(change.project))
    if held is None:
        return None, 0
    found = list(_files(entry, held.slim))
    return tuple(found[:FILES_MAX]), max(0, len(found) - FILES_MAX)


def _files(entry: ChangelogEntry, slim: SlimReleases) -> Iterator[LastKnown]:
    for version in reversed(slim.releases):
        if not _concerned(entry, slim, version):
            continue
        for file in slim.releases[version]:
            if entry.kind is not Kind.REMOVE_FILE or entry.action.endswith(f" {file.filename}"):
                yield _known(version, file)


def _concerned(entry: ChangelogEntry, slim: SlimReleases, version: str) -> bool:
    if entry.kind in _WHOLE_PROJECT:
        return True
    # A new owner has power over all releases; what people install is the latest.
    return version == (slim.latest if entry.kind is Kind.ROLE else entry.version)


def _known(version: str, file: SlimFile) -> LastKnown:
    digests = {} if file.digests is UNSET else file.digests
    url = None if file.url is UNSET else file.url
    return LastKnown(file.filename, version, digests, url)
