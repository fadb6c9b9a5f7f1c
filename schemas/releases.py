"""The value of `releases`: every release of a project with its files in slim form.

A slim file is PyPI's own file object (JSON API) without the keys that no resolver or mirror needs;
keys and meanings are PyPI's. A key that PyPI did not give is absent; three old spellings are
modernised (see `processors/slim.py`).
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType


class SlimFile(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    gc=False,  # without cycles, and one value has thousands
    rename={"core_metadata": "core-metadata"},
):
    """One file. `size` in bytes, null if upstream's is no number that fits 63 bits.

    `core_metadata`  false, or the hashes of the file at `url` + `.metadata` (PEP 658, PEP 714)
    `digests`        sha256 and blake2b_256, hex; md5 only where there is no sha256
    `upload_time_iso_8601`  UTC, as `2024-02-29T12:00:00.123456Z`
    `yanked_reason`  free text; null and the empty text both mean none
    """

    core_metadata: bool | dict[str, str] | UnsetType = UNSET
    digests: dict[str, str] | UnsetType = UNSET
    filename: str
    packagetype: str | UnsetType | None = UNSET
    requires_python: str | UnsetType | None = UNSET
    size: int | UnsetType | None = UNSET
    upload_time_iso_8601: str | UnsetType | None = UNSET
    url: str | UnsetType | None = UNSET
    yanked: bool | UnsetType = UNSET
    yanked_reason: str | UnsetType | None = UNSET


class SlimReleases(msgspec.Struct, frozen=True, kw_only=True):
    """`name` is the normalised name, `latest` the document's `info.version`, `serial` its own.

    `releases`: by version text as upstream spells it, ascending by PEP 440 (texts that are no
    version come first); a release without files is an empty list.
    """

    name: str
    display_name: str
    serial: int
    latest: str | None
    releases: dict[str, list[SlimFile]]
