"""The order of the releases of one project, total and the same everywhere.

PEP 440 decides between versions. A text that is no version sorts below all that are; two such
texts sort by code point. `version_key` is equal for versions that PEP 440 calls equal (`1.0`,
`1.0.0`) although the texts differ; where one order is needed, the text breaks the tie.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias

from packaging.version import InvalidVersion, Version

VERSION_CHARACTERS_MAX = 200  # of 886 000 latest versions the longest has 96; a guard, not a rule

VersionKey: TypeAlias = tuple[int, int, tuple[int, ...] | str, tuple[object, ...]]
"""(1, epoch, release, rest) for a PEP 440 version, (0, 0, text, ()) for any other text."""

_PLAIN = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_DEV_ONLY, _NO_PRE = (-1,), (1,)  # around (0, letter, number): a final follows its pre-releases
_NO_POST, _NO_DEV = -1, (1,)
_FINAL = (_NO_PRE, _NO_POST, _NO_DEV, ())


@lru_cache(maxsize=65_536)  # version texts recur across projects; a miss costs about a microsecond
def version_key(text: str) -> VersionKey:
    """Sort key of a release; never raises. Longer than VERSION_CHARACTERS_MAX = not a version."""
    if len(text) > VERSION_CHARACTERS_MAX:
        return (0, 0, text, ())
    if _PLAIN.fullmatch(text):
        return (1, 0, _significant(tuple(map(int, text.split(".")))), _FINAL)
    try:
        version = Version(text)
    except (InvalidVersion, ValueError, RecursionError):
        return (0, 0, text, ())
    return (1, version.epoch, _significant(version.release), _rest(version))


def is_version(text: str) -> bool:
    """True if `text` is a PEP 440 version that we order as one."""
    return version_key(text)[0] == 1


def ascending(versions: Iterable[str]) -> list[str]:
    """Lowest first; versions that PEP 440 calls equal by code point."""
    return sorted(versions, key=lambda text: (version_key(text), text))


def _significant(release: tuple[int, ...]) -> tuple[int, ...]:
    end = len(release)
    while end and release[end - 1] == 0:
        end -= 1
    return release[:end]


def _rest(version: Version) -> tuple[object, ...]:
    """PEP 440's order of suffixes: dev of a final < pre < final < post; any dev before its own."""
    pre: tuple[object, ...] = _NO_PRE
    if version.pre is not None:
        pre = (0, *version.pre)
    elif version.dev is not None and version.post is None:
        pre = _DEV_ONLY
    dev = _NO_DEV if version.dev is None else (0, version.dev)
    post = _NO_POST if version.post is None else version.post
    return (pre, post, dev, _local(version.local))


def _local(local: str | None) -> tuple[tuple[int, int, str], ...]:
    if local is None:
        return ()
    return tuple(
        (1, int(part), "") if part.isdigit() else (0, 0, part) for part in local.split(".")
    )
