"""Which projects a log holds."""

from __future__ import annotations

from fnmatch import fnmatchcase

from schemas.records import Filter


def kept(name: str, rule: Filter) -> bool:
    """Whether a log with this filter holds `name` (normalised). No include = everything."""
    included = not rule.include or any(fnmatchcase(name, glob) for glob in rule.include)
    return included and not any(fnmatchcase(name, glob) for glob in rule.exclude)
