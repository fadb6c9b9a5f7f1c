"""What a journal row's text means."""

from __future__ import annotations

import pytest

from producers.actions import kind_of
from schemas.records import Kind


@pytest.mark.parametrize(
    ("action", "version", "kind"),
    [
        ("create", None, Kind.CREATE),
        ("new release", "1.0", Kind.NEW_RELEASE),
        ("add source file foo-1.0.tar.gz", "1.0", Kind.ADD_FILE),
        ("add py3 file foo-1.0-py3-none-any.whl", "1.0", Kind.ADD_FILE),
        ("remove file foo-1.0.tar.gz", "1.0", Kind.REMOVE_FILE),
        ("remove release", "1.0", Kind.REMOVE_RELEASE),
        ("remove", "1.0", Kind.REMOVE_RELEASE),
        ("remove", None, Kind.REMOVE_PROJECT),
        ("remove project", None, Kind.REMOVE_PROJECT),
        ("yank release", "1.0", Kind.YANK),
        ("unyank release", "1.0", Kind.UNYANK),
        ("project quarantined", None, Kind.QUARANTINE),
        ("project quarantine cleared", None, Kind.UNQUARANTINE),
        ("release quarantined", "1.0", Kind.RELEASE_QUARANTINE),
        ("release quarantine cleared", "1.0", Kind.RELEASE_UNQUARANTINE),
        ("add Owner alice", None, Kind.ROLE),
        ("remove Maintainer bob", None, Kind.ROLE),
        ("accepted Owner carol", None, Kind.ROLE),
        ("revoke_invite Maintainer file", None, Kind.ROLE),
        ("nuke user", None, Kind.ROLE),
        ("docdestroy", None, Kind.CHANGE),
        ("update summary, description, classifiers", "1.0", Kind.CHANGE),
        ("", None, Kind.CHANGE),
        ("add", None, Kind.CHANGE),
        ("&#26085; something new", None, Kind.CHANGE),
    ],
)
def test_an_action_has_a_kind_and_an_unknown_one_is_a_change(
    action: str, version: str | None, kind: Kind
) -> None:
    assert kind_of(action, version) is kind
