"""The answer to a query as JSON: files, their releases, and what is known of those. Pure.

Dependencies and vulnerabilities stand in PyPI's document for the one release that `info` describes.
Every other release has null there, and the pointer to its metadata file (PEP 658), where an
installer finds its dependencies, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct

from schemas.releases import SlimFile
from sinks.dependencies import REQUIREMENT_CHARACTERS_MAX, Dependency, parse
from sinks.http.library import Document, Releases
from sinks.http.resolver.decide import Fit, Query, fitting
from sinks.http.resolver.markers import holds

DEPENDENCIES_CACHED_MAX = 8_192  # requirements taken apart, some 500 bytes each; many recur
VULNERABILITY_KEYS = ("id", "aliases", "summary", "fixed_in", "link", "source", "withdrawn")
"""All of PyPI's but `details`, which is a text of pages."""


class Pointer(Struct, frozen=True, gc=False):
    """A metadata file beside a package file (PEP 658, PEP 714); `hashes` may be empty."""

    url: str
    hashes: dict[str, str]


class FileAnswer(Struct, frozen=True, gc=False):
    """A file that fits. Null = not known, or none; `size` in bytes, `upload_time` in UTC."""

    filename: str
    version: str
    kind: Literal["wheel", "source"]
    url: str | None
    size: int | None
    hashes: dict[str, str]
    requires_python: str | None
    upload_time: str | None
    core_metadata: Pointer | None
    yanked: bool
    yanked_reason: str | None


class DependencyAnswer(Struct, frozen=True):
    """A line of `requires_dist`. All but `requirement` are null if it cannot be parsed.

    `applies`: whether its marker holds in this environment; null where that hangs on something the
    query does not say.
    """

    requirement: str
    name: str | None
    specifier: str | None
    extras: tuple[str, ...] | None
    marker: str | None
    url: str | None
    applies: bool | None


class ReleaseAnswer(Struct, frozen=True):
    """What is known of a release whose files are shown; null = that is not held here."""

    core_metadata: Pointer | None
    dependencies: list[DependencyAnswer] | None
    vulnerabilities: list[dict[str, Any]] | None


class Answer(Struct, frozen=True):
    """One project's answer. `fitting` counts all files that fit, `files` has the first of them.

    `serial` is that of the document and its releases; `latest` is the release `info` describes.
    """

    project: str
    name: str
    serial: int
    latest: str | None
    stale: bool
    releases_held: Literal["all", "latest"]
    releases_omitted: int
    environment: Mapping[str, str]
    fitting: int
    files: list[FileAnswer]
    releases: dict[str, ReleaseAnswer]


class _Info(Struct):
    """What is looked at of a document's `info`; of any type, for nothing promises one."""

    version: Any = None
    requires_dist: Any = None


class _Document(Struct):
    info: _Info
    vulnerabilities: Any = None


_decode = msgspec.json.Decoder(_Document).decode
_parse = lru_cache(DEPENDENCIES_CACHED_MAX)(parse)


def answer(query: Query, document: Document, releases: Releases) -> Answer:
    """Answer a query from what is held of its project, both of one cut."""
    fits = fitting(releases.slim, query)
    files = [_file(fit) for fit in fits[: query.limit]]
    known = _read(document)
    slim = releases.slim
    return Answer(
        project=query.project,
        name=slim.display_name,
        serial=slim.serial,
        latest=slim.latest,
        stale=document.stale,
        releases_held=releases.held,
        releases_omitted=releases.omitted,
        environment=query.environment.variables,
        fitting=len(fits),
        files=files,
        releases=_releases(query, files, known),
    )


def _file(fit: Fit) -> FileAnswer:
    file = fit.file
    return FileAnswer(
        filename=file.filename,
        version=fit.release,
        kind="wheel" if file.filename.endswith(".whl") else "source",
        url=file.url or None,  # not given, null and the empty text are all false
        size=None if file.size is UNSET else file.size,
        hashes=file.digests or {},
        requires_python=file.requires_python or None,
        upload_time=file.upload_time_iso_8601 or None,
        core_metadata=_pointer(file),
        yanked=file.yanked is True,
        yanked_reason=(file.yanked_reason or None) if file.yanked is True else None,
    )


def _pointer(file: SlimFile) -> Pointer | None:
    core = file.core_metadata
    if not core or not file.url:  # an empty table of hashes says false, as PEP 691 has no such
        return None
    return Pointer(f"{file.url}.metadata", core if isinstance(core, dict) else {})


def _releases(
    query: Query, files: Sequence[FileAnswer], known: _Document
) -> dict[str, ReleaseAnswer]:
    found: dict[str, ReleaseAnswer] = {}
    pointers: dict[str, Pointer | None] = {}
    for file in files:
        if pointers.get(file.version) is None:
            pointers[file.version] = file.core_metadata
    for release, pointer in pointers.items():
        if release == known.info.version:
            dependencies = [_dependency(line, query) for line in _texts(known.info.requires_dist)]
            found[release] = ReleaseAnswer(
                pointer, dependencies, _vulnerabilities(known.vulnerabilities)
            )
        else:
            found[release] = ReleaseAnswer(pointer, None, None)
    return found


def _read(document: Document) -> _Document:
    try:
        return _decode(document.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Document(_Info())


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _dependency(requirement: str, query: Query) -> DependencyAnswer:
    # What is too long to be parsed is too long to be kept.
    short = len(requirement) <= REQUIREMENT_CHARACTERS_MAX
    parsed: Dependency = (_parse if short else parse)(requirement)
    understood = parsed.dependency is not None
    return DependencyAnswer(
        requirement=requirement,
        name=parsed.dependency,
        specifier=parsed.specifier,
        extras=parsed.extras,
        marker=parsed.marker,
        url=parsed.url,
        applies=(
            holds(parsed.marker, query.environment.variables, query.extras) if understood else None
        ),
    )


def _vulnerabilities(value: object) -> list[dict[str, Any]]:
    rows = value if isinstance(value, list) else []
    return [
        {key: row[key] for key in VULNERABILITY_KEYS if key in row}
        for row in rows
        if isinstance(row, dict)
    ]
