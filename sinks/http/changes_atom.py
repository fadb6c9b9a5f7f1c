"""The changes as an Atom feed that loses nothing: RFC 4287, and RFC 5005 for what came before.

The feed itself has the newest changes. Archives hold BLOCK_SERIALS serials each, between borders
that never move, so an archive never changes. The feed begins at such a border, and each document
links to the archive before it that has something: a reader that was away follows the links until it
meets one it knows.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

from msgspec import UNSET

from schemas.codec import rfc3339
from schemas.records import Head
from sinks.changes.pages import Page, Wanted, page_before, page_between
from sinks.http.streams.frames import ChangeData, LastKnown
from streams.log import Log

ATOM = "application/atom+xml"
BLOCK_SERIALS = 250  # of one archive: 200 kB of XML
NEWEST = 50  # changes that the feed has at least, if there are so many
_NS = "http://www.w3.org/2005/Atom"
_HISTORY = "http://purl.org/syndication/history/1.0"
_BLANK = dict.fromkeys({*range(0x20), *range(0x7F, 0xA0), 0xFFFE, 0xFFFF} - {0x09, 0x0A}, " ")


class Current(NamedTuple):
    """The feed: from a border up to the head. `previous`: the archive before it, None = none."""

    page: Page
    previous: int | None


class Archive(NamedTuple):
    """The changes of one block. `following`: the border of the next, None = the feed itself."""

    page: Page
    previous: int | None
    following: int | None


class Links(NamedTuple):
    """What a document is reached by. `query` selects; `log_id` is a UUID in hex."""

    url: str
    query: tuple[tuple[str, str], ...]
    log_id: str


async def current_of(log: Log, head: Head, wanted: Wanted) -> Current:
    """The newest changes, from a border on. Raises LogCorrupt, LogUnavailable."""
    newest = await page_before(log, head, head.serial, NEWEST, wanted)
    border = max(_border(newest.after), head.base)
    page = await page_between(log, head, border, head.serial, wanted)
    return Current(page, await _previous(log, head, border, wanted))


async def archive_of(log: Log, head: Head, end: int, wanted: Wanted) -> Archive:
    """The block that ends at `end`; an end that is no border means that of its block."""
    end = min(_border(end + BLOCK_SERIALS - 1), _border(head.serial))
    begin = max(end - BLOCK_SERIALS, min(head.base, end))
    page = await page_between(log, head, begin, end, wanted)
    following = end + BLOCK_SERIALS
    return Archive(
        page,
        await _previous(log, head, begin, wanted),
        following if following <= _border(head.serial) else None,
    )


async def _previous(log: Log, head: Head, begin: int, wanted: Wanted) -> int | None:
    """The end of the nearest block before `begin` with a change, or up to which was looked."""
    if begin <= head.base:
        return None
    found = await page_before(log, head, begin, 1, wanted)
    if not found.changes and found.after <= head.base:
        return None
    serial = found.changes[-1].serial if found.changes else found.after
    return _border(serial + BLOCK_SERIALS - 1)


def _border(serial: int) -> int:
    return serial // BLOCK_SERIALS * BLOCK_SERIALS


def feed(document: Current | Archive, told: Sequence[ChangeData], links: Links) -> bytes:
    """The document as XML, the newest change first."""
    root = ET.Element("feed", {"xmlns": _NS, "xmlns:fh": _HISTORY})
    selected = ", ".join(f"{name} {value}" for name, value in links.query)
    _text(root, "title", "Changes on PyPI" + (f": {selected}" if selected else ""))
    _text(root, "id", uuid.uuid5(uuid.UUID(links.log_id), selected).urn)
    _text(root, "updated", max((change.time for change in told), default=rfc3339(0)))
    author = ET.SubElement(root, "author")
    _text(author, "name", "pypistream")
    if isinstance(document, Archive):
        ET.SubElement(root, "fh:archive")
        _link(root, "self", links, document.page.through)
        _link(root, "current", links, None)
        if document.following is not None:
            _link(root, "next-archive", links, document.following)
    else:
        _link(root, "self", links, None)
    if document.previous is not None:
        _link(root, "prev-archive", links, document.previous)
    for change in reversed(told):
        _entry(root, change, links)
    document_bytes: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document_bytes


def _link(root: ET.Element, relation: str, links: Links, archive: int | None) -> None:
    query = list(links.query)
    if archive is not None:
        query.append(("archive", str(archive)))
    href = f"{links.url}?{urlencode(query)}" if query else links.url
    ET.SubElement(root, "link", {"rel": relation, "href": href, "type": ATOM})


def _entry(root: ET.Element, change: ChangeData, links: Links) -> None:
    entry = ET.SubElement(root, "entry")
    what = f"{change.name} {change.version or ''}".strip()
    _text(entry, "title", f"{what}: {change.action}")
    name = f"{change.serial}/{change.project}"
    _text(entry, "id", uuid.uuid5(uuid.UUID(links.log_id), name).urn)
    _text(entry, "updated", change.time)
    base = links.url.rpartition("/v1/")[0]
    ET.SubElement(
        entry, "link", {"rel": "alternate", "href": f"{base}/v1/projects/{change.project}"}
    )
    ET.SubElement(entry, "category", {"term": change.kind})
    files = () if change.files is UNSET else change.files
    lines = [f"serial {change.serial}", *map(_file, files)]
    if change.files_omitted:
        lines.append(f"and {change.files_omitted} more files")
    _text(entry, "content", "\n".join(lines)).set("type", "text")


def _file(file: LastKnown) -> str:
    digests = " ".join(f"{name}:{value}" for name, value in sorted(file.digests.items()))
    return f"{file.filename} {digests}".strip()


def _text(parent: ET.Element, tag: str, text: str) -> ET.Element:
    """Text without what XML 1.0 cannot say: control characters and the like become spaces."""
    element = ET.SubElement(parent, tag)
    element.text = text.translate(_BLANK).encode("utf-8", "replace").decode()
    return element
