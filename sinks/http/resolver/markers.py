"""Whether a dependency's marker holds in an environment of which only a part may be known. Pure.

Each comparison is packaging's (PEP 508); what joins them is Kleene's logic: `false and unknown` is
false, `true and unknown` unknown. Comparisons and markers recur, so both are remembered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from packaging.markers import InvalidMarker, Marker, UndefinedComparison, default_environment

MARKERS_CACHED_MAX = 4_096  # a few hundred bytes each, 20 KB at most; they recur across projects
COMPARISONS_CACHED_MAX = 16_384  # by comparison and the one value it is about
VARIABLES = frozenset((*default_environment(), "extra"))

# packaging's own spelling of a marker: names, operators, texts in quotes, `and`, `or`, parentheses.
_TOKEN = re.compile(r"""\s*(\(|\)|"[^"]*"|'[^']*'|~=|===?|!=|<=?|>=?|not\s+in\b|[a-z_.]+)""")
_SIDES = 3  # of a comparison: left, operator, right


class _Comparison(NamedTuple):
    """`text` compares `variable` with something."""

    text: str
    variable: str


class _Joined(NamedTuple):
    operator: Literal["and", "or"]
    parts: tuple[_Tree, ...]


_Tree = _Comparison | _Joined


class _NotUnderstood(Exception):
    """A spelling of packaging's that this module does not know."""


def holds(
    marker: str | None, variables: Mapping[str, str], extras: Sequence[str] = ()
) -> bool | None:
    """Give True, False, or None where that hangs on a variable that is not among `variables`.

    With `extras` it holds if it does for one of them, as pip has it; without, for the extra "".
    """
    if marker is None:
        return True
    tree = _tree_of(marker)
    if tree is None:
        return None
    return _either(_evaluate(tree, variables, extra) for extra in extras or ("",))


def _evaluate(tree: _Tree, variables: Mapping[str, str], extra: str) -> bool | None:
    if isinstance(tree, _Comparison):
        value = extra if tree.variable == "extra" else variables.get(tree.variable)
        return None if value is None else _compare(tree, value)
    found = [_evaluate(part, variables, extra) for part in tree.parts]
    if tree.operator == "or":
        return _either(found)
    return False if False in found else None if None in found else True


def _either(found: Iterable[bool | None]) -> bool | None:
    values = list(found)
    return True if True in values else None if None in values else False


@lru_cache(COMPARISONS_CACHED_MAX)
def _compare(comparison: _Comparison, value: str) -> bool | None:
    try:
        return Marker(comparison.text).evaluate({comparison.variable: value})
    except (InvalidMarker, UndefinedComparison, ValueError, RecursionError):
        return None


@lru_cache(MARKERS_CACHED_MAX)
def _tree_of(marker: str) -> _Tree | None:
    """Take a marker in packaging's spelling apart; None if that fails."""
    tokens, at = [], 0
    while at < len(marker):
        match = _TOKEN.match(marker, at)
        if match is None:
            return None
        tokens.append(match[1])
        at = match.end()
    tokens.reverse()
    try:
        tree = _any_of(tokens)
    except (_NotUnderstood, IndexError, RecursionError):
        return None
    return None if tokens else tree


def _any_of(tokens: list[str]) -> _Tree:
    parts = [_all_of(tokens)]
    while tokens and tokens[-1] == "or":
        tokens.pop()
        parts.append(_all_of(tokens))
    return parts[0] if len(parts) == 1 else _Joined("or", tuple(parts))


def _all_of(tokens: list[str]) -> _Tree:
    parts = [_one(tokens)]
    while tokens and tokens[-1] == "and":
        tokens.pop()
        parts.append(_one(tokens))
    return parts[0] if len(parts) == 1 else _Joined("and", tuple(parts))


def _one(tokens: list[str]) -> _Tree:
    if tokens[-1] == "(":
        tokens.pop()
        tree = _any_of(tokens)
        if tokens.pop() != ")":
            raise _NotUnderstood
        return tree
    left, operator, right = (tokens.pop() for _ in range(_SIDES))
    variables = [side for side in (left, right) if side in VARIABLES]
    if len(variables) != 1:
        raise _NotUnderstood
    return _Comparison(f"{left} {operator} {right}", variables[0])
