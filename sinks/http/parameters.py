"""An address's parameters: those an endpoint knows, and no others. Pure.

A client that writes `projekt=django` is better served by a 400 than by everything.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from schemas.errors import UsageError

if TYPE_CHECKING:
    from starlette.requests import Request

NAME_CHARACTERS_SHOWN = 40  # of a name that is none: what a client wrote, not a page of it


def parameters(request: Request, known: Collection[str]) -> Mapping[str, Sequence[str]]:
    """The parameters with all their values. Raises UsageError for a name that is none of `known`.

    `known`: those that there are, which are named to whoever gave another.
    """
    given = {key: request.query_params.getlist(key) for key in request.query_params}
    check_known(given, known)
    return given


def check_known(given: Iterable[str], known: Collection[str]) -> None:
    """Raises UsageError for a name that is none of `known`, and says which there are."""
    for name in given:
        if name not in known:
            hint = f"there are {', '.join(sorted(known))}" if known else "nothing is asked with one"
            close = difflib.get_close_matches(name[:NAME_CHARACTERS_SHOWN].lower(), known, 1)
            if close:
                hint = f"did you mean {close[0]!r}? {hint}"
            raise UsageError(f"no parameter {name[:NAME_CHARACTERS_SHOWN]!r}", hint=hint)


def one_of(values: Mapping[str, Sequence[str]], name: str) -> str | None:
    """A parameter that may be given once. Raises UsageError."""
    given = values.get(name, ())
    if len(given) > 1:
        raise UsageError(f"{name} is given twice")
    return given[0] if given else None
