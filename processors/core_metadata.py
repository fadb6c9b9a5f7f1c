"""A file's core metadata (PEP 566, 643, 658): text of any size and encoding in, fields out. Pure.

Only the headers are read: what follows them is the description, which is never published.
`packaging.metadata` parses; what it cannot understand is left out, never repaired. Its work grows
with the lines times the different names, so both are bounded before it begins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

from schemas.errors import MalformedMetadata

HEAD_BYTES_MAX = 1024 * 1024  # headers of the longest known have under 100 KB
LINES_MAX = 20_000  # 1 000 requirements and as many classifiers are a fifth of it
NAMES_MAX = 200  # the specification has 30

Fields: TypeAlias = Mapping[str, object]
"""Values by the names of `packaging.metadata.RawMetadata`: a text, a list of texts or a map."""

_END_OF_HEAD = re.compile(rb"\r?\n\r?\n|\r\r")
_NAME = re.compile(rb"^([^\s:]+)[ \t]*:", re.MULTILINE)


def parse_core_metadata(body: bytes) -> Fields:
    """Read the headers. Raises MalformedMetadata for too much text, or for no metadata at all."""
    from packaging.metadata import parse_email  # 20 ms of every start, and needed by few

    end = _END_OF_HEAD.search(body, 0, HEAD_BYTES_MAX + 4)
    head = body[: end.start()] if end else body
    if len(head) > HEAD_BYTES_MAX:
        raise _refused(f"headers of over {HEAD_BYTES_MAX} bytes")
    lines = head.count(b"\n") + head.count(b"\r")
    if lines > LINES_MAX:
        raise _refused(f"{lines} lines of headers; at most {LINES_MAX} are read")
    names = {match.group(1).lower() for match in _NAME.finditer(head)}
    if len(names) > NAMES_MAX:
        raise _refused(f"{len(names)} different headers; at most {NAMES_MAX} are read")
    try:
        raw, _left_out = parse_email(head + b"\n\n")
    except (ValueError, LookupError) as error:  # what email raises for odd encodings
        raise _refused(str(error)[:200]) from error
    fields = {name: value for name, value in raw.items() if _is_text(value)}
    fields.pop("description", None)
    if "name" not in fields or "version" not in fields:
        raise _refused("no name or no version")
    return fields


def _is_text(value: object) -> bool:
    """Whether JSON can carry the text: it has no lone surrogate."""
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, list):
        return all(map(_is_text, value))
    if isinstance(value, dict):
        return all(map(_is_text, (*value, *value.values())))
    return False


def _refused(what: str) -> MalformedMetadata:
    return MalformedMetadata(f"core metadata: {what}", reason="core-metadata")
