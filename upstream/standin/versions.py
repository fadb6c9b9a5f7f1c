"""Version order as the index has it, and made-up sequences of versions."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from packaging.version import InvalidVersion, Version

from upstream.standin.seeds import likely

PARSED_KEPT = 1 << 16  # made-up versions repeat across projects; parsing is the slow part

CALENDAR_SHARE = 0.08  # of projects
PRERELEASE_SHARE = 0.1  # of projects
PATCH_SHARE, MINOR_SHARE = 0.6, 0.35  # of releases; the rest are major ones

_Key = tuple[bool, bool, bool, Version | str]


@lru_cache(maxsize=PARSED_KEPT)
def parsed(version: str) -> Version | None:
    """The PEP 440 version, None if it is none."""
    try:
        return Version(version)
    except (InvalidVersion, ValueError):
        return None


def is_yanked(files: Sequence[Mapping[str, Any]]) -> bool:
    """A release is yanked when it has files and all of them are."""
    return bool(files) and all(file.get("yanked", False) for file in files)


def latest_version(releases: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Newest by: not yanked first, final before prerelease, then version order.

    What is no PEP 440 version is below all that are. Raises ValueError for no release at all.
    """
    return max(releases, key=lambda version: _key(version, releases[version]))


def _key(version: str, files: Sequence[Mapping[str, Any]]) -> _Key:
    found = parsed(version)
    final = found is not None and not found.is_prerelease
    return (not is_yanked(files), final, found is not None, version if found is None else found)


def version_sequence(random_: random.Random, count: int) -> list[str]:
    """`count` different versions in rising order, most of them final."""
    style = random_.random()
    if style < CALENDAR_SHARE:
        year, month = random_.randrange(2015, 2022), 1
        months = range(month, month + count)
        return [f"{year + number // 12}.{number % 12 + 1}.0" for number in months]
    major, minor, patch = random_.choice(((0, 0, 1), (0, 1, 0), (1, 0, 0)))
    versions: list[str] = []
    while len(versions) < count:
        if style > 1 - PRERELEASE_SHARE and likely(random_, 0.3) and len(versions) + 1 < count:
            versions.append(
                f"{major}.{minor}.{patch}{random_.choice(('a1', 'b1', 'rc1', '.dev0'))}"
            )
        versions.append(f"{major}.{minor}.{patch}")
        draw = random_.random()
        if draw < PATCH_SHARE:
            patch += 1
        elif draw < PATCH_SHARE + MINOR_SHARE:
            minor, patch = minor + 1, 0
        else:
            major, minor, patch = major + 1, 0, 0
    return versions


def next_version(latest: str, *, prerelease: bool = False) -> str:
    """A version above `latest`; above everything usual if `latest` is no PEP 440 version."""
    found = parsed(latest)
    if found is None:
        return "1000.0.1"
    epoch = f"{found.epoch}!" if found.epoch else ""
    release = (*found.release, 0, 0)[:3]
    ending = "rc1" if prerelease else ""
    return f"{epoch}{release[0]}.{release[1]}.{release[2] + 1}{ending}"
