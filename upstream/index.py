"""Reads the index as PEP 691 JSON: body bytes in, the serial map out. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from schemas.errors import UpstreamUnavailable
from upstream.answers import SERIAL_MAX
from upstream.listing import Listing
from upstream.source import ProjectSerial, SerialMap

ACCEPT = "application/vnd.pypi.simple.v1+json"
API_MAJOR = "1"
PIECE_BYTES = 1024 * 1024  # of lines that are objects at the same time

_ARRAY = b'"projects":['
_BETWEEN = b"},{"

_Serial = Annotated[int, msgspec.Meta(ge=0, le=SERIAL_MAX)]


class _Line(ProjectSerial, frozen=True, gc=False):
    """One project. PEP 691 itself knows no serial, so a missing one must not fail the whole map."""

    serial: _Serial = msgspec.field(name="_last-serial", default=0)


class _Meta(msgspec.Struct, frozen=True, gc=False):
    serial: _Serial = msgspec.field(name="_last-serial")
    version: str = msgspec.field(name="api-version")


class _Index(msgspec.Struct, frozen=True, gc=False):
    meta: _Meta
    projects: list[_Line]


_decoder = msgspec.json.Decoder(_Index)
_lines = msgspec.json.Decoder(list[_Line])
_NO_INDEX = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def parse_serial_map(body: bytes, etag: str = "") -> SerialMap:
    """Read the index. All of it or nothing: a name left out would count as a project removed.

    About 30 bytes a project over the body itself. Raises UpstreamUnavailable.
    """
    try:
        meta, projects = _in_pieces(body) or _at_once(body)
    except _NO_INDEX as error:
        raise UpstreamUnavailable(
            f"the index cannot be read as PEP 691 JSON: {str(error)[:200]}"
        ) from None
    if meta.version.partition(".")[0] != API_MAJOR:
        raise UpstreamUnavailable(
            f"the index has API version {meta.version[:40]!r}, this program reads 1.x"
        )
    return SerialMap(meta.serial, etag, projects)


def _at_once(body: bytes) -> tuple[_Meta, Listing]:
    index = _decoder.decode(body)
    return index.meta, Listing(index.projects)


def _in_pieces(body: bytes) -> tuple[_Meta, Listing] | None:
    """Read the index piece by piece; None if the body cannot be cut so, or cannot be read.

    Without the lines the rest must be an index of no projects, and each piece must be whole lines:
    neither is the case for a cut within a text, or anywhere but in the array of projects.
    """
    begin, end = body.find(_ARRAY) + len(_ARRAY), body.rfind(b"]")
    if begin < len(_ARRAY) or end <= begin:
        return None
    projects = Listing()
    try:
        index = _decoder.decode(body[:begin] + body[end:])
        for piece in _pieces(body, begin, end):
            projects.extend(_lines.decode(b"[%b]" % piece))
    except _NO_INDEX:
        return None
    return None if index.projects else (index.meta, projects)


def _pieces(body: bytes, begin: int, end: int) -> Iterator[bytes]:
    while begin < end:
        cut = body.find(_BETWEEN, begin + PIECE_BYTES, end)
        cut = end if cut < 0 else cut + 1  # behind the brace
        yield body[begin:cut]
        begin = cut + 1  # behind the comma
