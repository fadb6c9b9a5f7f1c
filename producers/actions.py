"""The meaning of a journal row's free text. Source: pypi/warehouse; older rows have other tags."""

from __future__ import annotations

from schemas.records import Kind

_WHOLE = {
    "create": Kind.CREATE,
    "new release": Kind.NEW_RELEASE,
    "remove release": Kind.REMOVE_RELEASE,
    "remove project": Kind.REMOVE_PROJECT,
    "remove": Kind.REMOVE_PROJECT,  # before 2018; with a version it is a release's
    "yank release": Kind.YANK,
    "unyank release": Kind.UNYANK,
    "project quarantined": Kind.QUARANTINE,
    "project quarantine cleared": Kind.UNQUARANTINE,
    "release quarantined": Kind.RELEASE_QUARANTINE,
    "release quarantine cleared": Kind.RELEASE_UNQUARANTINE,
}
_ROLE_WORDS = ("add ", "remove ", "change ", "invite ", "accepted ", "revoke_invite ", "decline ")
_ROLES = ("owner", "maintainer", "user", "team", "role")


def kind_of(action: str, version: str | None) -> Kind:
    """Kind of a row; an unknown action is a CHANGE, never an error."""
    text = action.strip()
    whole = _WHOLE.get(text)
    if whole is Kind.REMOVE_PROJECT and version is not None:
        return Kind.REMOVE_RELEASE
    if whole is not None:
        return whole
    words = text.split(" ")
    if text.startswith("remove file "):
        return Kind.REMOVE_FILE
    if text.startswith("add ") and "file" in words[1:-1]:
        return Kind.ADD_FILE
    if text.startswith(_ROLE_WORDS) and any(word.lower() in _ROLES for word in words[1:-1]):
        return Kind.ROLE
    if text.startswith("nuke user"):
        return Kind.ROLE
    return Kind.CHANGE
