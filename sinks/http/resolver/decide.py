"""Which files of a project fit a query, best first as pip would try them. Pure.

The order and the rules are those of pip's package finder and resolver:

- A file counts if its name says a PEP 440 version of this project, the environment takes its tags
  and its `requires_python`, and it was uploaded before `before`. (Where a name says another version
  than its release has, both must fit.)
- Of those, the specifier picks by version (PEP 440): pre-releases only where they are asked for, or
  where nothing else fits.
- Yanked files (PEP 592) only where the specifier pins a version (`==` or `===`) and whatever fits
  is yanked.
- Newest version first; within it wheels before source archives, wheels by the place of their tags,
  then by build; what is equal so far by file name, the last first, as in an index sorted by name.

Nothing here is remembered of a project: what recurs between projects is (versions, tag sets,
specifiers, markers), each up to its named limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Literal, NamedTuple

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from schemas.errors import UsageError
from schemas.names import NormalizedName
from schemas.releases import SlimFile, SlimReleases
from sinks.http.resolver.environment import Environment
from sinks.http.resolver.files import (
    FILENAME_CHARACTERS_MAX,
    WHEEL,
    Build,
    FileNames,
    KnownVersion,
    split_wheel,
    version_of,
)

SPECIFIERS_CACHED_MAX = 1_024  # of queries; a few hundred bytes each, 20 KB at most
SPECIFIER_CHARACTERS_MAX = 1_000  # some hundred clauses; real ones have a few
CLAUSES_MAX = 50  # of one specifier: each is a comparison per version

Yanked = Literal["auto", "include", "exclude"]
"""`auto` = as pip; `include`: behind all others; `exclude`: not even where one is pinned."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of one project. `before` is aware; `limit` is how many files are shown.

    `prerelease` None = as PEP 440 has it.
    """

    project: NormalizedName
    environment: Environment
    specifier: SpecifierSet
    limit: int
    extras: tuple[str, ...] = ()
    yanked: Yanked = "auto"
    prerelease: bool | None = None
    before: datetime | None = None


class Fit(NamedTuple):
    """A file that fits. `release` is its release's text, `place` that of its tags (0 = best)."""

    file: SlimFile
    release: str
    version: KnownVersion
    build: Build
    place: int


@lru_cache(SPECIFIERS_CACHED_MAX)
def specifier_of(text: str) -> SpecifierSet:
    """Read a PEP 440 specifier; a bare version is taken for `==`. Raises UsageError."""
    hint = "PEP 440: version=>=2,<3 or version===2.31.0; %3E is >, %3C is < in an address"
    if len(text) > SPECIFIER_CHARACTERS_MAX or text.count(",") >= CLAUSES_MAX:
        raise UsageError("the version specifier is too long", hint=hint)
    bare = text.strip()
    if bare and version_of(bare) is not None:
        bare = f"=={bare}"
    try:
        return SpecifierSet(bare)
    except (InvalidSpecifier, ValueError, RecursionError) as error:
        shown = text[:80]
        raise UsageError(f"{shown!r} is no version specifier", hint=hint) from error


def fitting(slim: SlimReleases, query: Query) -> list[Fit]:
    """Give all files that fit, best first."""
    candidates = list(_candidates(slim, query))
    # Files are many, versions are few. By identity: a text is read into one object, and two
    # spellings of one version are told apart by `===`.
    versions = {id(fit.version): fit.version for fit in candidates}
    taken = set(map(id, _taken(list(versions.values()), query)))
    found = [fit for fit in candidates if id(fit.version) in taken]
    if query.yanked != "include":
        keep = query.yanked == "auto" and _pinned(query.specifier)
        if not (keep and all(fit.file.yanked is True for fit in found)):
            found = [fit for fit in found if fit.file.yanked is not True]
    found.sort(key=_rank)
    found.reverse()  # what is equal in all comes in the index's order, the last first
    return found


def _taken(versions: list[KnownVersion], query: Query) -> Iterable[KnownVersion]:
    """Those that the specifier takes; what packaging says of an empty one is soon said."""
    if query.specifier:
        return query.specifier.filter(versions, query.prerelease)
    if query.prerelease:
        return versions
    final = [version for version in versions if not version.early]
    return final if final or query.prerelease is False else versions


def _candidates(slim: SlimReleases, query: Query) -> Iterator[Fit]:
    environment, names = query.environment, FileNames(query.project)
    place_of, takes = environment.place, environment.takes
    for release in _possible(slim, query.specifier):
        for file in slim.releases[release]:
            filename = file.filename
            if len(filename) > FILENAME_CHARACTERS_MAX:
                continue
            if filename.endswith(WHEEL):
                # Most wheels are for other machines: that is seen before anything else is read.
                head, tags = split_wheel(filename)
                place = place_of(tags)
                if place is None or not takes(file.requires_python or None):
                    continue
                wheel = names.wheel(head)
                if wheel is None:
                    continue
                version, build = wheel
            else:
                archive = names.archive(filename)
                if archive is None or not takes(file.requires_python or None):
                    continue
                version, python = archive
                if python and environment.py_version not in (None, python):
                    continue
                place, build = environment.source_place, ()
            if query.before is None or _is_before(file, query.before):
                yield Fit(file, release, version, build, place)


def _possible(slim: SlimReleases, specifier: SpecifierSet) -> Iterable[str]:
    """Releases that the specifier takes, pre-releases too: most files need not be looked at."""
    if not specifier:
        return slim.releases
    known = ((text, version_of(text)) for text in slim.releases)
    pairs = [(text, version) for text, version in known if version is not None]
    found = specifier.filter(pairs, prereleases=True, key=itemgetter(1))
    return [text for text, _ in found]


def _is_before(file: SlimFile, moment: datetime) -> bool:
    """Whether it was uploaded before; a file without a time was not."""
    uploaded = moment_of(file.upload_time_iso_8601 or "")
    return uploaded is not None and uploaded < moment


def moment_of(text: str) -> datetime | None:
    """Read a time, or a day as its beginning; UTC where nothing else is said."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    except ValueError:
        return None


def _pinned(specifier: SpecifierSet) -> bool:
    return any(
        each.operator == "===" or (each.operator == "==" and not each.version.endswith(".*"))
        for each in specifier
    )


def _rank(fit: Fit) -> tuple[object, ...]:
    file = fit.file
    return (file.yanked is not True, fit.version.order, -fit.place, fit.build, file.filename)
