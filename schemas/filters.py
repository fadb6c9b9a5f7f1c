"""Which projects a log holds, or somebody wants to hear of: globs on normalised names."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from schemas.records import Filter


def kept(name: str, rule: Filter) -> bool:
    """Whether a log with this filter holds `name` (normalised). No include = everything."""
    included = not rule.include or any(fnmatchcase(name, glob) for glob in rule.include)
    return included and not any(fnmatchcase(name, glob) for glob in rule.exclude)


def project_glob(text: str) -> str:
    """A glob as people write it (`Django*`, `zope.*`), on normalised names."""
    return text.lower() if "[" in text else re.sub(r"[-_.]+", "-", text.lower())
