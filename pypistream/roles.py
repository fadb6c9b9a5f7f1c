"""Which process holds which role on a data directory, read from the locks of `DataDir.hold`."""

from __future__ import annotations

import fcntl
from collections.abc import Iterable
from typing import NamedTuple

from pypistream.data_dir import DataDir

WORKER_ROLE = "process"  # of whoever fetches what is asked for
OWNER_BYTES_MAX = 200  # of a lock file; it says `process 12345`


class Holder(NamedTuple):
    """A live process with a role."""

    role: str
    owner: str


def holders(data: DataDir) -> list[Holder]:
    """The roles that live processes hold now, by name. An unlocked lock file means nothing."""
    found: list[Holder] = []
    for path in sorted(data.state.glob("*.lock")):
        try:
            with path.open("rb") as handle:
                owner = handle.read(OWNER_BYTES_MAX).decode(errors="replace").strip()
                try:
                    # A shared lock, released at once: two lookers do not disturb each other.
                    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    if owner:  # a sink's lock on its own files names none; its role's does
                        found.append(Holder(path.stem, owner))
        except OSError:
            continue  # it has gone, or we may not read it
    return found


def by_process(found: Iterable[Holder]) -> str:
    """For people: `process 12 (process, produce), process 34 (sink-dump)`."""
    roles: dict[str, list[str]] = {}
    for holder in found:
        roles.setdefault(holder.owner, []).append(holder.role)
    return ", ".join(f"{owner} ({', '.join(names)})" for owner, names in roles.items())
