"""Values as SQL writes them, for statements that take no parameters: ATTACH, COPY, COMMENT."""

from __future__ import annotations


def literal(value: object) -> str:
    """A whole number as it is, all else as a text in its quotes."""
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"
