"""`GET /pypi/<name>/<version>/json`: one release, in PyPI's shape.

The release that a document describes is held completely. Of every other release the files are held:
`info` has only what these tell, and `held` says so, lest anybody takes absent data for empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Raw
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from schemas.names import NormalizedName
from schemas.records import Status
from schemas.releases import SlimFile
from sinks.http.answers import json_answer, not_ready, problem
from sinks.http.documents import OWED_SECONDS
from sinks.http.library import Document, Library, Releases
from sinks.http.projects import absent, moved, name_in
from sinks.http.resolver.files import version_of

PATH = "/pypi/{name}/{version}/json"


class KnownInfo(msgspec.Struct, frozen=True):
    """Of a release of which only files are held; the keys are PyPI's.

    `requires_python` null = none, or the files differ; `yanked`: all files are.
    """

    name: str
    version: str
    requires_python: str | None
    yanked: bool
    yanked_reason: str | None


class VersionDocument(msgspec.Struct, frozen=True):
    """`GET /pypi/<name>/<version>/json`.

    held             "all", or "files": of this release nothing but those, and what they say
    urls             its files; only of the latest release as whole as PyPI gives them
    vulnerabilities  null = not held, which does not mean "none"
    """

    info: Raw | KnownInfo
    last_serial: int
    urls: Raw | list[SlimFile]
    vulnerabilities: Raw | None
    ownership: Raw | None
    held: Literal["all", "files"]


class _Info(msgspec.Struct):
    version: Any = None


_parts = msgspec.json.Decoder(dict[str, Raw]).decode
_info = msgspec.json.Decoder(_Info).decode


def routes(library: Library) -> list[BaseRoute]:
    """For the application."""

    async def one(request: Request) -> Response:
        if library.view() is None:
            return not_ready()
        name, version = name_in(request), request.path_params["version"]
        if name != request.path_params["name"]:
            return moved(f"/pypi/{quote(name)}/{quote(version)}/json")
        document, releases = library.document(name), library.releases(name)
        if document is None or releases is None:
            return _missing(library, name)
        found = version_document(document, releases, version)
        if found is None:
            return problem(HTTPStatus.NOT_FOUND, "Not Found", _why_not(name, releases))
        serial = {"X-PyPI-Last-Serial": str(document.serial)}
        return json_answer(request, found, headers=serial)

    return [Route(PATH, one, methods=["GET"])]


def version_document(
    document: Document, releases: Releases, version: str
) -> VersionDocument | None:
    """The release of that version, in any spelling of it (PEP 440); None if it is not held."""
    whole, latest, files_of = _read(document)
    held = [*releases.slim.releases, *([latest] if latest is not None else [])]
    spelled = _spelling(version, held)
    if spelled is None:
        return None
    files = releases.slim.releases.get(spelled, [])
    if spelled == latest:
        return VersionDocument(
            info=whole["info"],
            last_serial=document.serial,
            urls=files_of.get(spelled, files),
            vulnerabilities=whole.get("vulnerabilities"),
            ownership=whole.get("ownership"),
            held="all",
        )
    return VersionDocument(
        info=_known(releases.slim.display_name, spelled, files),
        last_serial=document.serial,
        urls=files,
        vulnerabilities=None,
        ownership=whole.get("ownership"),
        held="files",
    )


def _read(document: Document) -> tuple[dict[str, Raw], str | None, dict[str, Raw]]:
    """A document's parts, the version it describes, and its files by version."""
    try:
        whole = _parts(document.body)
        latest = _info(whole.get("info", b"{}")).version
        files = _parts(whole.get("releases", b"{}"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}, None, {}
    return whole, latest if isinstance(latest, str) else None, files


def _spelling(version: str, held: Sequence[str]) -> str | None:
    """As it stands, else another text of the same version."""
    if version in held:
        return version
    wanted = version_of(version)
    if wanted is None:
        return None
    known = ((text, version_of(text)) for text in held)
    return next((text for text, each in known if each and each.order == wanted.order), None)


def _known(name: str, version: str, files: Sequence[SlimFile]) -> KnownInfo:
    pythons = {None if each.requires_python is UNSET else each.requires_python for each in files}
    yanked = bool(files) and all(each.yanked is True for each in files)
    reasons = (each.yanked_reason for each in files if each.yanked_reason)
    return KnownInfo(
        name=name,
        version=version,
        requires_python=pythons.pop() if len(pythons) == 1 else None,
        yanked=yanked,
        yanked_reason=next(reasons, None) if yanked else None,
    )


def _why_not(name: NormalizedName, releases: Releases) -> str:
    if releases.held == "latest":
        return "only the latest release is held here (--releases latest)"
    if releases.omitted:
        return f"the {releases.omitted} lowest releases were too many to be held"
    return f"{name} has no such release; all that there are: /v1/projects/{name}"


def _missing(library: Library, name: NormalizedName) -> Response:
    """404, or 503 while it is owed: nobody should take it for removed."""
    state = library.state(name)
    if state is not None and state.status in (Status.PENDING, Status.PARKED):
        hint = f"upstream has not given it yet: it is {state.status}"
        again = {"Retry-After": str(OWED_SECONDS)}
        text = "the document is not here yet"
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, text, hint, again)
    return absent(library, name)
