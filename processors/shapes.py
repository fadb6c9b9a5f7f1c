"""The shapes of a project document that we know, as strict types: the fast path of `trim`.

A document that these types decode is nested no deeper than they are, and has no key that they do
not name, no float, and no integer beyond 63 bits. Any other is refused by msgspec and left to the
general path. Keys and types are those of PyPI's JSON API from 2016 to 2026. Fields are declared in
the order of their JSON keys, so that an encoder that keeps this order writes sorted objects (a test
checks it).

The types of the slim form read the keys of a file that it needs, and skip the rest.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from processors.hostile import INT_MAX

Absent: TypeAlias = UnsetType
Text: TypeAlias = str | UnsetType | None
Texts: TypeAlias = list[str] | UnsetType | None
Int: TypeAlias = Annotated[int, msgspec.Meta(ge=-INT_MAX, le=INT_MAX)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=INT_MAX)]


class _Shape(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """Acyclic by construction, so the garbage collector need not look."""


class Digests(_Shape):
    """Of a file, hex."""

    blake2b_256: str | Absent = UNSET
    md5: str | Absent = UNSET
    sha256: str | Absent = UNSET


class CoreMetadata(_Shape):
    """Hashes of the file's own metadata (PEP 714)."""

    sha256: str | Absent = UNSET


class File(_Shape, kw_only=True, rename={"core_metadata": "core-metadata"}):
    """A file object of `releases` and `urls`."""

    comment_text: Text = UNSET
    core_metadata: bool | CoreMetadata | Absent = UNSET
    digests: Digests | Absent = UNSET
    downloads: Int | Absent = UNSET
    filename: str
    has_sig: bool | Absent = UNSET
    md5_digest: Text = UNSET
    packagetype: Text = UNSET
    path: Text = UNSET
    python_version: Text = UNSET
    requires_python: Text = UNSET
    size: Count | Absent | None = UNSET
    upload_time: Text = UNSET
    upload_time_iso_8601: Text = UNSET
    url: Text = UNSET
    yanked: bool | Absent = UNSET
    yanked_reason: Text = UNSET


class Info(
    _Shape, kw_only=True, rename={"pypi_hidden": "_pypi_hidden", "pypi_ordering": "_pypi_ordering"}
):
    """`info`. The description is read only as far as needed to leave it out."""

    pypi_hidden: bool | Absent = UNSET
    pypi_ordering: Int | Absent | None = UNSET
    author: Text = UNSET
    author_email: Text = UNSET
    bugtrack_url: Text = UNSET
    cheesecake_code_kwalitee_id: Int | Absent | None = UNSET
    cheesecake_documentation_id: Int | Absent | None = UNSET
    cheesecake_installability_id: Int | Absent | None = UNSET
    classifiers: Texts = UNSET
    description: msgspec.Raw | Absent = UNSET
    description_content_type: Text = UNSET
    docs_url: Text = UNSET
    download_url: Text = UNSET
    downloads: dict[str, Int] | Int | Absent = UNSET
    dynamic: Texts = UNSET
    home_page: Text = UNSET
    keywords: Text = UNSET
    license: Text = UNSET
    license_expression: Text = UNSET
    license_files: Texts = UNSET
    maintainer: Text = UNSET
    maintainer_email: Text = UNSET
    name: str
    package_url: Text = UNSET
    platform: Text = UNSET
    project_url: Text = UNSET
    project_urls: dict[str, str | None] | Absent | None = UNSET
    provides: Texts = UNSET
    provides_extra: Texts = UNSET
    release_url: Text = UNSET
    requires: Texts = UNSET
    requires_dist: Texts = UNSET
    requires_python: Text = UNSET
    stable_version: Text = UNSET
    summary: Text = UNSET
    version: str
    yanked: bool | Absent = UNSET
    yanked_reason: Text = UNSET


class Vulnerability(_Shape):
    """An entry of `vulnerabilities` (OSV, as PyPI relays it)."""

    aliases: Texts = UNSET
    details: Text = UNSET
    fixed_in: Texts = UNSET
    id: Text = UNSET
    link: Text = UNSET
    source: Text = UNSET
    summary: Text = UNSET
    withdrawn: Text = UNSET


class Role(_Shape):
    """Who may do what."""

    role: Text = UNSET
    user: Text = UNSET


class Ownership(_Shape):
    """Since 2026."""

    organization: Text = UNSET
    roles: list[Role] | Absent | None = UNSET


class Document(_Shape, kw_only=True):
    """A whole document of the project route. Releases stay raw until they are needed."""

    info: Info
    last_serial: Count | Absent | None = UNSET
    ownership: Ownership | Absent | None = UNSET
    releases: dict[str, msgspec.Raw] | Absent = UNSET
    urls: list[File] | Absent = UNSET
    vulnerabilities: list[Vulnerability] | Absent | None = UNSET


class Published(_Shape):
    """The keys of `Document` after `info` and `last_serial`, as they are written."""

    ownership: Ownership | Absent | None = UNSET
    releases: dict[str, list[File]] | Absent = UNSET
    urls: list[File] | Absent = UNSET
    vulnerabilities: list[Vulnerability] | Absent | None = UNSET


class SlimDigests(msgspec.Struct, omit_defaults=True, gc=False, kw_only=True):
    """What the slim form keeps of `digests`."""

    blake2b_256: str | Absent = UNSET
    sha256: str


class SlimCoreMetadata(msgspec.Struct, omit_defaults=True, gc=False):
    """`CoreMetadata`, with or without algorithms that we do not know."""

    sha256: str | Absent = UNSET


class Slim(
    msgspec.Struct,
    kw_only=True,
    omit_defaults=True,
    gc=False,
    rename={"core_metadata": "core-metadata"},
):
    """A file as PyPI describes it since 2020, and as `schemas.releases.SlimFile` publishes it."""

    core_metadata: bool | SlimCoreMetadata | Absent = UNSET
    digests: SlimDigests
    filename: str
    packagetype: Text = UNSET
    requires_python: Text = UNSET
    size: Count | Absent | None = UNSET
    upload_time_iso_8601: str
    url: Text = UNSET
    yanked: bool | Absent = UNSET
    yanked_reason: Text = UNSET


class OldDigests(msgspec.Struct, omit_defaults=True, gc=False):
    """Of files that need not have a SHA-256."""

    blake2b_256: str | Absent = UNSET
    md5: str | Absent = UNSET
    sha256: str | Absent = UNSET


class Old(
    msgspec.Struct,
    kw_only=True,
    omit_defaults=True,
    gc=False,
    rename={"core_metadata": "core-metadata"},
):
    """A file as older indexes described it; `processors.slim` brings it to today's spelling."""

    core_metadata: bool | SlimCoreMetadata | Absent = UNSET
    digests: OldDigests | Absent = UNSET
    filename: str
    md5_digest: Text = UNSET
    packagetype: Text = UNSET
    requires_python: Text = UNSET
    size: Count | Absent | None = UNSET
    upload_time: Text = UNSET
    upload_time_iso_8601: Text = UNSET
    url: Text = UNSET
    yanked: bool | Absent = UNSET
    yanked_reason: Text = UNSET
