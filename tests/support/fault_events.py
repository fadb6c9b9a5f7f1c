"""Sixty changes of every kind that writes a journal row, in an order that a seed sets.

What writes no row (an advisory, an organisation, a new field) is found by a sweep alone and is not
among them (tests/e2e/test_sweep.py). A project that loses its last release is not either: that 404
is believed after five minutes only (DESIGN: "404"), which no test of a minute can wait for.
"""

from __future__ import annotations

import random
import time

from tests.support.published import Truth, truths
from tests.support.standin import Reply, Site

COUNTS = {
    "release": 14, "prerelease": 2, "create": 6, "add-file": 4, "yank": 4, "unyank": 2,
    "remove-file": 3, "remove-release": 3, "release-quarantine": 2, "release-unquarantine": 1,
    "remove-project": 4, "recreate": 4, "quarantine": 3, "unquarantine": 2, "role": 3,
    "non-ascii": 1, "free-text": 1, "nuke-user": 1,
}  # fmt: skip
SPREAD = 0.4  # of the time that the rows of one upload take at PyPI: 0.7 s
SPREAD_SECONDS_MAX = 1.0
SHRINKING = {"remove-release", "release-quarantine"}
UNSUITABLE = 409


def event_kinds(generator: random.Random) -> list[str]:
    """Kinds of change in the order in which they are made."""
    kinds = [kind for kind, count in COUNTS.items() for _ in range(count)]
    generator.shuffle(kinds)
    return kinds


def make_event(site: Site, kind: str, generator: random.Random) -> str:
    """Make one change of this kind, or a release where no project suits; what was made."""
    project = _with_releases(site, generator) if kind in SHRINKING else None
    if kind in SHRINKING and project is None:
        kind = "release"
    while True:
        answer = _change(site, kind, project)
        if answer.status != UNSUITABLE:
            assert answer.status == 200, answer.body
            return kind
        kind, project = "release", None


def _change(site: Site, kind: str, project: str | None) -> Reply:
    body = {"kind": kind, "project": project, "spread": SPREAD}
    return site.ask_control("change", body)


def _with_releases(site: Site, generator: random.Random) -> str | None:
    """A project that would keep a release if its latest went."""
    found = [name for name, true in all_truth(site).items() if _releases(true) > 1]
    return generator.choice(found) if found else None


def _releases(true: Truth) -> int:
    return len((true.document or {}).get("releases", {}))


def last_serial(site: Site) -> int:
    """The newest serial, once the rows of the last upload are written."""
    before, serial = -1, int(site.control("serial")["serial"])
    while before != serial:
        time.sleep(SPREAD_SECONDS_MAX / 2)
        before, serial = serial, int(site.control("serial")["serial"])
    return serial


def all_truth(site: Site) -> dict[str, Truth]:
    """What is true of every name now."""
    return truths(site.ask("/_control/truth").body)


def touch_all(site: Site) -> None:
    """One more change of every project that has a document.

    Those without a serial of their own come last: a header may have claimed a higher one for them.
    """
    served = [true for true in all_truth(site).values() if true.document is not None]
    for true in sorted(served, key=lambda true: "last_serial" not in (true.document or {})):
        site.change("role", true.name)
