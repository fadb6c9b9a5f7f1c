"""Bringing a living stand-in to rest, so that there is one truth to compare with."""

from __future__ import annotations

import time

from tests.support.standin import Running
from upstream.standin.world import Status

REST_SECONDS_MAX = 60.0  # the rows of one upload come within two


def rest(site: Running) -> None:
    """No more changes by themselves; those begun are made to their end.

    What changed without a journal row only a sweep could find: one row more tells of it.
    """
    site.control("rate", {"changes_per_second": 0})
    end = time.monotonic() + REST_SECONDS_MAX
    while site.app.living._pending:
        assert time.monotonic() < end, "changes do not come to an end"
        time.sleep(0.05)
    for name in silently_changed(site):
        site.change("role", name)


def silently_changed(site: Running) -> list[str]:
    """Names of live projects that had a change without a journal row."""
    found = []
    for name, project in list(site.app.world.projects.items()):
        serials = [edition.serial for edition in project.editions]
        if len(set(serials)) < len(serials) and project.edition.status in {
            Status.OK,
            Status.NO_RELEASES,
        }:
            found.append(name)
    return found
