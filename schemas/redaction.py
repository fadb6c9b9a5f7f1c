"""The rules of redaction: what is left out of documents and of the journal for ever, and how. Pure.

A field of `info` that is left out becomes null, as does `ownership`; nothing else in the value
changes. With `ownership` the user names in the journal's actions are masked, too. `trim` applies
the rules to what is fetched, `processors.rewriting` to what the log holds already,
`streams.masking` to what sinks and feeds read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from schemas.codec import decode, encode
from schemas.records import ChangelogEntry, Config, DeadLetter, Kind, Rule

OWNERSHIP = "ownership"
PERSONAL = frozenset(("author", "author_email", "maintainer", "maintainer_email", OWNERSHIP))
"""The fields that are about persons: what a rule without fields leaves out."""
PLACES = frozenset(
    (
        *("summary", "keywords", "license", "home_page", "bugtrack_url"),
        *("docs_url", "download_url", "project_urls"),
    )
)
"""Fields in which a person may be named, too."""
FIELDS = PERSONAL | PLACES
ALL_PERSONAL = "personal"
"""What stands for PERSONAL where fields are given."""
ANOMALY = "redacted"
"""The slug in the header `anomalies` of a document that something was left out of."""
MASK = "***"
"""What stands for a user name in an action."""

_NULL = Raw(b"null")
_ROLES = ("owner", "maintainer", "user", "team", "role")
_NO_NAME_BEHIND = ("invite", "for")
_object = msgspec.json.Decoder(dict[str, Raw]).decode


@dataclass(frozen=True)
class Rules:
    """Which fields are left out, of every project and by name; `count` never falls in a log."""

    everywhere: frozenset[str] = frozenset()
    by_name: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    count: int = 0

    def fields(self, name: str) -> frozenset[str]:
        """The fields that are left out of the project with that (normalised) name."""
        own = self.by_name.get(name)
        return self.everywhere if own is None else self.everywhere | own

    @property
    def names(self) -> frozenset[str] | None:
        """The only names that any rule concerns; None = a rule concerns every project."""
        return None if self.everywhere else frozenset(self.by_name)


NO_RULES = Rules()


def rules_of(config: Config | None, rules: Iterable[Rule]) -> Rules:
    """The rules that a log was founded with and was given since. Unknown fields are ignored."""
    found = tuple(dict.fromkeys(rules))
    everywhere = known_fields(config.leave_out if config is not None else ())
    count = len(found) + (1 if everywhere else 0)
    by_name: dict[str, frozenset[str]] = {}
    for rule in found:
        wanted = known_fields(rule.fields)
        if rule.name:
            by_name[rule.name] = by_name.get(rule.name, frozenset()) | wanted
        else:
            everywhere |= wanted
    return Rules(everywhere, MappingProxyType(by_name), count)


def known_fields(fields: Iterable[str]) -> frozenset[str]:
    """Those of the fields that can be left out, with `personal` expanded."""
    given = frozenset(fields)
    return given & FIELDS | (PERSONAL if ALL_PERSONAL in given else frozenset())


def redacted(metadata: bytes, fields: frozenset[str]) -> bytes:
    """A value of `metadata` with these fields set to null; the same object if it has none of them.

    Raises msgspec.MsgspecError if it is no document.
    """
    if not fields:
        return metadata
    top = _object(metadata)
    changed = OWNERSHIP in fields and _empty(top, OWNERSHIP)
    info = _object(top["info"]) if "info" in top else {}
    emptied = [each for each in sorted(fields - {OWNERSHIP}) if _empty(info, each)]
    if emptied:
        top["info"] = Raw(encode(info))
        changed = True
    return encode(top) if changed else metadata


def _empty(values: dict[str, Raw], key: str) -> bool:
    """Set a value to null; False if it is absent or null already."""
    if key not in values or bytes(values[key]).strip() == b"null":
        return False
    values[key] = _NULL
    return True


def masked_action(action: str) -> str:
    """An action about a role with the user's name masked: `add Owner ***`."""
    words = action.split(" ")
    for place, word in enumerate(words[1:], 1):
        if word.lower() in _ROLES:
            head, tail = words[: place + 1], words[place + 1 :]
            break
    else:
        return action
    while len(tail) > 1 and tail[0] in _NO_NAME_BEHIND:
        head.append(tail.pop(0))
    last: list[str] = []
    if len(tail) > 2 and tail[-2] == "to" and tail[-1].lower() in _ROLES:  # noqa: PLR2004
        last = tail[-2:]
    return " ".join((*head, MASK, *last)) if tail else action


def masked_entry(value: bytes, fields: frozenset[str]) -> bytes:
    """A value of `changelog` with user names masked, if they are left out. Raises LogCorrupt."""
    if OWNERSHIP not in fields:
        return value
    entry = decode(value, ChangelogEntry)
    if entry.kind is not Kind.ROLE:
        return value
    return encode(replace(entry, action=masked_action(entry.action)))


def masked_letter(value: bytes) -> bytes:
    """A value of `dead-letter` without its excerpt. Raises LogCorrupt."""
    letter = decode(value, DeadLetter)
    return encode(replace(letter, excerpt="", hash="")) if letter.excerpt else value
