"""The journal's XML-RPC: request bytes out, checked values back. Pure functions on bytes.

`parse_call` is the server's side of the same methods.

Answers are parsed by the standard library's unmarshaller behind defusedxml's parser (no DTD, no
entities), with a bound on nesting. Then every row is checked, because XML-RPC promises nothing
about shapes.
"""

from __future__ import annotations

import re
import reprlib
import sys
from collections.abc import Sequence
from typing import Any
from xml.parsers.expat import ExpatError
from xmlrpc.client import MAXINT, Fault, ResponseError, Unmarshaller

from defusedxml import DefusedXmlException
from defusedxml.xmlrpc import DefusedExpatParser

from schemas.errors import JournalGone, RateLimited, UpstreamUnavailable, UsageError
from upstream.answers import LIMITED_SECONDS, RETRY_AFTER_SECONDS_MAX, SERIAL_MAX
from upstream.source import JOURNAL_ROWS_MAX, BadRow, JournalPage, JournalRow

DEPTH_MAX = 8  # arrays and structs: a page has two, a fault one
TEXT_CHARACTERS_MAX = 65_536  # of one field of a row; an action holds a file name at most
EXCERPT_CHARACTERS_MAX = 200  # of upstream's own words in an error
FIELDS = len(JournalRow._fields)
CONTENT_TYPE = "text/xml"

_RESET = re.compile(r"[Ll]imit may reset in (\d{1,9}) second")
_LIMITED = re.compile(r"too ?many ?requests|limit may reset|rate ?limit", re.IGNORECASE)
_RETIRED = re.compile(r"no longer support", re.IGNORECASE)
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NESTING = re.compile(rb"<(/?)(?:array|struct)\b")
_REFERENCE = re.compile(r"&#(x[0-9a-fA-F]{1,8}|[0-9]{1,10});")

# What the unmarshaller and expat raise on malformed XML-RPC, as found by the fuzz test.
_NOT_XML_RPC = (
    ExpatError,
    ResponseError,
    DefusedXmlException,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
)

_excerpt = reprlib.Repr()
_excerpt.maxstring = 80
_excerpt.maxlevel = 3


def request(method: str, *serials: int) -> bytes:
    """Give the body of a call whose parameters are all integers."""
    # By hand: the standard library refuses integers over 2**31 - 1, its servers read <i8>.
    params = "".join(
        f"<param><value><{tag}>{serial}</{tag}></value></param>"
        for serial in serials
        for tag in ("int" if serial <= MAXINT else "i8",)
    )
    return (
        "<?xml version='1.0'?>\n<methodCall>"
        f"<methodName>{method}</methodName><params>{params}</params></methodCall>\n"
    ).encode()


def parse_serial(body: bytes) -> int:
    """Read the answer of `changelog_last_serial`. Raises as `parse_value` does."""
    value = parse_value(body)
    if type(value) is not int or not 0 <= value <= SERIAL_MAX:
        raise UpstreamUnavailable(f"the journal's last serial is {_excerpt.repr(value)}")
    return value


def parse_page(body: bytes, since: int) -> JournalPage:
    """Read the answer of `changelog_since_serial(since)`. Raises as `parse_value` does."""
    value = parse_value(body)
    if not isinstance(value, list):
        raise UpstreamUnavailable(f"the journal's page is {_excerpt.repr(value)}, not a list")
    return check_rows(value, since)


def check_rows(values: Sequence[object], since: int) -> JournalPage:
    """Return the rows above `since`, rising and once each; malformed ones apart."""
    bad: list[BadRow] = []
    rows: list[JournalRow] = []
    for value in values:
        row = _row(value)
        if isinstance(row, BadRow):
            bad.append(row)
        elif row.serial > since:  # one at or below it was read before: pages may overlap
            rows.append(row)
    rows.sort(key=_serial)  # almost free on rows that rise already
    once: list[JournalRow] = []
    for row in rows:
        if not once or row.serial > once[-1].serial:
            once.append(row)
        elif row != once[-1]:
            bad.append(BadRow("a second row with the same serial", row.serial, _text(tuple(row))))
    full = len(values) >= JOURNAL_ROWS_MAX
    if len(once) > JOURNAL_ROWS_MAX:  # more than upstream ever sends: the rest comes again
        del once[JOURNAL_ROWS_MAX:]
        bad = [row for row in bad if row.serial <= once[-1].serial]
    return JournalPage(once, bad, full)


def parse_value(body: bytes) -> object:
    """Read the one value of a response.

    Raises RateLimited and JournalGone for faults that say so, UpstreamUnavailable for any other
    fault and for what is no XML-RPC response.
    """
    try:
        values = _unmarshal(body)
    except Fault as fault:
        raise _fault_error(fault) from None
    except ExpatError:
        # A single control character, which XML 1.0 forbids, would make its page unreadable for
        # ever. PyPI allows none in names, so without them the row is what it should be.
        values = _unmarshal_or_refuse(without_forbidden_characters(body))
    except _NOT_XML_RPC as error:
        raise _not_xml_rpc(error) from None
    if len(values) != 1:
        raise UpstreamUnavailable(f"XML-RPC response holds {len(values)} values, not one")
    return values[0]


