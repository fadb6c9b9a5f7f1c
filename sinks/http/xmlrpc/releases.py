"""XML-RPC methods on one project: its releases, their files and metadata, its roles.

Shapes are those of PyPI's documentation. What is not held is null (of a file: the comment, the MD5
where there is a SHA-256), and where that would be the whole answer, a fault that says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET

from schemas.names import NormalizedName
from schemas.releases import SlimFile
from sinks.http.library import Library, Releases
from sinks.http.xmlrpc.journal import held
from sinks.http.xmlrpc.parameters import counted, flag, project, text
from sinks.http.xmlrpc.wire import APPLICATION_ERROR, LONG_MAX, Refusal, Value

_WHEEL_PARTS_MIN = 5  # PEP 427: name, version, three tags
_PACKAGES = "/packages/"  # in a file's address; its path begins after that
_TEXTS = (
    *("bugtrack_url", "package_url", "release_url", "docs_url", "home_page", "download_url"),
    *("author", "author_email", "maintainer", "maintainer_email", "summary", "license"),
    *("keywords", "platform", "requires_python"),
)
_NOT_GIVEN_ANY_MORE = (
    *("requires", "provides", "provides_dist", "obsoletes", "obsoletes_dist", "requires_external"),
)
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class ReleaseMethods:
    """The methods; each takes its parameters as they came."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def package_releases(self, given: Sequence[object]) -> Value:
        """[version, ...]: the latest, with `show_hidden` all, the newest first."""
        package, show_hidden = counted(given, 1, 2)
        releases = self._releases(package)
        if releases is None:
            return []
        if not flag(show_hidden, "show_hidden"):
            return [] if releases.slim.latest is None else [releases.slim.latest]
        if releases.held == "latest":
            raise _not_held("older releases are not held here, only the latest")
        return list(reversed(releases.slim.releases))

    async def release_urls(self, given: Sequence[object]) -> Value:
        """[{...}, ...]: the files of a release."""
        package, release = counted(given, 2, 2)
        version = text(release, "release_version")
        name, releases = project(package, "package_name"), self._releases(package)
        if name is None or releases is None:
            return []
        files = releases.slim.releases.get(version)
        if files is None:
            if releases.held == "latest":
                raise _not_held(f"files of {version} are not held here, only of the latest release")
            return []
        whole = self._whole_files(name, version)
        return [_file(file, whole.get(file.filename, {})) for file in files]

    async def release_data(self, given: Sequence[object]) -> Value:
        """{...}: the metadata of a release; held is that of the latest."""
        package, release = counted(given, 2, 2)
        version = text(release, "release_version")
        name, releases = project(package, "package_name"), self._releases(package)
        document = {} if name is None else self._document(name)
        info = _object(document.get("info"))
        if info and info.get("version") == version:
            return _metadata(info, len(releases.slim.releases) if releases else 0)
        if releases is None or (version not in releases.slim.releases and releases.held == "all"):
            return {}
        raise _not_held(
            f"the metadata of {version} is not held here, only that of {info.get('version')}; "
            "release_urls has its files, beside most of which there is a .metadata"
        )

    async def package_roles(self, given: Sequence[object]) -> Value:
        """[[role, user], ...]: owners, then maintainers, by name."""
        name = project(counted(given, 1, 1)[0], "package_name")
        held(self._library)
        roles = [] if name is None else roles_in(self._document(name))
        roles.sort(key=lambda each: each[1])
        roles.sort(key=lambda each: each[0], reverse=True)
        return [list(each) for each in roles]

    async def package_hosting_mode(self, given: Sequence[object]) -> Value:
        """Where files are: since PEP 470 all with the index. Null for a project not there."""
        name = project(counted(given, 1, 1)[0], "package_name")
        held(self._library)
        here = name is not None and self._library.listed(name) is not None
        return "pypi-explicit" if here else None

    def _releases(self, package: object) -> Releases | None:
        name = project(package, "package_name")
        held(self._library)
        return None if name is None else self._library.releases(name)

    def _document(self, name: NormalizedName) -> dict[str, Any]:
        document = self._library.document(name)
        try:
            return {} if document is None else _decode(document.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}

    def _whole_files(self, name: NormalizedName, version: str) -> dict[str, Mapping[str, Any]]:
        """The files of a release that the document itself has, by name: with more keys."""
        files = _object(self._document(name).get("releases")).get(version)
        rows = [each for each in files if isinstance(each, dict)] if isinstance(files, list) else []
        return {str(each.get("filename")): each for each in rows}


def roles_in(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Role and user, as `ownership` has them."""
    roles = _object(document.get("ownership")).get("roles")
    found = (_object(each) for each in roles) if isinstance(roles, list) else ()
    pairs = ((each.get("role"), each.get("user")) for each in found)
    return [(role, user) for role, user in pairs if isinstance(role, str) and isinstance(user, str)]


def _file(file: SlimFile, whole: Mapping[str, Any]) -> Mapping[str, Value]:
    digests = file.digests or {}
    sha256 = digests.get("sha256")
    md5 = digests.get("md5") or _text(_object(whole.get("digests")).get("md5"))
    time, url = file.upload_time_iso_8601 or None, file.url or ""
    return {
        "filename": file.filename,
        "packagetype": file.packagetype or None,
        "python_version": _text(whole.get("python_version")) or _python_of(file),
        "size": None if file.size is UNSET else file.size,
        "md5_digest": md5,
        "sha256_digest": sha256,
        "digests": {"md5": md5, "sha256": sha256},
        "has_sig": whole.get("has_sig") is True,
        "upload_time": time,
        "upload_time_iso_8601": time,
        "comment_text": _text(whole.get("comment_text")) or "",
        "downloads": -1,
        "path": _path(url),
        "url": url,
    }


def _python_of(file: SlimFile) -> str:
    """What PyPI calls the Python of a file: a wheel's tag, else `source`."""
    parts = file.filename.removesuffix(".whl").split("-")
    if file.filename.endswith(".whl") and len(parts) >= _WHEEL_PARTS_MIN:
        return parts[-3]
    return "source"


def _path(url: str) -> str:
    path = urlsplit(url).path if _is_address(url) else url
    return path.partition(_PACKAGES)[2] or path.lstrip("/")


def _is_address(url: str) -> bool:
    try:
        return bool(urlsplit(url).scheme)
    except ValueError:  # "[" where a host should be
        return False


def _metadata(info: Mapping[str, Any], releases: int) -> Mapping[str, Value]:
    urls = _object(info.get("project_urls"))
    return {
        "name": _text(info.get("name")),
        "version": _text(info.get("version")),
        "stable_version": "",
        **{name: _text(info.get(name)) for name in _TEXTS},
        "project_url": [f"{label}, {_text(url) or ''}" for label, url in urls.items()],
        "description": None,
        "classifiers": _texts(info.get("classifiers")),
        "requires_dist": _texts(info.get("requires_dist")),
        **{name: [] for name in _NOT_GIVEN_ANY_MORE},
        "_pypi_ordering": min(releases, LONG_MAX),
        "_pypi_hidden": False,
        "downloads": {"last_day": -1, "last_week": -1, "last_month": -1},
        "cheesecake_code_kwalitee_id": None,
        "cheesecake_documentation_id": None,
        "cheesecake_installability_id": None,
    }


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _not_held(words: str) -> Refusal:
    return Refusal(APPLICATION_ERROR, f"RuntimeError: {words}")
