"""A query's parameters, of an address or of a JSON object, checked. Pure.

Every name is known and every value bounded; what is not is refused with a hint, for a resolver that
believes it asked for wheels of another platform is worse off than one that gets a 400.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, get_args

from schemas.errors import InvalidName, UsageError
from schemas.names import normalize
from sinks.http.parameters import check_known
from sinks.http.resolver.decide import Query, Yanked, moment_of, specifier_of
from sinks.http.resolver.environment import Asked, environment_of

FILES_DEFAULT = 100  # enough for every candidate of most projects that an installer would try
FILES_MAX = 5_000  # of one answer: some 3 MB
EXTRAS_MAX = 50  # nobody asks for so many
VALUE_CHARACTERS_MAX = 1_000  # of any one value; the specifier is the longest

SINGLE = (
    "project",
    "version",
    "python",
    "implementation",
    "yanked",
    "prerelease",
    "before",
    "limit",
)
SEVERAL = ("platform", "abi", "extra")
PARAMETERS = frozenset((*SINGLE, *SEVERAL))

_YANKED = {"true": "include", "false": "exclude"}
_PRERELEASE = {"auto": None, "true": True, "false": False}

Given = Mapping[str, Sequence[str]]
"""Values by parameter; one that is not there was not given."""


def given_of_pairs(pairs: Iterable[tuple[str, str]]) -> Given:
    """Gather the parameters of an address. Raises UsageError for names that are none."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    _check(found)
    return found


def given_of_object(value: object, common: Given | None = None) -> Given:
    """Read the parameters of a JSON object, on top of `common`. Raises UsageError.

    A value is a text, a number, true or false, for those that may come several times a list of
    texts; null is as if it were not there.
    """
    if not isinstance(value, dict):
        raise UsageError("a query is an object", hint='{"project": "requests", "python": "3.13"}')
    found = dict(common or {})
    for name, each in value.items():
        texts = [_text(name, one) for one in (each if isinstance(each, list) else [each])]
        kept = [text for text in texts if text is not None]
        if kept:
            found[name] = kept
    _check(found)
    return found


def query_of(given: Given) -> Query:
    """Read a query. Raises UsageError, and InvalidName for `project`."""
    return Query(
        project=normalize(_one(given, "project") or _missing()),
        environment=environment_of(
            Asked(
                python=_one(given, "python"),
                platforms=tuple(_platform(each) for each in given.get("platform", ())),
                implementation=_one(given, "implementation"),
                abis=tuple(given.get("abi", ())),
            )
        ),
        specifier=specifier_of(_one(given, "version") or ""),
        limit=_limit(_one(given, "limit")),
        extras=_extras(given.get("extra", ())),
        yanked=_yanked(_one(given, "yanked")),
        prerelease=_prerelease(_one(given, "prerelease")),
        before=_before(_one(given, "before")),
    )


def _check(found: Mapping[str, Sequence[str]]) -> None:
    check_known(found, PARAMETERS)
    for name, values in found.items():
        if name in SINGLE and len(values) > 1:
            raise UsageError(f"{name} is there {len(values)} times", hint="once is enough")
        if any(len(value) > VALUE_CHARACTERS_MAX for value in values):
            hint = f"at most {VALUE_CHARACTERS_MAX} characters"
            raise UsageError(f"{name} is too long", hint=hint)


def _text(name: str, value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int) and name == "limit":
        return str(value)[:VALUE_CHARACTERS_MAX]
    if value is None:
        return None
    # A version as a number would be 3.1 where 3.10 was meant.
    raise UsageError(f"{name[:40]} is no text", hint='in quotes: {"python": "3.10"}')


def _one(given: Given, name: str) -> str | None:
    return next(iter(given.get(name, ())), None) or None


def _missing() -> str:
    raise UsageError("no project", hint="project=requests, for example")


def _platform(text: str) -> str:
    return text.lower().replace("-", "_").replace(".", "_")


def _extras(extras: Sequence[str]) -> tuple[str, ...]:
    if len(extras) > EXTRAS_MAX:
        raise UsageError(f"{len(extras)} extras", hint=f"at most {EXTRAS_MAX}")
    try:
        return tuple(normalize(extra) for extra in extras)
    except InvalidName as error:
        raise UsageError(
            "an extra is no name", hint="as in requests[socks]: extra=socks"
        ) from error


def _yanked(text: str | None) -> Yanked:
    value = _YANKED.get(text or "", text or "auto")
    for known in get_args(Yanked):
        if value == known:
            return known  # type: ignore[no-any-return]  # get_args has no types
    raise UsageError(
        f"yanked is {value[:40]!r}", hint="auto (as pip: only where pinned), include or exclude"
    )


def _prerelease(text: str | None) -> bool | None:
    value = text or "auto"
    if value not in _PRERELEASE:
        hint = "auto (PEP 440: where nothing else fits), true or false"
        raise UsageError(f"prerelease is {value[:40]!r}", hint=hint)
    return _PRERELEASE[value]


def _before(text: str | None) -> datetime | None:
    if text is None:
        return None
    # In an address a bare + is a space: before=2024-05-01T00:00:00+02:00 should mean what it says.
    moment = moment_of(text.replace(" ", "+") if "T" in text else text)
    if moment is None:
        hint = "RFC 3339 or a day: 2024-05-01T12:00:00Z, 2024-05-01"
        raise UsageError(f"before is {text[:40]!r}", hint=hint)
    return moment


def _limit(text: str | None) -> int:
    if text is None:
        return FILES_DEFAULT
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:10]) <= FILES_MAX:
        raise UsageError(f"limit is {text[:40]!r}", hint=f"from 1 to {FILES_MAX}")
    return int(text[:10])
