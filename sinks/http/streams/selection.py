"""What a client of a stream or feed wants to hear of: globs on project names, and kinds. Pure."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import translate
from typing import Protocol

from schemas.errors import UsageError
from schemas.filters import GLOB, project_glob
from schemas.records import SERIAL_MAX, Kind

GLOBS_MAX = 20  # each is matched with each event
GLOB_CHARACTERS_MAX = 200  # as many as a name may have
STARS_MAX = 8  # each of them is a loop over the name
SERIAL_DIGITS_MAX = 19  # of 2^63 - 1
TIME_CHARACTERS_MAX = 40  # RFC 3339 with nanoseconds has 35
VALUES_MAX = 50  # of one parameter
SECURITY = "security"
SECURITY_KINDS = frozenset(
    {
        Kind.REMOVE_FILE,
        Kind.REMOVE_RELEASE,
        Kind.REMOVE_PROJECT,
        Kind.YANK,
        Kind.UNYANK,
        Kind.QUARANTINE,
        Kind.UNQUARANTINE,
        Kind.RELEASE_QUARANTINE,
        Kind.RELEASE_UNQUARANTINE,
        Kind.ROLE,
    }
)
"""What somebody who installs packages wants to know at once: all that is no addition."""

_DIGITS = re.compile(r"[0-9]+", re.ASCII)


class Selectable(Protocol):
    """What is selected by."""

    @property
    def project(self) -> str:
        """The normalised name."""
        ...

    @property
    def kind(self) -> str:
        """A value of Kind."""
        ...


@dataclass(frozen=True)
class Selection:
    """Empty = anything. `globs` are on normalised names."""

    globs: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()
    _names: tuple[re.Pattern[str], ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        names = tuple(re.compile(translate(glob)) for glob in self.globs)
        object.__setattr__(self, "_names", names)

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not self.globs and not self.kinds

    def admits(self, project: str, kind: str) -> bool:
        """Whether a change of that project, of that kind, is selected."""
        if self.kinds and kind not in self.kinds:
            return False
        return not self.globs or any(name.match(project) for name in self._names)

    def wants(self, given: Selectable) -> bool:
        """Whether it is selected. What is about no project is for all."""
        return not given.project or self.admits(given.project, given.kind)


def selection(values: Mapping[str, Sequence[str]]) -> Selection:
    """From the parameters `project` and `kind`, repeated or with commas. Raises UsageError."""
    globs = sorted({_glob(text) for text in _listed(values, "project")})
    if len(globs) > GLOBS_MAX:
        raise UsageError(
            f"more than {GLOBS_MAX} globs", hint="follow everything and choose yourself"
        )
    wanted: set[str] = set()
    for text in _listed(values, "kind"):
        if text == SECURITY:
            wanted |= {kind.value for kind in SECURITY_KINDS}
        elif text in set(Kind):
            wanted.add(text)
        else:
            known = ", ".join(kind.value for kind in Kind)
            raise UsageError("no such kind", hint=f"one of {known}, or {SECURITY}")
    return Selection(tuple(globs), frozenset(wanted))


def since_of(text: str) -> int | datetime:
    """A serial, or a time with its offset from UTC. Raises UsageError."""
    if _DIGITS.fullmatch(text):
        return serial_of(text)
    # A plus sign that nobody escaped arrives as a space, and that is where an offset begins.
    given = text.replace(" ", "+") if len(text) <= TIME_CHARACTERS_MAX and text.isascii() else ""
    with contextlib.suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(given)
        if moment.tzinfo is not None and moment.timestamp() >= 0:
            return moment
    raise UsageError(
        "since is neither a serial nor a time",
        hint="for example since=33000000 or since=2026-01-31T12:00:00Z",
    )


def serial_of(text: str) -> int:
    """A serial of at most 19 digits. Raises UsageError."""
    if not _DIGITS.fullmatch(text) or len(text) > SERIAL_DIGITS_MAX or int(text) > SERIAL_MAX:
        raise UsageError("not a serial", hint=f"a serial is a number from 0 to {SERIAL_MAX}")
    return int(text)


def _listed(values: Mapping[str, Sequence[str]], name: str) -> list[str]:
    found = [part.strip() for text in values.get(name, ()) for part in text.split(",", VALUES_MAX)]
    if len(found) > VALUES_MAX:
        raise UsageError(f"more than {VALUES_MAX} values of {name}")
    if not all(found):
        raise UsageError(f"{name} is empty", hint="leave it out to select everything")
    return found


def _glob(text: str) -> str:
    if len(text) > GLOB_CHARACTERS_MAX or not GLOB.fullmatch(text):
        raise UsageError("not a glob on project names", hint="letters, digits, . _ - and * ? [a-z]")
    if text.count("*") > STARS_MAX:
        raise UsageError(f"more than {STARS_MAX} stars in a glob")
    try:
        re.compile(translate(project_glob(text)))
    except re.error as error:
        raise UsageError("not a glob on project names", hint=str(error)) from error
    return project_glob(text)
