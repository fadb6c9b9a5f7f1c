"""The Python a query asks for: which wheels fit it, how well, and what its markers are. Pure.

Wheels are ordered by `packaging.tags` as pip does it for `--python-version`, `--platform`,
`--implementation` and `--abi`. One `platform` stands for the machine: `manylinux_2_28_x86_64` also
takes what was built for an older glibc (PEP 600), `musllinux_1_2_*` for an older musl (PEP 656),
`macosx_14_0_arm64` for older systems, as an interpreter there would.

What a query leaves out is not looked at: without `python` neither the interpreter nor the ABI of a
wheel counts, without `platform` its platform does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from packaging import tags
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from schemas.errors import UsageError

ENVIRONMENTS_CACHED_MAX = 64  # 100 KB each, 1 MB at most; making one takes a millisecond
ENVIRONMENT_TAGS_MAX = 6_000  # a Linux of today and a Python of 2026 have 1 500
TAG_SETS_CACHED_MAX = 1_024  # of one environment; real files have some hundred in all
SPECIFIERS_CACHED_MAX = 1_024  # of one environment: texts of requires-python, some hundred are real
TAGS_MAX = 1_000  # of one wheel: its compressed set, written out
PLATFORMS_MAX = 8  # of one query; a real machine is one
ABIS_MAX = 8  # an interpreter has a few
SPECIFIER_CHARACTERS_MAX = 1_000  # a longer requires-python is nobody's, and counts as none

IMPLEMENTATIONS = {"cp": "CPython", "pp": "PyPy", "py": None}
"""What may be asked for, and what a marker calls it; `py` = whatever runs pure Python."""

_PYTHON = re.compile(r"([23])\.([0-9]{1,2})(?:\.([0-9]{1,2}))?")
_WORD = re.compile(r"[a-z0-9_]{1,64}")
_GLIBC = re.compile(r"manylinux_2_([0-9]{1,2})_([a-z0-9_]+)")
_MUSL = re.compile(r"musllinux_1_([0-9]{1,2})_([a-z0-9_]+)")
_APPLE = re.compile(r"(macosx|ios)_([0-9]{1,2})_([0-9]{1,2})_([a-z0-9_]+)")
_ANDROID = re.compile(r"android_([0-9]{1,2})_([a-z0-9_]+)")
_LINUX = re.compile(r"(?:many|musl)?linux(?:[0-9]+|_[0-9]+_[0-9]+)?_([a-z][a-z0-9_]*)")
_LEGACY = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}  # their glibc, 2.x (PEP 600)
_OLDEST_GLIBC = {"x86_64": 5, "i686": 5}
_OLDEST_GLIBC_ELSEWHERE = 17
_WINDOWS = {"win_amd64": "AMD64", "win32": "x86", "win_arm64": "ARM64"}
_ANY_PLATFORM = "*"  # stands for every platform but `any`, where none was asked for
_ANY = "any"


class Asked(NamedTuple):
    """The part of a query that names an environment; what is empty or None was not said."""

    python: str | None = None
    platforms: tuple[str, ...] = ()
    implementation: str | None = None
    abis: tuple[str, ...] = ()


class Environment:
    """What `environment_of` makes; `variables` are the markers' values that are known.

    `python`: major, minor, micro (0 where the query names none, as pip has it), or None.
    """

    def __init__(
        self,
        python: tuple[int, int, int] | None,
        places: Mapping[str, int] | None,
        variables: Mapping[str, str],
        *,
        any_platform: bool = False,
    ) -> None:
        self.python = python
        self.variables = variables
        self.source_place = len(places) if places is not None else 1
        """Place of a source archive: behind every wheel that fits."""
        self._places = places
        self._any_platform = any_platform
        self._version = None if python is None else ".".join(map(str, python))
        # Caches of its own, so that they go when it goes.
        self.place = lru_cache(TAG_SETS_CACHED_MAX)(self._place)
        self._takes_text = lru_cache(SPECIFIERS_CACHED_MAX)(self._contains)

    @property
    def py_version(self) -> str | None:
        """`3.11`, or None."""
        return None if self.python is None else f"{self.python[0]}.{self.python[1]}"

    def _place(self, tag_set: str) -> int | None:
        """Place of a wheel by its tags (`py2.py3-none-any`), 0 is best; None = it does not fit.

        None for what is no tag set either.
        """
        try:
            found = tags.parse_tag(tag_set, limit=TAGS_MAX)
        except ValueError:  # also what packaging raises for too many
            return None
        if self._places is None:
            return 0
        return min(self._places_of(found), default=None)

    def _places_of(self, found: Iterable[tags.Tag]) -> Iterator[int]:
        assert self._places is not None
        for tag in found:
            if self.python is None:
                key = tag.platform
            elif self._any_platform and tag.platform != _ANY:
                key = f"{tag.interpreter}-{tag.abi}-{_ANY_PLATFORM}"
            else:
                key = str(tag)
            place = self._places.get(key)
            if place is not None:
                yield place

    def takes(self, requires_python: str | None) -> bool:
        """Whether a file's `requires_python` allows this Python; unparsable text allows all."""
        if not requires_python or self._version is None:
            return True
        # Before the cache, which would keep it.
        return len(requires_python) > SPECIFIER_CHARACTERS_MAX or self._takes_text(requires_python)

    def _contains(self, requires_python: str) -> bool:
        assert self._version is not None
        try:
            return SpecifierSet(requires_python).contains(self._version)
        except (InvalidSpecifier, ValueError, RecursionError):
            return True


