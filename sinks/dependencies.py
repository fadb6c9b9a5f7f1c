"""Parses a requirement as far as that is possible (PEP 508). Pure.

The text is always kept: 1 of 5 real documents has spellings of the old index, some of which no
parser accepts (`pytz (>dev)`). If parsing fails, all parts but `parse_error` are None.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec
from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

REQUIREMENT_CHARACTERS_MAX = 4_096  # longer ones are kept unparsed: parsing is not linear
PARENTHESES_MAX = 16  # packaging recurses per parenthesis; 500 exhaust the stack
PARSE_ERROR_CHARACTERS_MAX = 200  # the reason may quote the requirement
CACHED_PARTS_MAX = 8_192  # specifiers and markers recur far more often than whole texts

_EXTRA = re.compile(r"""\bextra\s*==\s*(?:"([^"]*)"|'([^']*)')""")

# The form of nearly all requirements. It leaves only specifiers and markers to packaging, and since
# these recur that is five times faster. Any other text is parsed by packaging as a whole; a test
# compares the two ways.
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
    """Parse a requirement. Never raises."""
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
    line = reason.partition("\n")[0][:PARSE_ERROR_CHARACTERS_MAX]  # then a drawing of it
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
