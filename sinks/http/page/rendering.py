r"""Templates of the page: every text is escaped, for HTML and for the eye; links are web links.

What a template writes passes `shown`, whoever wrote the template: a control character, a bidi
control or a zero-width character of a summary is seen as `\u202e`, and does nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from schemas.escaping import escaped
from sinks.http.page.assets import address_of

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every page. Forms go to this service alone: the search and SQL work without scripts."""

TEXT_CHARACTERS_MAX = 500  # of one text in a table or a list; documents have longer ones
URL_CHARACTERS_MAX = 2_000  # what browsers and servers take
NOT_KNOWN = "\u2013"  # a dash
_NOT_IN_URLS = frozenset(' "<>\\^`{|}')  # RFC 3986; browsers take some of them for others
_THOUSAND = 1_000  # units are those on a disk's box
_UNITS = ("kB", "MB", "GB", "TB")
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_SPACES = str.maketrans("\n\r\t", "   ")


def shown(value: object) -> object:
    """Whatever a template writes: None is nothing; of a text nothing is hidden."""
    if value is None:
        return ""
    if hasattr(value, "__html__"):  # made by a template's macro, out of what passed here
        return value
    return escaped(str(value).translate(_SPACES))


def shortened(text: str | None, characters_max: int = TEXT_CHARACTERS_MAX) -> str:
    """At most so many characters."""
    if text is None:
        return ""
    return text if len(text) <= characters_max else f"{text[: characters_max - 1]}…"


def web_url(text: object) -> str | None:
    """The address if a browser may go there: http or https, a host, nothing unprintable in it."""
    if not isinstance(text, str) or len(text) > URL_CHARACTERS_MAX:
        return None
    if not text.isascii() or not text.isprintable() or not _NOT_IN_URLS.isdisjoint(text):
        return None
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        return None
    # A user name before the host is how an address pretends to be another.
    usual = parts.scheme in ("http", "https") and bool(host) and "@" not in parts.netloc
    return text if usual else None


def size(count: int | None) -> str:
    """Bytes as people read them."""
    if count is None:
        return NOT_KNOWN
    if count < _THOUSAND:
        return f"{count} B"
    amount = float(count)
    for unit in _UNITS:
        amount /= _THOUSAND
        if amount < _THOUSAND or unit == _UNITS[-1]:
            break
    return f"{amount:.1f} {unit}"


def number(value: float | None) -> str:
    """With thousands apart; a dash if it is not known."""
    return NOT_KNOWN if value is None else f"{value:,}"


def percent(value: float) -> str:
    """As `schemas.coverage` has it: 100 is said of all only."""
    return f"{value:.4f}".rstrip("0").rstrip(".") + " %"


def duration(seconds: float | None) -> str:
    """`12 s`, `3 min`, `5 h`, `12 d`."""
    if seconds is None:
        return NOT_KNOWN
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    for span, unit in ((_HOUR, "min"), (_DAY, "h")):
        if seconds < 2 * span:
            return f"{seconds // (_MINUTE if unit == 'min' else _HOUR):.0f} {unit}"
    return f"{seconds // _DAY:.0f} d"


def when(unix_seconds: float | None) -> str:
    """`2024-02-29 12:00:00`, UTC; a dash if it is not known, or is no time that a calendar has."""
    if not unix_seconds:
        return NOT_KNOWN
    try:
        return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return NOT_KNOWN


def readable(rfc3339: str | None) -> str:
    """An RFC 3339 time without its `T`, fractions and zone, which is UTC everywhere here."""
    return NOT_KNOWN if not rfc3339 else rfc3339[:19].replace("T", " ")


def project_path(name: str) -> str:
    """Where a project's page is."""
    return f"/project/{quote(name, safe='')}/"


def environment() -> Environment:
    """Made once; templates are read when they are first used."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "duration": duration,
        "number": number,
        "percent": percent,
        "project": project_path,
        "readable": readable,
        "shortened": shortened,
        "size": size,
        "web": web_url,
        "when": when,
    }
    made.globals["static"] = address_of
    return made


_environment = environment()


def rendered(template: str, **context: object) -> bytes:
    """A page."""
    return _environment.get_template(template).render(**context).encode("utf-8", "replace")