@lru_cache(ENVIRONMENTS_CACHED_MAX)
def environment_of(asked: Asked) -> Environment:
    """Make the environment that a query names. Raises UsageError."""
    python = None if asked.python is None else _python(asked.python)
    if python is None and (asked.implementation or asked.abis):
        hint = "add python=3.13, for example"
        raise UsageError("implementation and abi say nothing without python", hint=hint)
    implementation = asked.implementation or "cp"
    if implementation not in IMPLEMENTATIONS:
        known = ", ".join(IMPLEMENTATIONS)
        raise UsageError(f"no implementation {implementation[:20]!r}", hint=f"one of {known}")
    _check_words("platform", asked.platforms, PLATFORMS_MAX)
    _check_words("abi", asked.abis, ABIS_MAX)
    platforms = tuple(dict.fromkeys(p for each in asked.platforms for p in expand(each)))
    variables = {
        **_python_variables(python, implementation),
        **_platform_variables(asked.platforms),
    }
    if python is None:
        named = {each: place for place, each in enumerate((*platforms, _ANY))}
        return Environment(None, named if platforms else None, variables)
    # A tag for each platform and ABI, for each older Python twice, and some.
    if len(platforms) * (len(asked.abis) + 2 * python[1] + 4) > ENVIRONMENT_TAGS_MAX:
        hint = (
            f"at most {ENVIRONMENT_TAGS_MAX} tags: name fewer platforms, or one of a real machine"
        )
        raise UsageError("too many tags fit this environment", hint=hint)
    order = supported(python[:2], implementation, asked.abis, platforms or (_ANY_PLATFORM,))
    places = {str(tag): place for place, tag in enumerate(order)}
    return Environment(python, places, variables, any_platform=not platforms)


def supported(
    python: tuple[int, int], implementation: str, abis: Sequence[str], platforms: Sequence[str]
) -> list[tags.Tag]:
    """Give the tags such an interpreter takes, best first: what pip makes of the same options."""
    nodot = f"{python[0]}{python[1]}"
    if implementation == "cp":
        chosen = list(abis) or _default_abis(python)
        first = tags.cpython_tags(python, chosen, platforms)
    elif implementation == "pp":
        # Its ABI has the version of PyPy in it; 7.3 is the only one since 2020.
        chosen = list(abis) or [f"pypy{nodot}_pp73"]
        first = tags.generic_tags(f"pp{nodot}", chosen, platforms)
    else:
        first = tags.generic_tags(f"py{nodot}", list(abis) or ["none"], platforms)
    rest = tags.compatible_tags(python, f"{implementation}{nodot}", platforms)
    return list(dict.fromkeys((*first, *rest)))


