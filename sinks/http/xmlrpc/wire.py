"""XML-RPC as it goes out: values, answers, faults. Pure.

Written by hand, because the standard library refuses integers over 2**31 - 1 and text that XML
cannot hold, and because a list of all packages has to leave piece by piece. What it can write, it
writes the same; its reader and every other reads this.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import NamedTuple

PARSE_ERROR = -32700  # these four: "Specification for Fault Code Interoperability"
NO_METHOD = -32601
WRONG_PARAMETERS = -32602
APPLICATION_ERROR = -32500  # what PyPI gives every error of a method, too
CONTENT_TYPE = "text/xml"

INT_MAX = 2**31 - 1  # of <int>; above it is <i8>, which all readers of PyPI's serials know
LONG_MAX = 2**63 - 1  # what an `i8` of XML-RPC holds
REPLACEMENT = "\ufffd"  # for what XML 1.0 cannot hold, not even escaped


class Xml(NamedTuple):
    """A value that has been written already: page by page, between other requests."""

    text: str


Value = Xml | str | int | bool | None | Sequence["Value"] | Mapping[str, "Value"]

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# A bare carriage return reads as a newline.
_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_HEAD = "<?xml version='1.0'?>\n<methodResponse>\n"
_TAIL = "</methodResponse>\n"


class Refusal(Exception):
    """A call that gets a fault: its code, and a text that says what to do."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Streamed(NamedTuple):
    """A value that is written in pieces: what is before, between which the pieces go, and after.

    Until the first piece is there `pieces` may raise Refusal: then that is the answer.
    """

    before: str
    pieces: AsyncIterator[str]
    after: str


def value(given: Value) -> str:
    """A value's XML, without the `<value>` around it. Integers must fit 64 bits."""
    match given:
        case None:
            return "<nil/>"
        case Xml():
            return given.text
        case bool():
            return f"<boolean>{int(given)}</boolean>"
        case int():
            assert -LONG_MAX <= given <= LONG_MAX
            tag = "int" if -INT_MAX <= given <= INT_MAX else "i8"
            return f"<{tag}>{given}</{tag}>"
        case str():
            return f"<string>{text(given)}</string>"
        case Mapping():
            return (
                f"<struct>\n{''.join(member(name, each) for name, each in given.items())}</struct>"
            )
        case _:
            return array(map(item, given)).text


def array(items: Iterable[str]) -> Xml:
    """An array of what `item` has written."""
    return Xml(f"<array><data>\n{''.join(items)}</data></array>")


def item(given: Value) -> str:
    """A value in an array."""
    return f"<value>{value(given)}</value>\n"


def member(name: str, given: Value) -> str:
    """A member of a struct."""
    return f"<member>\n<name>{text(name)}</name>\n<value>{value(given)}</value>\n</member>\n"


def text(given: str) -> str:
    """Text as XML holds it; characters that XML 1.0 forbids are replaced."""
    return _FORBIDDEN.sub(REPLACEMENT, given).translate(_ESCAPED)


def response(given: Value) -> bytes:
    """The answer to a call."""
    before, after = around(value(given), "")
    return f"{before}{after}".encode()


def around(before: str, after: str) -> tuple[str, str]:
    """What stands before and after the one value of an answer."""
    opening = f"{_HEAD}<params>\n<param>\n<value>{before}"
    return opening, f"{after}</value>\n</param>\n</params>\n{_TAIL}"


def streamed(items: AsyncIterator[str]) -> Streamed:
    """An array whose items `item` writes while it is being sent."""
    before, after = around("<array><data>\n", "</data></array>")
    return Streamed(before, items, after)


def fault(code: int, words: str) -> bytes:
    """A fault."""
    inside = value({"faultCode": code, "faultString": words})
    return f"{_HEAD}<fault>\n<value>{inside}</value>\n</fault>\n{_TAIL}".encode()