def parse_call(body: bytes) -> tuple[str, Sequence[object]]:
    """Read a call: the method's name and its parameters. Raises UsageError for anything else."""
    try:
        target = _unmarshaller(body)
        parameters = target.close()
    except (Fault, *_NOT_XML_RPC) as error:
        text = " ".join(str(error).split())[:EXCERPT_CHARACTERS_MAX]
        raise UsageError(f"no XML-RPC call ({type(error).__name__}: {text})") from None
    method = target.getmethodname()
    if not method:
        raise UsageError("no XML-RPC call (it names no method)")
    return method, parameters


def without_forbidden_characters(body: bytes) -> bytes:
    """Return the same XML without the characters that XML 1.0 forbids, escaped or not, as UTF-8.

    Bytes that are no UTF-8 become U+FFFD.
    """
    text = _FORBIDDEN.sub("", body.decode("utf-8", "replace"))
    return _REFERENCE.sub(_safe_reference, text).encode()


def _unmarshal_or_refuse(body: bytes) -> Sequence[object]:
    try:
        return _unmarshal(body)
    except Fault as fault:
        raise _fault_error(fault) from None
    except _NOT_XML_RPC as error:
        raise _not_xml_rpc(error) from None


def _unmarshal(body: bytes) -> Sequence[object]:
    return _unmarshaller(body).close()


def _unmarshaller(body: bytes) -> Unmarshaller:
    _refuse_deep(body)
    target = Unmarshaller(use_builtin_types=True)
    parser = DefusedExpatParser(target, forbid_dtd=True)
    parser.feed(body)
    parser.close()
    return target


def _refuse_deep(body: bytes) -> None:
    """Raise ResponseError for nesting that the standard library would take 200 000 levels of."""
    # On the bytes, beforehand: 0.05 s for a full page; counting in the unmarshaller's callbacks
    # takes five times that. Hiding tags from it (in a comment, by UTF-16) gains nothing: the result
    # is a value of the wrong shape, of which three levels are read.
    depth = 0
    for tag in _NESTING.finditer(body):
        depth += -1 if tag[1] else 1
        if depth > DEPTH_MAX:
            raise ResponseError(f"nested deeper than {DEPTH_MAX}")


def _row(value: object) -> JournalRow | BadRow:
    if not isinstance(value, list | tuple) or len(value) != FIELDS:
        return BadRow("not five fields", 0, _text(value))
    name, version, time, action, serial = value
    known = serial if _is_int(serial, 1) else 0
    if not _is_text(name) or not name:
        return BadRow("the name is no text", known, _text(value))
    if version is not None and not _is_text(version):
        return BadRow("the version is neither text nor nil", known, _text(value))
    if not _is_int(time, 0):
        return BadRow("the time is no Unix time", known, _text(value))
    if not _is_text(action):
        return BadRow("the action is no text", known, _text(value))
    if not known:
        return BadRow("the serial is no integer from 1 to 2**63 - 1", 0, _text(value))
    return JournalRow(name, version, time, action, known)


def _is_text(value: object) -> bool:
    return type(value) is str and len(value) <= TEXT_CHARACTERS_MAX


def _is_int(value: Any, low: int) -> bool:
    return type(value) is int and low <= value <= SERIAL_MAX


def _serial(row: JournalRow) -> int:
    return row.serial


def _text(value: object) -> str:
    return _excerpt.repr(value)[:EXCERPT_CHARACTERS_MAX]


def _fault_error(fault: Fault) -> RateLimited | JournalGone | UpstreamUnavailable:
    text = " ".join(str(fault.faultString).split())[:EXCERPT_CHARACTERS_MAX]
    code = _text(fault.faultCode)
    # The code alone is not enough: upstream wraps every exception of a call as -32500.
    reset = _RESET.search(str(fault.faultString))
    if reset is not None or _LIMITED.search(str(fault.faultString)):
        seconds = float(reset[1]) if reset is not None else LIMITED_SECONDS
        return RateLimited(
            f"XML-RPC fault {code}: {text}",
            retry_after_seconds=min(seconds, RETRY_AFTER_SECONDS_MAX),
        )
    if _RETIRED.search(text):
        return JournalGone(f"XML-RPC fault {code}: {text}")
    return UpstreamUnavailable(f"XML-RPC fault {code}: {text}")


def _not_xml_rpc(error: Exception) -> UpstreamUnavailable:
    text = " ".join(str(error).split())[:EXCERPT_CHARACTERS_MAX]
    return UpstreamUnavailable(
        f"the journal's answer is no XML-RPC response ({type(error).__name__}: {text})"
    )


def _safe_reference(match: re.Match[str]) -> str:
    digits = match[1]
    number = int(digits[1:], 16) if digits[0] == "x" else int(digits)
    fits = number <= sys.maxunicode and _FORBIDDEN.match(chr(number)) is None
    return match[0] if fits else ""
