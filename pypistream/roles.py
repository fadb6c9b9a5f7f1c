"""Which process holds which role on a data directory: the locks of `DataDir.hold`, looked at."""

from __future__ import annotations

import fcntl
from collections.abc import Iterable
from typing import NamedTuple

from pypistream.data_dir import DataDir

OWNER_BYTES_MAX = 200  # of a lock file; it says `process 12345`


class Holder(NamedTuple):
    """A live process with a role."""

    role: str
    owner: str


def holders(data: DataDir) -> list[Holder]:
    """Roles that a live process holds now, by name. A lock file alone means nothing."""
    found: list[Holder] = []
    for path in sorted(data.state.glob("*.lock")):
        try:
            with path.open("rb") as handle:
                owner = handle.read(OWNER_BYTES_MAX).decode(errors="replace").strip()
                try:
                    # Shared, and let go of at once: lookers do not see each other.
                    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    if owner:  # a sink's own lock on its files says nothing; its role does
                        found.append(Holder(path.stem, owner))
        except OSError:
            continue  # it went away, or is not ours to read: nothing can be said about it
    return found


def by_process(found: Iterable[Holder]) -> str:
    """Readable: `process 12 (process, produce), process 34 (sink-dump)`."""
    roles: dict[str, list[str]] = {}
    for holder in found:
        roles.setdefault(holder.owner, []).append(holder.role)
    return ", ".join(f"{owner} ({', '.join(names)})" for owner, names in roles.items())
