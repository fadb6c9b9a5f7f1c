"""A project's page of the index (PEP 691, 700, 714, 792): body bytes in, typed page out. Pure.

A page with a file that cannot be read is refused as a whole, because a file left out would count as
removed. Unknown keys are skipped, as the PEPs ask.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from processors import hostile
from schemas.errors import ForeignMetadata, InvalidName, MalformedMetadata
from schemas.names import NormalizedName, normalize
from schemas.records import SERIAL_MAX

API_MAJOR = "1"
QUARANTINED = "quarantined"
PAGE_FILES_MAX = 60_000  # twice what fits a record; the largest known has 3 172
FILE_BYTES = 700  # of a usual file in the JSON API's shape

_Serial: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=SERIAL_MAX)]
_Size: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=hostile.INT_MAX)]
_Hashes: TypeAlias = dict[str, str]
_Promise: TypeAlias = bool | dict[str, str] | None


class IndexFile(msgspec.Struct, frozen=True, rename="kebab", gc=False):
    """One file. `core_metadata`: hashes of its metadata file, or whether there is one.

    `data_dist_info_metadata` is the same under its older name.
    """

    filename: str
    url: str
    hashes: _Hashes
    requires_python: str | None = None
    size: _Size | None = None
    upload_time: str | None = None
    yanked: bool | str = False
    gpg_sig: bool | None = None
    core_metadata: _Promise = None
    data_dist_info_metadata: _Promise = None

    @property
    def metadata(self) -> bool | dict[str, str] | None:
        """What the page promises of the file's metadata: hashes, or True or False for there or not.

        None = the page says nothing about it.
        """
        newer = self.core_metadata
        return self.data_dist_info_metadata if newer is None else newer


class _Meta(msgspec.Struct, frozen=True, gc=False):
    version: str = msgspec.field(name="api-version")
    serial: _Serial | None = msgspec.field(name="_last-serial", default=None)


class _Status(msgspec.Struct, frozen=True, gc=False):
    status: str = "active"


class IndexPage(msgspec.Struct, frozen=True, rename="kebab", gc=False):
    """The page. `versions` is empty below API version 1.1; it names none without a file."""

    meta: _Meta
    name: str
    files: list[IndexFile]
    versions: list[str] = []
    project_status: _Status = _Status()

    @property
    def serial(self) -> int:
        """The project's serial, 0 if the page has none."""
        return self.meta.serial or 0

    @property
    def shows_files(self) -> bool:
        """Whether there is anything here of which a document could be made."""
        return bool(self.files) and not self.quarantined

    @property
    def quarantined(self) -> bool:
        """Whether its files are hidden (PEP 792)."""
        return self.project_status.status == QUARANTINED

    @property
    def weight(self) -> int:
        """About the bytes of a document made of it."""
        return len(self.files) * FILE_BYTES


_decode = msgspec.json.Decoder(IndexPage).decode


def parse_page(body: bytes, asked: NormalizedName) -> IndexPage:
    """Read a page. Raises MalformedMetadata or, for another project's, ForeignMetadata."""
    hostile.refuse_bulk(body)
    try:
        hostile.check_utf8(body)
        page = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise hostile.malformed(body, error) from error
    if page.meta.version.partition(".")[0] != API_MAJOR:
        shown = page.meta.version[: hostile.EXCERPT_CHARACTERS]
        raise MalformedMetadata(f"index page of API version {shown!r}", reason="index-version")
    if len(page.files) > PAGE_FILES_MAX:
        raise MalformedMetadata(
            f"index page of {len(page.files)} files; at most {PAGE_FILES_MAX} are read",
            reason="too-many-values",
        )
    try:
        got = normalize(page.name)
    except InvalidName:
        got = None
    if got != asked:
        shown = page.name[: hostile.EXCERPT_CHARACTERS]
        raise ForeignMetadata(
            f"asked for the page of {asked}, got {shown!r}", asked=asked, got=shown
        )
    return page
