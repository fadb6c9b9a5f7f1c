"""Values as SQL literals, for statements that take no parameters: ATTACH, COPY, COMMENT."""

from __future__ import annotations


def literal(value: object) -> str:
    """A whole number as it is, anything else as a quoted text."""
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"
