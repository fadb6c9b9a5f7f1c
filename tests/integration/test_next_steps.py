"""What a person is told who has just begun: what is held, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import command, refused, started
from tests.support.standin import Running, standin

PROJECTS = 40
SECONDS_MAX = 60.0
ONCE = ("--once", "--once-wait", "0")


@pytest.fixture(scope="module")
def site() -> Iterator[Running]:
    """Upstream, where nothing changes."""
    with standin(projects=PROJECTS, changes_per_second=0) as running:
        yield running


def run(site: Running, *more: str) -> tuple[str, ...]:
    flags = ("--data", "d", "--rate", "0", "--poll", "1", "--settle", "0.2", "--sweep-every", "0")
    return ("run", *flags, "--upstream", site.url, *more)


def test_a_filter_that_the_directory_remembers_is_said_at_the_start(
    site: Running, tmp_path: Path
) -> None:
    """Else a backfill on it would look like all of PyPI; another filter is refused in words."""
    narrow = command(*run(site, *ONCE, "--include", "loopback-*"), cwd=tmp_path)
    again = command(*run(site, *ONCE), cwd=tmp_path)
    other = refused(
        *run(site, *ONCE, "--include", "a*", "--exclude", "ab*"),
        cwd=tmp_path,
        code=1,
        says="this log was made for only loopback-*, asked for is only a*, without ab*",
        hint="use a new --data directory",
    )

    assert narrow.returncode == again.returncode == 0, again.stderr
    begun = [line for line in again.stderr.splitlines() if "following from serial" in line]
    assert [line.endswith(", only loopback-*") for line in begun] == [True]
    assert "Filter(" not in other
