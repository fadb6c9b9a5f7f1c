"""A requirement as it is written, taken apart as far as that goes (PEP 508). Pure.

The text is always kept: 1 of 5 real documents has spellings of the old index, some of which no
parser takes (`pytz (>dev)`). Where parsing fails, all parts are None but for
`parse_error`.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec
from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

REQUIREMENT_CHARACTERS_MAX = 4_096  # longer ones are kept and not parsed: parsing is not linear
PARENTHESES_MAX = 16  # packaging recurses per parenthesis; 500 exhaust the stack
PARSE_ERROR_CHARACTERS_MAX = 200  # the reason may hold what it is about
CACHED_PARTS_MAX = 8_192  # specifiers and markers of their own recur far more than whole texts

_EXTRA = re.compile(r"""\bextra\s*==\s*(?:"([^"]*)"|'([^']*)')""")

# What nearly all are, so that packaging parses only specifiers and markers, which recur: five times
# faster. Whatever is not exactly this goes to packaging as a whole; a test compares the two ways.
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_CLAUSE = r"(?:~=|==|!=|<=|>=|<|>)[ ]*[A-Za-z0-9.*+!_-]+"
_CLAUSES = rf"{_CLAUSE}(?:[ ]*,[ ]*{_CLAUSE})*"
_USUAL = re.compile(
    rf"({_NAME})[ ]*(?:\[[ ]*({_NAME}(?:[ ]*,[ ]*{_NAME})*)[ ]*\])?"
    rf"[ ]*(?:\([ ]*({_CLAUSES})[ ]*\)|({_CLAUSES}))?[ ]*(?:;(.*))?"
)


class Dependency(msgspec.Struct, frozen=True):
    """`requirement` is the text as upstream has it; None elsewhere = not there, or not parsable.

    dependency  normalised name of what is required
    specifier   version specifiers in packaging's canonical order, "" = any version
    extras      of the dependency, sorted
    marker      environment marker in packaging's spelling
    extra       the extra of this project that asks for it: the first that the marker names
    url         of a direct reference
    parse_error why it could not be taken apart
    """

    requirement: str
    dependency: str | None = None
    specifier: str | None = None
    extras: tuple[str, ...] | None = None
    marker: str | None = None
    extra: str | None = None
    url: str | None = None
    parse_error: str | None = None


def parse(requirement: str) -> Dependency:
    """Take a requirement apart. Never raises."""
    if len(requirement) > REQUIREMENT_CHARACTERS_MAX:
        return _refused(requirement, f"more than {REQUIREMENT_CHARACTERS_MAX} characters")
    if requirement.count("(") > PARENTHESES_MAX:
        return _refused(requirement, f"more than {PARENTHESES_MAX} parentheses")
    try:
        usual = _USUAL.fullmatch(requirement)
        if usual is None:
            return _as_packaging_does(requirement)
        name, extras, bracketed, bare, marker = usual.groups()
        written, extra = (None, None) if marker is None else _marker(marker)
        return Dependency(
            requirement,
            dependency=canonicalize_name(name),
            specifier=_specifier(bracketed or bare or ""),
            extras=_extras(extras),
            marker=written,
            extra=extra,
        )
    except (
        InvalidRequirement,
        InvalidSpecifier,
        InvalidMarker,
        ValueError,
        RecursionError,
    ) as error:
        return _refused(requirement, str(error))  # ValueError: a number of 5000 digits


def _refused(requirement: str, reason: str) -> Dependency:
    line = reason.partition("\n")[0][:PARSE_ERROR_CHARACTERS_MAX]  # then comes a picture of it
    return Dependency(requirement, parse_error=line)


def _as_packaging_does(requirement: str) -> Dependency:
    parsed = Requirement(requirement)
    marker = None if parsed.marker is None else str(parsed.marker)
    return Dependency(
        requirement,
        dependency=canonicalize_name(parsed.name),
        specifier=str(parsed.specifier),
        extras=tuple(sorted(parsed.extras)),
        marker=marker,
        extra=_extra_of(marker),
        url=parsed.url,
    )


def _extras(listed: str | None) -> tuple[str, ...]:
    return () if listed is None else tuple(sorted({each.strip() for each in listed.split(",")}))


@lru_cache(maxsize=CACHED_PARTS_MAX)
def _specifier(text: str) -> str:
    return str(SpecifierSet(text))


@lru_cache(maxsize=CACHED_PARTS_MAX)
def _marker(text: str) -> tuple[str, str | None]:
    marker = str(Marker(text))
    return marker, _extra_of(marker)


def _extra_of(marker: str | None) -> str | None:
    named = None if marker is None else _EXTRA.search(marker)
    return None if named is None else named[1] or named[2] or ""
