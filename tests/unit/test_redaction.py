"""What a rule leaves out, and how rules add up."""

from __future__ import annotations

import json

import pytest

from schemas.codec import decode, encode
from schemas.records import ChangelogEntry, Config, Kind, Rule
from schemas.redaction import (
    PERSONAL,
    known_fields,
    masked_action,
    masked_entry,
    redacted,
    rules_of,
)

DOCUMENT = {
    "info": {
        "author": "Ada",
        "author_email": "ada@example.org",
        "maintainer": "",
        "name": "foo",
        "project_urls": {"Ada": "https://ada.example.org"},
    },
    "last_serial": 7,
    "ownership": {"roles": [{"role": "Owner", "user": "ada"}], "organization": None},
    "releases": {"1.0": [{"filename": "a\u00e9.whl", "size": 1.5}]},
}


def test_only_the_fields_named_become_null() -> None:
    """Everything else is the same value, down to its bytes and its order."""
    before = json.dumps(DOCUMENT, separators=(",", ":"), ensure_ascii=False).encode()
    after = redacted(before, frozenset({"author_email", "ownership", "maintainer_email"}))

    expected = {**DOCUMENT, "info": {**DOCUMENT["info"], "author_email": None}, "ownership": None}  # type: ignore[dict-item]
    assert json.dumps(expected, separators=(",", ":"), ensure_ascii=False).encode() == after


def test_what_is_not_there_changes_nothing() -> None:
    """Whoever compares by identity sees that nothing was left out."""
    bare = b'{"info":{"name":"foo","author":null},"last_serial":1}'

    assert redacted(bare, PERSONAL) is bare
    assert redacted(b"not JSON", frozenset()) == b"not JSON"


@pytest.mark.parametrize(
    ("action", "masked"),
    [
        ("add Owner alice", "add Owner ***"),
        ("remove Maintainer bob", "remove Maintainer ***"),
        ("change Owner bob to Maintainer", "change Owner *** to Maintainer"),
        ("accepted Owner to", "accepted Owner ***"),
        ("decline invite Maintainer user7", "decline invite Maintainer ***"),
        ("revoke_invite Maintainer file", "revoke_invite Maintainer ***"),
        ("invite Owner invite for carol", "invite Owner invite for ***"),
        ("add Owner user", "add Owner ***"),
        ("nuke user mallory", "nuke user ***"),
        ("add Owner a b c", "add Owner ***"),
        ("create", "create"),
        ("new release", "new release"),
    ],
)
def test_user_names_in_actions_are_masked(action: str, masked: str) -> None:
    """Whatever stands behind the role is the user, also where it is spelled like a role."""
    assert masked_action(action) == masked


def test_rows_of_other_kinds_keep_their_text() -> None:
    """A file's name may hold the word for a role."""
    row = ChangelogEntry(7, "Foo", "1", 0, "add py3 file Owner-1-user.whl", Kind.ADD_FILE)
    role = ChangelogEntry(8, "Foo", None, 0, "add Owner alice", Kind.ROLE)

    assert masked_entry(encode(row), PERSONAL) == encode(row)
    assert masked_entry(encode(role), frozenset({"author"})) == encode(role)
    assert decode(masked_entry(encode(role), PERSONAL), ChangelogEntry).action == "add Owner ***"


def test_rules_add_up_and_are_counted() -> None:
    """What is left out from the start counts as one rule; what nobody knows counts for nothing."""
    config = Config("log", 1, 1, leave_out=("author",))
    rules = rules_of(
        config,
        [
            Rule("foo", ("personal",)),
            Rule("foo", ("home_page",)),
            Rule("", ("summary", "name", "x")),
        ],
    )

    assert rules.fields("bar") == {"author", "summary"}
    assert rules.fields("foo") == PERSONAL | {"home_page", "summary"}
    assert rules.count == 4
    assert known_fields(("name", "version", "personal")) == PERSONAL
    assert rules_of(None, []).count == 0
