"""The keys of PyPI's own JSON as it is published in `metadata`, for the JSON Schema.

Nothing in the pipeline decodes into these types: a document keeps its JSON values, and PyPI may
change its shape. Documents of several years lie side by side in the topic, so every key but the
project's name may be absent, and a reader ignores keys it does not know. An empty field has three
spellings: null, the empty string and the word UNKNOWN.

Source: PyPI's JSON API documentation, and the shapes seen in documents from 2015 on.
"""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType, field

Text = str | None | UnsetType
Texts = list[str] | None | UnsetType


class Downloads(Struct):
    """Numbers that have been -1 since 2016; null since 2024."""

    last_day: int | None = -1
    last_week: int | None = -1
    last_month: int | None = -1


class Info(Struct):
    """The latest release's metadata; `description` is left out.

    `version` is the newest by: not yanked before yanked, final before pre-release, then version
    order; it need not be valid under PEP 440. `requires_dist` holds PEP 508 lines as they were
    uploaded, some of them invalid; null means "none" as well as "not known".
    """

    name: str
    version: Text = UNSET
    author: Text = UNSET
    author_email: Text = UNSET
    bugtrack_url: Text = UNSET
    classifiers: Texts = UNSET
    description_content_type: Text = UNSET
    docs_url: Text = UNSET
    download_url: Text = UNSET
    downloads: Downloads | UnsetType | None = UNSET
    dynamic: Texts = UNSET
    home_page: Text = UNSET
    keywords: Text = UNSET
    license: Text = UNSET
    license_expression: Text = UNSET
    license_files: Texts = UNSET
    maintainer: Text = UNSET
    maintainer_email: Text = UNSET
    package_url: Text = UNSET
    platform: Text = UNSET
    project_url: Text = UNSET
    project_urls: dict[str, str | None] | UnsetType | None = UNSET
    provides_extra: Texts = UNSET
    release_url: Text = UNSET
    requires_dist: Texts = UNSET
    requires_python: Text = UNSET
    summary: Text = UNSET
    yanked: bool | UnsetType | None = UNSET
    yanked_reason: Text = UNSET


class File(Struct):
    """One file of a release. `core-metadata`: false, or the hashes of the `.metadata` beside it."""

    filename: Text = UNSET
    comment_text: Text = UNSET
    core_metadata: bool | dict[str, str] | UnsetType | None = field(
        name="core-metadata", default=UNSET
    )
    digests: dict[str, str] | UnsetType | None = UNSET
    downloads: int | UnsetType | None = UNSET
    has_sig: bool | UnsetType | None = UNSET
    md5_digest: Text = UNSET
    packagetype: Text = UNSET
    python_version: Text = UNSET
    requires_python: Text = UNSET
    size: int | UnsetType | None = UNSET
    upload_time: Text = UNSET
    upload_time_iso_8601: Text = UNSET
    url: Text = UNSET
    yanked: bool | UnsetType | None = UNSET
    yanked_reason: Text = UNSET


class Role(Struct):
    """A person's role in a project: Owner or Maintainer."""

    role: Text = UNSET
    user: Text = UNSET


class Ownership(Struct):
    """Who may change the project; `organization` null = none."""

    roles: list[Role] | UnsetType | None = UNSET
    organization: Text = UNSET


class Vulnerability(Struct):
    """A known flaw of the latest release, as old as the last fetch."""

    id: Text = UNSET
    aliases: Texts = UNSET
    details: Text = UNSET
    fixed_in: Texts = UNSET
    link: Text = UNSET
    source: Text = UNSET
    summary: Text = UNSET
    withdrawn: Text = UNSET


class Metadata(Struct):
    """PyPI's JSON document of a project without `info.description` and without older releases.

    `releases` holds the latest release and every one ordered above it (pre-releases, yanked ones)
    or equal to it; the order is PEP 440's, and a text that is no version sorts below all that are.
    A release may have no files. `last_serial` is the journal serial that PyPI knew when it made the
    document.
    """

    info: Info
    last_serial: int | UnsetType = UNSET
    ownership: Ownership | UnsetType | None = UNSET
    releases: dict[str, list[File]] | UnsetType = UNSET
    urls: list[File] | UnsetType | None = UNSET
    vulnerabilities: list[Vulnerability] | UnsetType | None = UNSET
