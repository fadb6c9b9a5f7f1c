r"""What a body may not be, decided in this one place.

| body | outcome |
| --- | --- |
| starts with a byte order mark | MalformedMetadata `bom` |
| not UTF-8 anywhere, encoded surrogates included | MalformedMetadata `not-utf8` |
| ends early | MalformedMetadata `truncated` |
| anything behind the document but white space | MalformedMetadata `trailing-data` |
| `NaN`, `Infinity` | MalformedMetadata `not-a-number` |
| `1e999`, an integer of over 4 300 digits | MalformedMetadata `number-out-of-range` |
| a `\ud800` escape without its other half | MalformedMetadata `lone-surrogate` |
| nested deeper than DEPTH_MAX, but see below | MalformedMetadata `too-deep` |
| more than is read (VALUES_MAX and what follows it) | MalformedMetadata `too-many-values` |
| not JSON for any other reason (HTML, raw control characters) | MalformedMetadata `not-json` |
| JSON, but no object `info` with a text `name` | MalformedMetadata `not-a-project-document` |
| a duplicate key | the last one wins, as in every JSON library of Python |
| an integer beyond 63 bits | kept verbatim; in the slim form null; anomaly `big-int` |
| `\u0000`, other C0 controls that need `\u` | kept; anomaly `nul`, `control-character` |

What is skipped unread, that is keys of an older release's files that the slim form lacks, must be
valid JSON in valid UTF-8 like the rest. But its numbers are not checked, and its depth is bounded
only by the parser (below a thousand levels): none of it is ever published.
"""

from __future__ import annotations

import codecs
import math
import re
from collections import Counter
from collections.abc import Sized

import msgspec

from processors.structure import commas_by_depth
from schemas.errors import MalformedMetadata

DEPTH_MAX = 64  # the deepest known document has 6; orjson refuses to write more than 254 levels
VALUES_MAX = 4_000_000  # brackets and commas; a real document of 64 MiB has half of it at most
# Keys and elements within three brackets (fields, releases, files, classifiers): decoded they take
# 50 MiB. A releases record holds 30 000 files.
SHALLOW_MAX = 250_000
DEEP_PER_ELEMENT = 64  # of what lies deeper, per such value; a file has 20 keys
CHECK_VALUES_BYTES = 3 * SHALLOW_MAX  # `{},`: a smaller body cannot hold as many
RELEASES_MAX = 60_000  # ordering them takes half a second; the most known are some ten thousand
UTF8_BYTES = 1024 * 1024  # decoded at a time, to see that it can be
EXCERPT_CHARACTERS = 120
STRING_BYTES_MAX = 1024 * 1024  # of a text; a flag only, the text is kept
DIGITS_MAX = 4_300  # what CPython converts (sys.int_info.default_max_str_digits)
INT_MAX = 2**63 - 1  # what every column, and every reader in another language, can hold

