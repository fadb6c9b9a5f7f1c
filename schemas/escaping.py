"""Makes text from strangers safe to print: nothing is hidden, nothing reordered."""

from __future__ import annotations


def escaped(text: str) -> str:
    """`text` with everything escaped that could control a terminal, or hide or reorder text.

    That is everything that Unicode calls not printable: control characters (escape sequences, new
    lines), bidi controls, zero-width characters, separators other than the space, lone surrogates.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(ord(c)) for c in text)


def _escape(code: int) -> str:
    if code <= 0xFF:  # noqa: PLR2004  \xhh has two digits
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004  the same
