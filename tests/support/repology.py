"""The drop-in dump read as Repology reads it: one JSON array, cut into documents, keys indexed.

Repology's parser takes one document at a time out of the array and indexes what it needs: null is
an answer, a missing key is an exception. Imports nothing of the project.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

INFO_KEYS = ("name", "project_url", "home_page", "author_email", "summary", "project_urls")
_BLANKS = " \t\r\n"


class RepologyPackage(NamedTuple):
    """What Repology takes from one document."""

    info: dict[str, Any]
    files: list[tuple[str, bool, str | None]]  # version, yanked, url


def documents(text: str) -> Iterator[dict[str, Any]]:
    """Cut one JSON array into its documents, never decoding more than one at a time.

    Raises ValueError if it is no array of objects, ends early, or has anything behind its end.
    """
    decoder = json.JSONDecoder()
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        raise ValueError("the dump does not start with an array")
    at = _skip(text, at + 1)
    first = True
    while text[at : at + 1] != "]":
        if not first:
            if text[at : at + 1] != ",":
                raise ValueError(f"no comma between documents at {at}")
            at = _skip(text, at + 1)
        document, at = decoder.raw_decode(text, at)
        if not isinstance(document, dict):
            raise ValueError(f"no document before {at}")  # noqa: TRY004 - the text is wrong
        yield document
        first = False
        at = _skip(text, at)
    if _skip(text, at + 1) != len(text):
        raise ValueError("data behind the array")


def read(dump: bytes) -> Iterator[RepologyPackage]:
    """Every package of a decompressed `pypicache.json`; raises KeyError for any missing key."""
    for document in documents(dump.decode()):
        info = document["info"]
        yield RepologyPackage(
            info={key: info[key] for key in INFO_KEYS},
            files=[
                (version, file["yanked"], file["url"])
                for version, files in document["releases"].items()
                for file in files
            ],
        )


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANKS:
        at += 1
    return at
