"""The hash that `state` has of what is published, made anew from the published records. Pure.

`trim` hashes a canonical form while it takes a document apart: the metadata without `last_serial`,
a newline, and the releases part of the slim form. Of its two ways to write that form a record does
not say which one made it, so both are tried here.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec
from msgspec import Raw

from processors.slim import releases_of
from processors.trim import HASH_CHARACTERS

_SERIAL_KEY = "last_serial"

_object = msgspec.json.Decoder(dict[str, Raw]).decode
_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class Started(NamedTuple):
    """Hashes of one document's metadata that wait for its releases: some 200 bytes each."""

    hashes: tuple[hashlib._Hash, ...]

    def with_releases(self, releases: bytes) -> frozenset[str]:
        """What `state.hash` may be for a `releases` record of this value."""
        try:
            part = releases_of(releases)
        except ValueError:
            return frozenset()
        found = set()
        for begun in self.hashes:
            digest = begun.copy()
            digest.update(b"\n")
            digest.update(part)
            found.add(digest.hexdigest()[:HASH_CHARACTERS])
        return frozenset(found)

    def alone(self) -> frozenset[str]:
        """The same for a log without the topic `releases`."""
        return frozenset(begun.hexdigest()[:HASH_CHARACTERS] for begun in self.hashes)


def renewed(before: bytes, after: bytes, releases: bytes | None, known: str) -> str | None:
    """The hash of `after`, if `known` is that of `before`; None if it is not. Both are metadata.

    `releases`: what lies beside either, None where the log has no such topic.
    """
    try:
        for form in (_as_it_is, _sorted):
            if _hash(form(before), releases) == known:
                return _hash(form(after), releases)
    except (ValueError, RecursionError):  # msgspec's and UnicodeDecodeError are ValueErrors, too
        return None
    return None


def _hash(form: bytes, releases: bytes | None) -> str:
    begun = Started((hashlib.sha256(form, usedforsecurity=False),))
    [found] = begun.alone() if releases is None else begun.with_releases(releases)
    return found


def _as_it_is(metadata: bytes) -> bytes:
    top = _object(metadata)
    top.pop(_SERIAL_KEY, None)
    return _encode(top)


def _sorted(metadata: bytes) -> bytes:
    values = _any(metadata)
    values.pop(_SERIAL_KEY, None)
    return _encode_sorted(values)


def started(metadata: bytes) -> Started:
    """Begin with a value of `metadata`; no hash at all fits one that is no JSON object."""
    try:
        forms = {_as_it_is(metadata), _sorted(metadata)}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Started(())
    return Started(tuple(hashlib.sha256(form, usedforsecurity=False) for form in forms))
