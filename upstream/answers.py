"""The meaning of an answer: status and headers in, an error or a plain value out. Pure."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

from schemas.errors import (
    BrokenBody,
    ForeignMetadata,
    InvalidName,
    JournalGone,
    UpstreamUnavailable,
)
from schemas.names import NormalizedName, normalize
from upstream.source import Answer, Document, NotFound, NotModified

SERIAL_MAX = 2**63 - 1  # what a signed 64-bit column holds
SERIAL_DIGITS_MAX = 19  # of SERIAL_MAX
ETAG_CHARACTERS_MAX = 256  # PyPI's have 24
RETRY_AFTER_SECONDS_MAX = 3_600.0  # if upstream wants a longer wait it will ask again

# After a 429 without a time, or a journal that refuses (401, 403): long enough to be polite, short
# enough that a glitch of the CDN passes within a minute.
LIMITED_SECONDS = 30.0
REFUSED_SECONDS = 30.0

FILE_URL_CHARACTERS_MAX = 2_000  # PyPI's have about 150
_LOCAL = (".local", ".internal", ".localhost", ".lan", ".home", ".intranet", ".corp")

REDIRECTS = frozenset({301, 302, 303, 307, 308})
REDIRECTS_MAX = 3  # PyPI needs one: to the normalised name
_REFUSALS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_ABSENT = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_GONE = _ABSENT | {HTTPStatus.NOT_IMPLEMENTED}


class Head(NamedTuple):
    """Status and headers (names in lower case, repeated ones joined by a comma)."""

    status: int
    headers: Mapping[str, str] = {}

    @property
    def location(self) -> str:
        """Where a redirect points; "" if nowhere."""
        return self.headers.get("location", "")

    @property
    def content_type(self) -> str:
        """Empty if absent."""
        return self.headers.get("content-type", "")

    @property
    def etag(self) -> str:
        """The ETag if it may be sent back as a header, else ""."""
        return usable_etag(self.headers.get("etag", ""))

    @property
    def serial(self) -> int | None:
        """`X-PyPI-Last-Serial`: 1 to 2**63 - 1; None if absent or anything else."""
        text = self.headers.get("x-pypi-last-serial", "")
        if not (text.isascii() and text.isdigit()) or len(text) > SERIAL_DIGITS_MAX:
            return None
        serial = int(text)
        return serial if 1 <= serial <= SERIAL_MAX else None


class Reply(NamedTuple):
    """A whole answer. `body` is empty unless the status is 200."""

    head: Head
    body: bytes


def hold_seconds(head: Head, now_unix_seconds: float) -> float | None:
    """Seconds for which this answer asks everyone to wait; None if it does not."""
    if head.status == HTTPStatus.TOO_MANY_REQUESTS:
        seconds = retry_after_seconds(head, now_unix_seconds)
        return LIMITED_SECONDS if seconds is None else seconds
    if head.status == HTTPStatus.SERVICE_UNAVAILABLE:
        return retry_after_seconds(head, now_unix_seconds)
    return None


def retry_after_seconds(head: Head, now_unix_seconds: float) -> float | None:
    """Retry-After (RFC 9110, 10.2.3) as seconds from now, an hour at most; None if unreadable."""
    text = head.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), RETRY_AFTER_SECONDS_MAX)
    until = _http_date(text)
    if until is None:
        return None
    # By upstream's own clock if it sends a date; that has no fractions of a second.
    sent = _http_date(head.headers.get("date", ""))
    seconds = until - (now_unix_seconds if sent is None else sent) + 1.0
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX)


def document_answer(reply: Reply, what: str, *, etag_sent: bool) -> Answer:
    """Give what upstream said about a document. Raises BrokenBody and UpstreamUnavailable."""
    head = reply.head
    if head.status == HTTPStatus.OK:
        # HTML in place of a document needs no case of its own: it is no JSON, which is noticed
        # later.
        return Document(reply.body, head.serial, head.etag)
    if head.status in _ABSENT:
        return NotFound()
    if head.status == HTTPStatus.NOT_MODIFIED:
        if etag_sent:
            return NotModified(head.serial)
        raise BrokenBody(f"{what}: 304 Not Modified, but no ETag was sent")
    # 401 and 403 too: one document that is refused is parked, and does not stop the program.
    raise UpstreamUnavailable(f"{what}: upstream answered {head.status}")


def journal_refusal(reply: Reply) -> str | None:
    """Give the reason why this answer is no journal, None if it is one.

    Raises JournalGone (404, 410, 501) and UpstreamUnavailable (any other status but 200).
    """
    head = reply.head
    if refuses(head):
        return f"the journal's address answers {head.status}: upstream refuses this client"
    if head.status in REDIRECTS:
        return f"the journal's address redirects to {head.location[:200]!r}"
    if head.status in _GONE:
        raise JournalGone(
            f"XML-RPC is not served any more: upstream answered {head.status}",
            hint="check --upstream; --no-xmlrpc follows the index instead",
        )
    if head.status != HTTPStatus.OK:
        raise UpstreamUnavailable(f"the journal's address answers {head.status}")
    if looks_like_html(reply):
        return "the journal's address answers HTML instead of XML"
    return None


def refuses(head: Head) -> bool:
    """Whether upstream refuses this client: 401, 403."""
    return head.status in _REFUSALS


def looks_like_html(reply: Reply) -> bool:
    """Whether this is an HTML page: a captive portal, a maintenance note, a wrong URL."""
    start = reply.body[:256].lstrip()[:15].lower()
    return "html" in reply.head.content_type.lower() or start.startswith(
        (b"<!doctype html", b"<html")
    )


def redirect_target(url: str, location: str) -> str:
    """Give the absolute URL to ask next: same scheme, host and port; else UpstreamUnavailable."""
    try:
        target = urljoin(url, location)
        old, new = urlsplit(url), urlsplit(target)
        same = (old.scheme, old.hostname, old.port) == (new.scheme, new.hostname, new.port)
    except ValueError:
        same, target = False, location
    if not location or not same or "@" in target:
        raise UpstreamUnavailable(
            f"{url} redirects to {location[:200]!r}, which is not followed",
            hint="redirects are followed on the same scheme, host and port only",
        )
    return target


def same_origin(url: str, base: str) -> bool:
    """Whether both have the same scheme, host and port. `base` is a URL, `url` any text."""
    ours = urlsplit(base)
    try:
        theirs = urlsplit(url)
        port = theirs.port
    except ValueError:
        return False
    return (ours.scheme, ours.hostname, ours.port) == (theirs.scheme, theirs.hostname, port)


def file_metadata_url(url: str, base: str) -> str | None:
    """The URL of the core metadata of the file at `url` (PEP 658); None if not to be requested.

    Files are on a host of their own, which only the page names. Whoever can write a page must not
    be able to make this machine send requests into its own network: so only upstream's origin is
    allowed, or HTTPS to a host with a full domain name, without a port or credentials.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    if not plain or len(url) > FILE_URL_CHARACTERS_MAX or "@" in parts.netloc or parts.query:
        return None
    if not same_origin(url, base):
        # A name that ends in letters is no IPv4 address in any notation.
        named = re.fullmatch(r"(?:[a-z0-9-]+\.)+[a-z]{2,}", host) is not None
        if parts.scheme != "https" or port is not None or not named or host.endswith(_LOCAL):
            return None
    return f"{parts.scheme}://{parts.netloc}{parts.path}.metadata"


def check_redirected_name(target: str, name: NormalizedName) -> None:
    """Raise ForeignMetadata if a redirected URL asks for another project's document."""
    segments = [unquote(segment) for segment in urlsplit(target).path.split("/")]
    if "pypi" not in segments[:-1]:
        raise UpstreamUnavailable(f"{name}: redirected to {target[:200]!r}, no document's address")
    got = segments[segments.index("pypi") + 1]
    with contextlib.suppress(InvalidName):
        if normalize(got) == name:
            return
    raise ForeignMetadata(
        f"{name}: upstream redirects to the document of {got[:200]!r}", asked=name, got=got[:200]
    )


def usable_etag(text: str) -> str:
    """The ETag if it can be sent back as a header, else ""."""
    fits = len(text) <= ETAG_CHARACTERS_MAX and text.isascii() and text.isprintable()
    return text if fits else ""


def _http_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
