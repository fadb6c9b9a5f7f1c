"""Which projects a log holds, or a reader wants: globs on normalised names."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from schemas.errors import UsageError
from schemas.records import Filter

GLOB = re.compile(r"[A-Za-z0-9._*?\[\]!-]+", re.ASCII)
"""What a glob on project names may have; with anything else it would fit none."""


def kept(name: str, rule: Filter) -> bool:
    """Whether a log with this filter holds `name` (normalised). No include = everything."""
    included = not rule.include or any(fnmatchcase(name, glob) for glob in rule.include)
    return included and not any(fnmatchcase(name, glob) for glob in rule.exclude)


def in_words(rule: Filter) -> str:
    """A filter for people: `all projects`, `only a*`, `all but b*`, `only a*, without ab*`."""
    included, excluded = ", ".join(rule.include), ", ".join(rule.exclude)
    if not included:
        return f"all but {excluded}" if excluded else "all projects"
    return f"only {included}, without {excluded}" if excluded else f"only {included}"


def project_glob(text: str) -> str:
    """A glob as people write it (`Django*`, `zope.*`), on normalised names."""
    return text.lower() if "[" in text else re.sub(r"[-_.]+", "-", text.lower())


def checked_glob(text: str) -> str:
    """`project_glob` of a user's input. Raises UsageError for a glob that no name can match."""
    if not GLOB.fullmatch(text):
        raise UsageError(
            f"{text!r} fits no project's name",
            hint="a glob has letters, digits, . _ - and * ? [a-z]; several are given one by one",
        )
    return project_glob(text)
