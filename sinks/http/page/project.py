"""What the page of a project shows: everything that is held of a name, in an order for reading.

What authors wrote is taken as it is, if it has the type that it should have; templates escape it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from schemas.codec import NO_JSON
from schemas.names import NormalizedName
from schemas.records import ChangelogEntry, State
from schemas.releases import SlimFile
from sinks.dependencies import Dependency, parse
from sinks.http.library import Dependent, Document, Library, Releases
from sinks.softly import Fields

RELEASES_SHOWN = 25
RELEASES_MAX = 1_000  # on the page that shows all; upstream's most is 1 649, and it says how many
FILES_MAX = 100  # of one release
DEPENDENCIES_MAX = 300  # twice the most known
DEPENDENTS_SHOWN = 30
HISTORY_SHOWN = 25
LINKS_MAX = 50  # more is no help to a reader
PEOPLE_MAX = 50  # more is no help to a reader
VULNERABILITIES_MAX = 50  # the newest; all are in the document
CLASSIFIERS_MAX = 100  # more is no help to a reader

_body = msgspec.json.Decoder(dict[str, object])


class Asked(NamedTuple):
    """What of the long parts is wanted: see the parameters of `/project/<name>/`."""

    release: str = ""
    all_releases: bool = False
    history_before: int | None = None
    dependents_after: str = ""


class Link(NamedTuple):
    """A labelled address as its author wrote it: whether it is one is for the template to say."""

    label: str
    url: str


class Person(NamedTuple):
    """Who may upload."""

    user: str
    role: str


class Flaw(NamedTuple):
    """A known vulnerability."""

    id: str
    summary: str
    fixed_in: Sequence[str]
    link: str | None
    withdrawn: bool


class Described(NamedTuple):
    """What the document says of the project. Texts that say nothing are None or missing."""

    version: str | None
    summary: str | None
    yanked: str | None  # its reason, "" = none given; None = not yanked
    facts: Sequence[tuple[str, str]]
    links: Sequence[Link]
    people: Sequence[Person]
    classifiers: Sequence[str]
    keywords: str | None
    flaws: Sequence[Flaw]


class File(NamedTuple):
    """A file of the release that is shown."""

    filename: str
    url: str | None
    kind: str
    size: int | None
    uploaded: str | None
    requires_python: str | None
    sha256: str | None
    yanked: bool


class Release(NamedTuple):
    """A line of the list of releases."""

    version: str
    uploaded: str | None
    files: int
    bytes: int
    requires_python: str | None
    yanked: str | None  # as in Described
    latest: bool


class ReleaseList(NamedTuple):
    """Newest first. `total` are held, `omitted` more are not; `files` are those of `chosen`."""

    held: str
    total: int
    omitted: int
    shown: Sequence[Release]
    chosen: str | None
    files: Sequence[File]
    files_more: int


class DependencyGroup(NamedTuple):
    """What is always required (`extra` None), or with an extra."""

    extra: str | None
    lines: Sequence[Dependency]


class Needed(NamedTuple):
    """What the latest release requires."""

    groups: Sequence[DependencyGroup]
    total: int
    more: int


class ProjectPage(NamedTuple):
    """All of it. `document` None: nothing is published; `described` None: it cannot be read."""

    name: NormalizedName
    display_name: str
    document: Document | None
    state: State | None
    described: Described | None
    releases: ReleaseList | None
    needed: Needed
    dependents: Sequence[Dependent]
    dependent_count: int
    dependents_next: str | None
    history: Sequence[ChangelogEntry]
    history_next: int | None


def project_page(library: Library, name: NormalizedName, asked: Asked) -> ProjectPage | None:
    """None if the name was never heard of. Raises what the library raises."""
    document, state = library.document(name), library.state(name)
    # One more than is shown tells whether there is a next page.
    rows = library.changes_of(name, asked.history_before, HISTORY_SHOWN + 1)
    if document is None and state is None and not rows:
        return None
    body = _fields(document)
    info = body.child("info")
    releases = library.releases(name) if document else None
    line = library.listed(name)
    dependents = library.dependents(name, asked.dependents_after, DEPENDENTS_SHOWN + 1)
    shown, history = dependents[:DEPENDENTS_SHOWN], rows[:HISTORY_SHOWN]
    return ProjectPage(
        name=name,
        display_name=_display_name(name, line.display_name if line else None, state, rows),
        document=document,
        state=state,
        described=_described(body, info) if document else None,
        releases=_releases(releases, asked) if releases else None,
        needed=_needed(info.texts("requires_dist") or []),
        dependents=shown,
        dependent_count=library.dependent_count(name),
        dependents_next=shown[-1].name if len(dependents) > len(shown) else None,
        history=history,
        history_next=history[-1].serial if len(rows) > len(history) else None,
    )


def _display_name(
    name: str, listed: str | None, state: State | None, rows: Sequence[ChangelogEntry]
) -> str:
    if listed:
        return listed
    if state is not None and state.name:
        return state.name
    return rows[0].name if rows else name


def _fields(document: Document | None) -> Fields:
    try:
        body: object = _body.decode(document.body) if document else {}
    except NO_JSON:
        body = {}
    return Fields(body, "", [])


def _described(body: Fields, info: Fields) -> Described:
    ownership = body.child("ownership")
    people = [
        Person(each.text("user") or "", each.text("role") or "")
        for each in ownership.children("roles")[:PEOPLE_MAX]
    ]
    flaws = body.children("vulnerabilities")[:VULNERABILITIES_MAX]
    return Described(
        version=info.text("version"),
        summary=info.text("summary"),
        yanked=(info.text("yanked_reason") or "") if info.flag("yanked") else None,
        facts=[(label, text) for label, text in _facts(info, ownership) if text],
        links=_links(info)[:LINKS_MAX],
        people=people,
        classifiers=(info.texts("classifiers") or [])[:CLASSIFIERS_MAX],
        keywords=info.text("keywords"),
        flaws=[_flaw(each) for each in flaws],
    )


def _facts(info: Fields, ownership: Fields) -> list[tuple[str, str | None]]:
    return [
        ("Python", info.text("requires_python")),
        ("Licence", info.text("license_expression") or info.text("license")),
        ("Author", info.text("author")),
        ("Author's address", info.text("author_email")),
        ("Maintainer", info.text("maintainer")),
        ("Maintainer's address", info.text("maintainer_email")),
        ("Organisation", ownership.text("organization")),
    ]


def _links(info: Fields) -> list[Link]:
    labelled = info.child("project_urls").items()
    links = [Link(label, url) for label, url in labelled if isinstance(url, str) and url]
    known = {link.url for link in links}
    for label, key in (("Homepage", "home_page"), ("Download", "download_url")):
        url = info.text(key)
        if url is not None and url not in known:
            links.append(Link(label, url))
    return links


def _flaw(each: Fields) -> Flaw:
    return Flaw(
        id=each.text("id") or "?",
        summary=each.text("summary") or each.text("details") or "",
        fixed_in=each.texts("fixed_in") or [],
        link=each.text("link"),
        withdrawn=each.raw("withdrawn") is not None,
    )


def _releases(releases: Releases, asked: Asked) -> ReleaseList:
    slim = releases.slim
    chosen = _chosen(slim.releases, slim.latest, asked.release)
    newest_first = list(reversed(slim.releases))
    shown = newest_first[: RELEASES_MAX if asked.all_releases else RELEASES_SHOWN]
    files = slim.releases[chosen] if chosen is not None else []
    return ReleaseList(
        held=releases.held,
        total=len(newest_first),
        omitted=releases.omitted,
        shown=[_release(each, slim.releases[each], slim.latest) for each in shown],
        chosen=chosen,
        files=[_file(file) for file in files[:FILES_MAX]],
        files_more=max(0, len(files) - FILES_MAX),
    )


def _chosen(
    releases: Mapping[str, Sequence[SlimFile]], latest: str | None, asked: str
) -> str | None:
    for version in (asked, latest):
        if version is not None and version in releases:
            return version
    return next(reversed(list(releases)), None)


def _release(version: str, files: Sequence[SlimFile], latest: str | None) -> Release:
    uploads = [file.upload_time_iso_8601 for file in files]
    times = [time for time in uploads if isinstance(time, str)]
    pythons = [file.requires_python for file in files]
    reasons = [file.yanked_reason for file in files if file.yanked is True]
    all_yanked = bool(files) and len(reasons) == len(files)
    return Release(
        version=version,
        uploaded=min(times, default=None),
        files=len(files),
        bytes=sum(file.size for file in files if isinstance(file.size, int)),
        requires_python=next((text for text in pythons if isinstance(text, str)), None),
        yanked=next((text for text in reasons if isinstance(text, str)), "")
        if all_yanked
        else None,
        latest=version == latest,
    )


def _file(file: SlimFile) -> File:
    digests = {} if file.digests is UNSET else file.digests
    return File(
        filename=file.filename,
        url=file.url or None,
        kind=file.packagetype or "?",
        size=None if file.size is UNSET else file.size,
        uploaded=file.upload_time_iso_8601 or None,
        requires_python=file.requires_python or None,
        sha256=digests.get("sha256"),
        yanked=file.yanked is True,
    )


def _needed(lines: Sequence[str]) -> Needed:
    parsed = [parse(line) for line in lines[:DEPENDENCIES_MAX]]
    groups = [
        DependencyGroup(extra, [line for line in parsed if line.extra == extra])
        for extra in _in_order(line.extra for line in parsed)
    ]
    return Needed(groups, len(lines), max(0, len(lines) - DEPENDENCIES_MAX))


def _in_order(extras: Iterable[str | None]) -> list[str | None]:
    """Each once: what is always required first."""
    return sorted(set(extras), key=lambda extra: (extra is not None, extra or ""))
