"""How much of the last known data of a removed project is kept: `--keep-removed`.

The log itself forgets a removed project: a tombstone replaces its document. So a sink keeps the
data, and a new sink knows only of what the log still holds. In a log that was loaded from a dump,
the tombstones have a header with what the other instance had kept: versions, names of files and
hashes, nothing about persons.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from schemas.codec import NO_JSON
from schemas.records import SERIAL_MAX

NONE = "none"
HASHES = "hashes"  # the last version, and each file's version, name and hashes
ALL = "all"  # everything, also persons' names and addresses
KEEP_REMOVED = (NONE, HASHES, ALL)

HELD = "held"  # the header of a tombstone, JSON: a HeldProject in metadata, HeldFiles in releases


SerialHeld = Annotated[int, msgspec.Meta(ge=0, le=SERIAL_MAX)]


class HeldProject(msgspec.Struct, frozen=True, omit_defaults=True):
    """When the project was removed (RFC 3339, null = forgotten), and its last data.

    `held` false: its last data is unknown.
    """

    time: str | None = None
    held: bool = False
    version: str | None = None
    serial: SerialHeld | None = None


class HeldFiles(msgspec.Struct, frozen=True):
    """Version, name and hash of each file last known, as parallel lists."""

    latest: str | None
    serial: SerialHeld | None
    version: tuple[str | None, ...]
    filename: tuple[str | None, ...]
    sha256: tuple[str | None, ...]


class Removed(msgspec.Struct, frozen=True):
    """A removed project, as a dump's tables have it. `files` None = unknown."""

    name: str
    reason: str | None
    serial: int | None
    project: HeldProject
    files: HeldFiles | None


T = TypeVar("T", HeldProject, HeldFiles)


def held_of(text: str | None, kind: type[T]) -> T | None:
    """The content of the header; None if there is none, or it cannot be read. Pure."""
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except NO_JSON:
        return None
