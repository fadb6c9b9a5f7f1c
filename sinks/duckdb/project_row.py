"""A project's row as the DuckDB view takes it in: field for field its columns."""

from __future__ import annotations

import msgspec


class Labelled(msgspec.Struct):
    """An element of `project_urls`."""

    label: str
    url: str


class Role(msgspec.Struct):
    """An element of `roles`."""

    role: str | None
    user: str | None


class Vulnerability(msgspec.Struct):
    """An element of `vulnerabilities`."""

    id: str | None
    source: str | None
    link: str | None
    aliases: list[str] | None
    summary: str | None
    details: str | None
    fixed_in: list[str] | None
    withdrawn: str | None


class ProjectRow(msgspec.Struct):
    """A row of `base.project`: field for field its columns. Times as in `ReleaseRow`."""

    display_name: str
    version: str | None
    summary: str | None
    author: str | None
    author_email: str | None
    maintainer: str | None
    maintainer_email: str | None
    license: str | None
    license_expression: str | None
    license_files: list[str] | None
    home_page: str | None
    download_url: str | None
    docs_url: str | None
    requires_python: str | None
    keywords: str | None
    platform: str | None
    description_content_type: str | None
    yanked: bool | None
    yanked_reason: str | None
    provides_extra: list[str] | None
    dynamic: list[str] | None
    organization: str | None
    classifiers: list[str]
    project_urls: list[Labelled]
    requirement: list[str]
    dependency: list[str | None]
    specifier: list[str | None]
    extras: list[tuple[str, ...] | None]
    marker: list[str | None]
    extra: list[str | None]
    dependency_url: list[str | None]
    parse_error: list[str | None]
    vulnerabilities: list[Vulnerability]
    roles: list[Role]
    uploaded: str | None
    serial: int | None
    event_serial: int | None
    event_time: str | None
    stale: bool
    source: str | None
    fetched_at: str | None
    anomalies: list[str]
