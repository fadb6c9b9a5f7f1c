"""Project names: PEP 508 defines which are valid, PEP 503 when two spellings are the same."""

from __future__ import annotations

import re
from typing import NewType

from packaging.utils import canonicalize_name

from schemas.errors import InvalidName

NormalizedName = NewType("NormalizedName", str)
"""PEP 503 form: lower case, runs of `.`, `_`, `-` as one `-`. The key of every topic."""

NAME_CHARACTERS_MAX = 200  # the longest of 886 000 real names has 80; the index itself stops at 255

# Explicit ASCII ranges and fullmatch: PEP 508's own regex with re.I lets U+017F and U+212A through,
# which then fold onto ASCII names (a collision of keys), and `$` lets a trailing newline through.
_VALID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def normalize(display_name: str) -> NormalizedName:
    """PEP 503 form of a valid name; raises InvalidName for anything else."""
    if len(display_name) > NAME_CHARACTERS_MAX or _VALID.fullmatch(display_name) is None:
        raise InvalidName(f"{display_name[:NAME_CHARACTERS_MAX]!r} is not a project name (PEP 508)")
    return NormalizedName(canonicalize_name(display_name))
