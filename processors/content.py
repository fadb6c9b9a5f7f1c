"""The content hash in `state`, computed again from the published records. Pure.

`trim` hashes a canonical form of a document: the metadata without `last_serial`, a newline, and the
releases part of the slim form. It writes that form on one of two paths, and a record does not say
which; so both are tried here.
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
    """The begun hashes of one document's metadata, waiting for its releases: 200 bytes each."""

    hashes: tuple[hashlib._Hash, ...]

    def with_releases(self, releases: bytes) -> frozenset[str]:
        """The values of `state.hash` that fit a `releases` record of this value."""
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
        """The values of `state.hash` that fit a log without the topic `releases`."""
        return frozenset(begun.hexdigest()[:HASH_CHARACTERS] for begun in self.hashes)


def renewed(before: bytes, after: bytes, releases: bytes | None, known: str) -> str | None:
    """The hash of `after`, if `known` is that of `before`; None if it is not. Both are metadata.

    `releases`: the value beside both, None where the log has no such topic.
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
    """Begin with a value of `metadata`. For one that is no JSON object no hash fits."""
    try:
        forms = {_as_it_is(metadata), _sorted(metadata)}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Started(())
    return Started(tuple(hashlib.sha256(form, usedforsecurity=False) for form in forms))
