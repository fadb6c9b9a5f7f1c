"""Parameters of XML-RPC calls, checked: nothing promises a method what it is called with. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from schemas.errors import InvalidName
from schemas.names import NormalizedName, normalize
from sinks.http.xmlrpc.wire import LONG_MAX, WRONG_PARAMETERS, Refusal

TEXT_CHARACTERS_MAX = 1_000  # of a name, a version, a user, a classifier: real ones have 200
LIST_MAX = 100  # of classifiers, of words in one field


def counted(parameters: Sequence[object], least: int, most: int) -> Sequence[object]:
    """The parameters, padded with None; Refusal if there are too few or too many."""
    if not least <= len(parameters) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise wrong(f"{wanted} parameters, not {len(parameters)}")
    return [*parameters, *[None] * (most - len(parameters))]


def text(given: object, name: str) -> str:
    """A text of bounded length."""
    if not isinstance(given, str) or len(given) > TEXT_CHARACTERS_MAX:
        raise wrong(f"{name} is a text of at most {TEXT_CHARACTERS_MAX} characters")
    return given


def texts(given: object, name: str) -> list[str]:
    """A list of some texts."""
    if not isinstance(given, list) or not 1 <= len(given) <= LIST_MAX:
        raise wrong(f"{name} is a list of 1 to {LIST_MAX} texts")
    return [text(each, name) for each in given]


def whole(given: object, name: str) -> int:
    """An integer from 0 to 2**63 - 1."""
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= LONG_MAX:
        raise wrong(f"{name} is an integer from 0 to 2**63 - 1")
    return given


def moment(given: object, name: str) -> int:
    """Unix seconds, rounded down: an integer or a double."""
    if isinstance(given, float) and math.isfinite(given):
        given = math.floor(given)
    return whole(given, name)


def flag(given: object, name: str) -> bool:
    """True, false, 1, 0 or nothing."""
    if given is None or given in (0, 1):  # of True and False, too
        return bool(given)
    raise wrong(f"{name} is a boolean")


def project(given: object, name: str) -> NormalizedName | None:
    """A project's key; None for a text that can be no project's name."""
    try:
        return normalize(text(given, name))
    except InvalidName:
        return None


def wrong(words: str) -> Refusal:
    """The fault for parameters that do not do."""
    return Refusal(WRONG_PARAMETERS, f"server error; invalid method parameters: {words}")
