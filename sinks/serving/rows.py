"""What the serving view needs of a record, as plain values. Pure.

A document is decoded only for lists and relations; its bytes are served unchanged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from schemas.names import NAME_CHARACTERS_MAX
from schemas.records import SERIAL_MAX
from schemas.releases import SlimReleases
from sinks.dependencies import parse
from sinks.release_rows import files_by_version, releases_in_document
from sinks.softly import Fields, moment_of
from streams.log import Record

ETAG_BYTES = 6  # of a hash of the body, besides its serial: two bodies may have the same serial
ROLES_MAX = 1_000  # of one project; the most seen is below a hundred
TEXT_CHARACTERS_MAX = 2_000  # of a summary in lists; upstream itself stops at 512


class _Info(msgspec.Struct):
    name: str
    version: str | None = None
    summary: str | None = None
    classifiers: list[str] | None = None
    requires_dist: list[str] | None = None


class _Role(msgspec.Struct):
    role: str
    user: str


class _Ownership(msgspec.Struct):
    roles: list[_Role] | None = None


class _Document(msgspec.Struct):
    info: _Info
    ownership: _Ownership | None = None


class Needs(msgspec.Struct, array_like=True, frozen=True):
    """The lines of `requires_dist` that name one project."""

    dependency: str
    optional: bool
    requirements: list[str]


class Relations(msgspec.Struct, array_like=True, frozen=True):
    """A document's relations to other names; stored with it, so that its old rows can be found."""

    needs: list[Needs] = []
    roles: list[tuple[str, str]] = []  # user, role
    classifiers: list[str] = []


class Facts(msgspec.Struct, frozen=True):
    """What lists and relations need of a document. Empty texts are None."""

    display_name: str
    version: str | None
    summary: str | None
    relations: Relations


_document = msgspec.json.Decoder(_Document)
_slim = msgspec.json.Decoder(SlimReleases)
_anything = msgspec.json.Decoder()
_relations = msgspec.msgpack.Decoder(Relations)
pack_relations = msgspec.msgpack.Encoder().encode
unpack_relations = _relations.decode


def facts_of(key: str, body: bytes) -> Facts:
    """Never raises: for a document that cannot be read only the name is known."""
    try:
        document = _document.decode(body)
    except msgspec.ValidationError:
        return _facts_of_anything(key, body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return Facts(key, None, None, Relations())
    info, ownership = document.info, document.ownership
    roles = [(each.user, each.role) for each in (ownership and ownership.roles) or ()]
    return Facts(
        info.name or key,
        info.version,
        _text(info.summary),
        _related(info.requires_dist or (), roles, info.classifiers or ()),
    )


def _facts_of_anything(key: str, body: bytes) -> Facts:
    """The facts of a document of another shape, as far as it can be read."""
    whole = Fields(_anything.decode(body), "", [])
    info = whole.child("info")
    found = ((each.text("user"), each.text("role")) for each in _roles_in(whole))
    roles = [(user, role) for user, role in found if user and role]
    version = info.raw("version")
    return Facts(
        info.text("name") or key,
        version if isinstance(version, str) else None,
        _text(info.text("summary")),
        _related(info.texts("requires_dist") or (), roles, info.texts("classifiers") or ()),
    )


def _roles_in(whole: Fields) -> list[Fields]:
    return whole.child("ownership").children("roles")


def _text(summary: str | None) -> str | None:
    return summary[:TEXT_CHARACTERS_MAX] if summary else None


def _related(
    requires: Iterable[str], roles: list[tuple[str, str]], classifiers: Iterable[str]
) -> Relations:
    lines: dict[str, list[tuple[str, bool]]] = {}
    for requirement in requires:
        parsed = parse(requirement)
        if parsed.dependency is not None and len(parsed.dependency) <= NAME_CHARACTERS_MAX:
            line = (requirement, parsed.extra is not None)
            lines.setdefault(parsed.dependency, []).append(line)
    needs = [
        Needs(dependency, all(extra for _, extra in found), [text for text, _ in found])
        for dependency, found in lines.items()
    ]
    return Relations(needs, sorted(set(roles))[:ROLES_MAX], sorted(set(classifiers)))


def etag_of(body: bytes, serial: int) -> str:
    """An entity tag (RFC 9110, 8.8.3), with its quotes. Weak: the same for every encoding."""
    return f'W/"{serial}-{hashlib.blake2b(body, digest_size=ETAG_BYTES).hexdigest()}"'


def whole_number(record: Record, header: str) -> int:
    """A header that is a number; 0 if it is none."""
    text = record.header(header) or ""
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(SERIAL_MAX)):
        return 0
    return min(int(text), SERIAL_MAX)


def unix_seconds(record: Record, header: str) -> int:
    """A header that is a time; 0 if it is none."""
    text = moment_of(record.header(header))
    return 0 if text is None else int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def slim_of(value: bytes) -> SlimReleases:
    """A decoded `releases` value; malformed parts are left out.

    Raises msgspec.MsgspecError or RecursionError if it is not JSON.
    """
    try:
        return _slim.decode(value)
    except msgspec.ValidationError:
        whole = Fields(_anything.decode(value), "", [])
    return SlimReleases(
        name=whole.text("name") or "",
        display_name=whole.text("display_name") or "",
        serial=whole.number("serial") or 0,
        latest=whole.text("latest"),
        releases=files_by_version(whole.child("releases")),
    )


def slim_of_document(name: str, serial: int, body: bytes) -> SlimReleases:
    """The releases in the document itself, if no others are held. Raises as `slim_of`."""
    whole = Fields(_anything.decode(body), "", [])
    info = whole.child("info")
    latest = info.raw("version")
    version = latest if isinstance(latest, str) else None
    return SlimReleases(
        name=name,
        display_name=info.text("name") or name,
        serial=serial,
        latest=version,
        releases=releases_in_document(whole, version),
    )