_BOM = b"\xef\xbb\xbf"
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_NO_VALUES = bytes(set(range(256)) - set(b"[{,"))
_SQUARE = bytes.maketrans(b"{}", b"[]")
_LONE_HIGH = re.compile(
    rb"(?<!\\)(?:\\\\)*+\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)
_ODD_NUMBER = re.compile(
    rb"(?<![0-9.eE+])(?:-?[0-9][0-9.]*[eE][+-]?[0-9]{3,}|-?[0-9]{19,}[0-9.eE+-]*)"
)
_DIGITS_ALIKE = bytes.maketrans(b"123456789E", b"000000000e")
_ODD_SIGNS = (b"0" * 19, b"0e")  # without one of these no number can be odd: a cheap first look
_CONTROL = re.compile(rb"(?<!\\)(?:\\\\)*+\\u00([01][0-9a-fA-F])")
_HARMLESS_CONTROLS = (b"08", b"09", b"0a", b"0c", b"0d")  # those with a short escape of their own
_AT_BYTE = re.compile(r"\(byte (\d+)\)")


def refuse_bulk(body: bytes) -> None:
    """Raise MalformedMetadata for a body with more values than memory should hold once decoded."""
    if len(body) <= CHECK_VALUES_BYTES:
        return
    values = len(body.translate(None, _NO_VALUES))  # less than half the time of three counts
    if values > VALUES_MAX:
        raise too_many(f"{values} brackets and commas; at most {VALUES_MAX} are read")
    if values <= SHALLOW_MAX:
        return  # true for all but one document in thousands, and counting takes time
    found: Counter[int] = Counter()
    for found in commas_by_depth(body):
        if found[1] + found[2] + found[3] > SHALLOW_MAX:
            raise too_many(f"over {SHALLOW_MAX} keys or elements within three brackets")
    above = found[1] + found[2] + found[3]
    deep = found.total() - above
    if deep > SHALLOW_MAX + DEEP_PER_ELEMENT * above:
        raise too_many(f"{deep} keys or elements deep within {above}")


def refuse_many_releases(releases: Sized) -> None:
    """Raise MalformedMetadata for more releases than can be sorted in acceptable time."""
    if len(releases) > RELEASES_MAX:
        raise too_many(f"{len(releases)} releases; at most {RELEASES_MAX} are read")


def too_many(what: str) -> MalformedMetadata:
    """The error for a body that holds more than is read."""
    return MalformedMetadata(what, reason="too-many-values")


def refuse_deep(body: bytes) -> frozenset[str]:
    """The anomalies of the numbers in `body`, which must be valid JSON.

    Raises MalformedMetadata if it is nested beyond DEPTH_MAX or holds a number no reader takes.

    All of it runs in C and without decoding: strings and everything else but brackets are cut out,
    then the innermost pairs are removed DEPTH_MAX times; whatever is left was nested deeper.
    """
    bare = _STRING.sub(b'""', body)
    brackets = bare.translate(_SQUARE, _NOT_BRACKETS)
    for _ in range(DEPTH_MAX):
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return _odd_numbers(bare)
    raise too_deep()


def _odd_numbers(bare: bytes) -> frozenset[str]:
    found: set[str] = set()
    shape = bare.translate(_DIGITS_ALIKE)
    if not any(sign in shape for sign in _ODD_SIGNS):
        return frozenset()
    for match in _ODD_NUMBER.finditer(bare):
        number = match.group()
        digits = number.lstrip(b"-")
        if not digits.isdigit():
            if math.isinf(float(number)):
                raise _out_of_range(number)
        elif len(digits) > DIGITS_MAX:
            raise _out_of_range(number)
        elif int(digits) > INT_MAX:
            found.add("big-int")
    return frozenset(found)


def _out_of_range(number: bytes) -> MalformedMetadata:
    shown = number[:EXCERPT_CHARACTERS].decode()
    return MalformedMetadata(f"number out of range: {shown}", reason="number-out-of-range")


def too_deep() -> MalformedMetadata:
    """The error for a document that is nested too deep."""
    return MalformedMetadata(f"nested deeper than {DEPTH_MAX} levels", reason="too-deep")


def malformed(body: bytes, error: Exception) -> MalformedMetadata:
    """The error that says why a decoder refused `body`. It takes no memory of the body's size."""
    if isinstance(error, RecursionError):
        return too_deep()
    reason = _reason(body, str(error))
    return MalformedMetadata(f"no JSON we accept ({reason}): {error}", reason=reason)


def not_a_project(what: str) -> MalformedMetadata:
    """The error for JSON that is no project document."""
    return MalformedMetadata(f"not a project document: {what}", reason="not-a-project-document")


def _reason(body: bytes, text: str) -> str:
    if body.startswith(_BOM):
        return "bom"
    if not _is_utf8(body):
        return "not-utf8"
    if "surrogate" in text or (b"\\u" in body and _LONE_HIGH.search(body)):
        return "lone-surrogate"
    for part, reason in _BY_TEXT:
        if part in text:
            return reason
    at = _AT_BYTE.search(text)
    if at is not None and body.startswith((b"NaN", b"Inf"), int(at.group(1))):
        return "not-a-number"
    return "not-json"


_BY_TEXT = (
    ("truncated", "truncated"),
    ("trailing characters", "trailing-data"),
    ("out of range", "number-out-of-range"),
    ("Exceeds the limit", "number-out-of-range"),
)


def _is_utf8(body: bytes) -> bool:
    try:
        check_utf8(body)
    except UnicodeDecodeError:
        return False
    return True


def check_utf8(part: bytes | msgspec.Raw) -> None:
    """Raise UnicodeDecodeError. msgspec does not check what it skips or returns raw."""
    view, at = memoryview(part), 0
    while at < len(view):  # one emoji makes all text four bytes a character
        end = at + UTF8_BYTES
        at += codecs.utf_8_decode(view[at:end], "strict", end >= len(view))[1]


def control_anomalies(text: bytes) -> frozenset[str]:
    """Slugs for the control characters that JSON `text` holds as escapes."""
    if b"\\" not in text or b"\\u00" not in text:
        return frozenset()
    found = set()
    for match in _CONTROL.finditer(text):
        code = match.group(1).lower()
        if code == b"00":
            found.add("nul")
        elif code not in _HARMLESS_CONTROLS:
            found.add("control-character")
    return frozenset(found)


def long_strings(text: bytes) -> bool:
    """True if a string of JSON `text` has more than STRING_BYTES_MAX bytes as written."""
    if len(text) <= STRING_BYTES_MAX:
        return False
    return any(len(match.group()) > STRING_BYTES_MAX for match in _STRING.finditer(text))
