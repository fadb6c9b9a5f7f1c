"""The index as PEP 691 JSON: body bytes in, the serial map out. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec

from schemas.errors import UpstreamUnavailable
from upstream.answers import SERIAL_MAX
from upstream.source import ProjectSerial, SerialMap

ACCEPT = "application/vnd.pypi.simple.v1+json"
API_MAJOR = "1"

_Serial = Annotated[int, msgspec.Meta(ge=0, le=SERIAL_MAX)]


class _Line(ProjectSerial, frozen=True, gc=False):
    """One project; PEP 691 itself knows no serial, so a missing one must not lose the map."""

    serial: _Serial = msgspec.field(name="_last-serial", default=0)


class _Meta(msgspec.Struct, frozen=True, gc=False):
    serial: _Serial = msgspec.field(name="_last-serial")
    version: str = msgspec.field(name="api-version")


class _Index(msgspec.Struct, frozen=True, gc=False):
    meta: _Meta
    projects: list[_Line]


_decoder = msgspec.json.Decoder(_Index)


def parse_serial_map(body: bytes, etag: str = "") -> SerialMap:
    """Read the index. All of it or nothing: a name left out would count as a project removed.

    About 60 bytes a project over the body itself. Raises UpstreamUnavailable.
    """
    try:
        index = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamUnavailable(
            f"the index cannot be read as PEP 691 JSON: {str(error)[:200]}"
        ) from None
    if index.meta.version.partition(".")[0] != API_MAJOR:
        raise UpstreamUnavailable(
            f"the index has API version {index.meta.version[:40]!r}, this program reads 1.x"
        )
    return SerialMap(index.meta.serial, etag, index.projects)
