"""Decodes what a row needs of a project document; files, half of it, are skipped unread. Pure."""

from __future__ import annotations

import msgspec


class _Upload(msgspec.Struct, gc=False):
    """An element of `urls`."""

    upload_time_iso_8601: str | None = None


class _Document(msgspec.Struct, gc=False):
    """`info`, `ownership` and `vulnerabilities` stay raw, and are read with care."""

    info: object = None
    ownership: object = None
    vulnerabilities: object = None
    urls: list[_Upload] | None = None


_lean = msgspec.json.Decoder(_Document)
_whole = msgspec.json.Decoder()


def decoded(value: bytes, *, files: bool) -> object:
    """The document; without `files` only the upload times of its files are read.

    Raises msgspec.MsgspecError, UnicodeError or RecursionError if it is no JSON where it is read.
    """
    if files:
        return _whole.decode(value)
    try:
        found = _lean.decode(value)
    except msgspec.ValidationError:  # of an unexpected shape, which its row will note
        return _whole.decode(value)
    return {
        "info": found.info,
        "ownership": found.ownership,
        "vulnerabilities": found.vulnerabilities,
        "urls": [{"upload_time_iso_8601": each.upload_time_iso_8601} for each in found.urls or ()],
    }
