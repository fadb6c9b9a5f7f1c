"""PEP 440 in SQL: the kind of a version, and a text that sorts as versions do.

It uses no lambdas: each of their two spellings is unknown to some DuckDB from 1.2 to 2.
"""

from __future__ import annotations

_PRE = r"(?:[-_.]?(a|b|c|rc|alpha|beta|pre|preview)[-_.]?([0-9]*))"
_NAMED_POST = "[-_.]?(post|rev|r)[-_.]?([0-9]*)"
_POST = rf"(?:-([0-9]+)|{_NAMED_POST})"
# What may precede `-N` for it to be a post-release: 1a-2 is the second alpha.
_NUMBERED_PRE = "(?:[-_.]?(?:a|b|c|rc|alpha|beta|pre|preview)(?:[-_.]|[-_.]?[0-9]+))"
_DEV = r"(?:[-_.]?(dev)[-_.]?([0-9]*))"
_LOCAL = r"(?:[+]([a-z0-9]+(?:[-_.][a-z0-9]+)*))"
_GROUPS = ("epoch", "number", "pre", "pre_n", "post_n1", "post", "post_n", "dev", "dev_n", "local")
DIGITS_MAX = 20  # of a number in a version that is ordered; dates with a time have 14


def _pattern(kind: str) -> str:
    return rf"\s*v?(?:([0-9]+)!)?([0-9]+(?:[.][0-9]+)*){kind}{_LOCAL}?\s*"


def _is(kind: str) -> str:
    # Matching alone is ten times as fast as extracting the parts.
    return f"coalesce(regexp_full_match(lower(version), '{_pattern(kind)}'), false)"


_ANY = _pattern(f"{_PRE}?{_POST}?{_DEV}?")
IS_PEP440 = _is(f"{_PRE}?{_POST}?{_DEV}?")
IS_PRERELEASE = _is(f"(?:{_PRE}{_POST}?{_DEV}?|{_POST}?{_DEV})")
IS_POSTRELEASE = _is(f"(?:{_PRE}?{_NAMED_POST}|{_NUMBERED_PRE}?-[0-9]+){_DEV}?")
IS_DEVRELEASE = _is(f"{_PRE}?{_POST}?{_DEV}")

_PARTS = f"regexp_extract(lower(version), '^{_ANY}$', {list(_GROUPS)})"


def _part(name: str) -> str:
    return f"({_PARTS}).{name}"


def _padded(digits: str) -> str:
    return f"lpad(ltrim({digits}, '0'), {DIGITS_MAX}, '0')"


def _each_padded(text: str, before: str) -> str:
    """`text` with every number after `before` (one character) padded to full width."""
    zeros = "0" * DIGITS_MAX
    more = rf"regexp_replace({text}, '[{before}]([0-9]+)', '{before}{zeros}\1', 'g')"
    return rf"regexp_replace({more}, '[{before}]0*([0-9]{{{DIGITS_MAX}}})', '{before}\1', 'g')"


_SHORTEST = f"regexp_replace({_part('number')}, '([.]0+)*$', '')"  # 1.0 is 1
_NUMBER = _each_padded(f"'r' || replace({_SHORTEST}, '.', 'r')", "r")
_HAS_POST = f"({_part('post')} <> '' OR {_part('post_n1')} <> '')"
_PRE_KEY = (
    f"CASE WHEN {_part('pre')} <> '' THEN"
    # alpha and beta by their first letter; the others are all candidates
    f" CASE {_part('pre')}[1] WHEN 'a' THEN 'a' WHEN 'b' THEN 'b' ELSE 'c' END"
    f" || {_padded(_part('pre_n'))}"
    f" WHEN {_part('dev')} <> '' AND NOT {_HAS_POST} THEN '-' ELSE 'p' END"
)
_POST_N = f"{_part('post_n1')} || {_part('post_n')}"  # only one of them is there
_POST_KEY = f"CASE WHEN {_HAS_POST} THEN {_padded(_POST_N)} ELSE '-' END"
_DEV_KEY = f"CASE WHEN {_part('dev')} <> '' THEN {_padded(_part('dev_n'))} ELSE '~' END"
# Each segment between dots of its own; a word before (:) any number (;).
_SEGMENTS = f"'.' || regexp_replace({_part('local')}, '[-_.]', '..', 'g') || '.'"
_MARKED = (
    rf"regexp_replace(regexp_replace({_SEGMENTS}, '[.]([a-z0-9]*[a-z][a-z0-9]*)[.]', '.:\1.', 'g'),"
    r" '[.]([0-9]+)[.]', '.;\1.', 'g')"
)
_LOCAL_KEY = f"CASE WHEN {_part('local')} <> '' THEN {_each_padded(_MARKED, ';')} ELSE '' END"

# Nine of ten versions are two or three short numbers, which takes a twentieth of the time.
_USUAL = r"[0-9]{1,18}[.][0-9]{1,18}([.][0-9]{1,18})?"
_FIRST, _SECOND, _THIRD = (_padded(f"split_part(version, '.', {place})") for place in (1, 2, 3))
_NONE = "'" + "0" * DIGITS_MAX + "'"
_USUAL_NUMBER = (
    f"'r' || {_FIRST} || CASE WHEN {_THIRD} <> {_NONE} THEN 'r' || {_SECOND} || 'r' || {_THIRD}"
    f" WHEN {_SECOND} <> {_NONE} THEN 'r' || {_SECOND} ELSE '' END"
)

KEY = (
    f"CASE WHEN regexp_full_match(version, '{_USUAL}') THEN {_NONE} || {_USUAL_NUMBER} || 'p-~'"
    f" WHEN {IS_PEP440} AND NOT regexp_matches(version, '[0-9]{{{DIGITS_MAX + 1}}}') THEN"
    f" {_padded(_part('epoch'))} || {_NUMBER} || {_PRE_KEY} || {_POST_KEY} || {_DEV_KEY}"
    f" || {_LOCAL_KEY} END"
)
"""Of `version`: of two such texts the lower is the earlier version. NULL: no version (PEP 440), or
a number of more than DIGITS_MAX digits."""
