"""How much is kept of what was last held of a project that is gone: `--keep-removed`.

The log itself forgets it: a tombstone replaces the document. So a sink keeps it, and one that
begins with nothing has it only of what the log still holds. In a log that was loaded from a dump
that is what the other instance had kept, as a header of the tombstones: versions, names of files
and hashes, nothing about persons.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from schemas.codec import NO_JSON
from schemas.records import SERIAL_MAX

NONE = "none"
HASHES = "hashes"  # last version, and every file's version, name and hashes
ALL = "all"  # everything that was held, persons' names and addresses too
KEEP_REMOVED = (NONE, HASHES, ALL)

HELD = "held"  # the header of a tombstone, JSON: a HeldProject in metadata, HeldFiles in releases


SerialHeld = Annotated[int, msgspec.Meta(ge=0, le=SERIAL_MAX)]


class HeldProject(msgspec.Struct, frozen=True, omit_defaults=True):
    """When the project went (RFC 3339, null = that was forgotten), and what it had last.

    `held` false: that is not known.
    """

    time: str | None = None
    held: bool = False
    version: str | None = None
    serial: SerialHeld | None = None


class HeldFiles(msgspec.Struct, frozen=True):
    """Version, name and hash per file last held, side by side."""

    latest: str | None
    serial: SerialHeld | None
    version: tuple[str | None, ...]
    filename: tuple[str | None, ...]
    sha256: tuple[str | None, ...]


class Removed(msgspec.Struct, frozen=True):
    """A project that is gone, as a dump's tables have it. `files` None = they are not known."""

    name: str
    reason: str | None
    serial: int | None
    project: HeldProject
    files: HeldFiles | None


T = TypeVar("T", HeldProject, HeldFiles)


def held_of(text: str | None, kind: type[T]) -> T | None:
    """What the header says; None where there is none, or nothing that can be read. Pure."""
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except NO_JSON:
        return None