def expand(platform: str) -> list[str]:
    """Give the platform tags that a machine of this one takes, best first."""
    legacy, _, arch = platform.partition("_")
    if legacy in _LEGACY and arch:
        return list(_manylinux(_LEGACY[legacy], arch))
    if match := _GLIBC.fullmatch(platform):
        return list(_manylinux(int(match[1]), match[2]))
    if match := _MUSL.fullmatch(platform):
        minors = range(int(match[1]), -1, -1)
        return [f"linux_{match[2]}", *(f"musllinux_1_{minor}_{match[2]}" for minor in minors)]
    if match := _APPLE.fullmatch(platform):
        version, arch = (int(match[2]), int(match[3])), match[4]
        if match[1] == "macosx":
            return list(tags.mac_platforms(version, arch))
        return list(tags.ios_platforms(version, arch))
    if match := _ANDROID.fullmatch(platform):
        return list(tags.android_platforms(int(match[1]), match[2]))
    return [platform]


def _manylinux(glibc_minor: int, arch: str) -> Iterator[str]:
    yield f"linux_{arch}"
    oldest = _OLDEST_GLIBC.get(arch, _OLDEST_GLIBC_ELSEWHERE)
    aliases = {minor: name for name, minor in _LEGACY.items()}
    for minor in range(glibc_minor, oldest - 1, -1):
        yield f"manylinux_2_{minor}_{arch}"
        if minor in aliases:
            yield f"{aliases[minor]}_{arch}"


def _default_abis(python: tuple[int, int]) -> list[str]:
    """Give what an interpreter built without special options has."""
    nodot = f"{python[0]}{python[1]}"
    if python >= (3, 8):
        return [f"cp{nodot}"]
    return [f"cp{nodot}m"] if python >= (3, 3) else [f"cp{nodot}mu", f"cp{nodot}m"]


def _python(text: str) -> tuple[int, int, int]:
    match = _PYTHON.fullmatch(text)
    if match is None:
        raise UsageError(
            f"python is {text[:40]!r}",
            hint="a version with its minor: python=3.13 or python=3.13.1",
        )
    return int(match[1]), int(match[2]), int(match[3] or 0)


def _check_words(parameter: str, words: Sequence[str], most: int) -> None:
    if len(words) > most:
        raise UsageError(f"{len(words)} times {parameter}", hint=f"at most {most}")
    for word in words:
        if _WORD.fullmatch(word) is None:
            raise UsageError(
                f"{parameter} is {word[:40]!r}",
                hint="as in a wheel's name: manylinux_2_28_x86_64, macosx_14_0_arm64, win_amd64",
            )


def _python_variables(python: tuple[int, int, int] | None, implementation: str) -> dict[str, str]:
    if python is None:
        return {}
    full = ".".join(map(str, python))
    found = {"python_version": f"{python[0]}.{python[1]}", "python_full_version": full}
    named = IMPLEMENTATIONS[implementation]
    if named is not None:
        found["platform_python_implementation"] = named
        found["implementation_name"] = named.lower()
    if implementation == "cp":  # the version of PyPy is not the version of its Python
        found["implementation_version"] = full
    return found


def _platform_variables(platforms: Sequence[str]) -> dict[str, str]:
    """Give what is the same for all of the platforms."""
    each = [_variables_of(platform) for platform in platforms]
    if not each:
        return {}
    return {
        name: value
        for name, value in each[0].items()
        if all(other.get(name) == value for other in each)
    }


def _variables_of(platform: str) -> dict[str, str]:
    if platform in _WINDOWS:
        return _named("nt", "win32", "Windows", _WINDOWS[platform])
    if match := _LINUX.fullmatch(platform):
        return _named("posix", "linux", "Linux", match[1])
    if match := _APPLE.fullmatch(platform):
        if match[1] == "ios":  # `arm64_iphoneos`
            return _named("posix", "ios", "iOS", match[4].partition("_")[0])
        return _named("posix", "darwin", "Darwin", match[4])
    if _ANDROID.fullmatch(platform):
        return {"os_name": "posix", "sys_platform": "android", "platform_system": "Android"}
    return {}


def _named(os_name: str, sys_platform: str, system: str, machine: str) -> dict[str, str]:
    return {
        "os_name": os_name,
        "sys_platform": sys_platform,
        "platform_system": system,
        "platform_machine": machine,
    }
