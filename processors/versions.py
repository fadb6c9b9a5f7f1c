"""The order of the releases of one project, total and the same everywhere.

PEP 440 decides between versions. A text that is no version sorts below all that are; two such
texts sort by code point. `version_key` is equal for versions that PEP 440 calls equal (`1.0`,
`1.0.0`) although the texts differ; where one order is needed, the text breaks the tie.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TypeAlias

from packaging.version import InvalidVersion, Version

VERSION_CHARACTERS_MAX = 200  # the longest of 886 000 latest versions has 96; a guard, not a rule
# The same version texts recur in many projects. A miss costs about a microsecond, each text that is
# kept some 400 bytes.
KEYS_KEPT = 16_384

VersionKey: TypeAlias = tuple[int, int, tuple[int, ...] | str, tuple[object, ...]]
"""(1, epoch, release, rest) for a PEP 440 version, (0, 0, text, ()) for any other text."""

# The canonical spelling of PEP 440 without epoch and local part: all but a few of the versions in
# use, at a fifth of what packaging's own parser costs. Everything else goes through packaging.
_COMMON = re.compile(
    r"([0-9]+(?:\.[0-9]+)*)(?:(a|b|rc)([0-9]+))?(?:\.post([0-9]+))?(?:\.dev([0-9]+))?"
)
_DEV_ONLY, _NO_PRE = (-1,), (1,)  # around (0, letter, number): a final follows its pre-releases
_NO_POST, _NO_DEV = -1, (1,)
_FINAL = (_NO_PRE, _NO_POST, _NO_DEV, ())


@lru_cache(maxsize=KEYS_KEPT)
def version_key(text: str) -> VersionKey:
    """Sort key of a release; never raises. Longer than VERSION_CHARACTERS_MAX = not a version."""
    if len(text) > VERSION_CHARACTERS_MAX:
        return (0, 0, text, ())
    if common := _COMMON.fullmatch(text):
        release, letter, pre, post, dev = common.groups()
        key = _significant(tuple(map(int, release.split("."))))
        if letter is None and post is None and dev is None:
            return (1, 0, key, _FINAL)
        rest = _rest(
            None if letter is None else (letter, int(pre)),
            None if post is None else int(post),
            None if dev is None else int(dev),
        )
        return (1, 0, key, rest)
    try:
        version = Version(text)
    except (InvalidVersion, ValueError, RecursionError):
        return (0, 0, text, ())
    rest = _rest(version.pre, version.post, version.dev, version.local)
    return (1, version.epoch, _significant(version.release), rest)


def is_version(text: str) -> bool:
    """True if `text` is a PEP 440 version that we order as one."""
    return version_key(text)[0] == 1


def ascending(versions: Iterable[str]) -> list[str]:
    """Lowest first; versions that PEP 440 calls equal by code point."""
    return sorted(sorted(versions), key=version_key)


def not_below(ordered: Sequence[str], latest: str) -> Sequence[str]:
    """The end of `ordered` (ascending) that starts at the first version not below `latest`."""
    least = version_key(latest)
    begin = len(ordered)
    while begin and version_key(ordered[begin - 1]) >= least:
        begin -= 1
    return ordered[begin:]


def _significant(release: tuple[int, ...]) -> tuple[int, ...]:
    end = len(release)
    while end and release[end - 1] == 0:
        end -= 1
    return release[:end]


def _rest(
    pre: tuple[str, int] | None, post: int | None, dev: int | None, local: str | None = None
) -> tuple[object, ...]:
    """PEP 440's order of suffixes: dev of a final < pre < final < post; any dev before its own."""
    if pre is not None:
        first: tuple[object, ...] = (0, *pre)
    elif dev is not None and post is None:
        first = _DEV_ONLY
    else:
        first = _NO_PRE
    last = _NO_DEV if dev is None else (0, dev)
    return (first, _NO_POST if post is None else post, last, _local(local))


def _local(local: str | None) -> tuple[tuple[int, int, str], ...]:
    if local is None:
        return ()
    return tuple(
        (1, int(part), "") if part.isdigit() else (0, 0, part) for part in local.split(".")
    )
