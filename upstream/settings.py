"""The client's settings: where PyPI is, who asks, how fast, and the limits of every route."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from importlib import metadata
from urllib.parse import urlsplit

from schemas.errors import UsageError

KIB = 1024
MIB = 1024 * KIB

RATE_PER_SECOND = 10.0  # what PyPI tolerates of one crawler
IN_FLIGHT = 8  # connections for documents; upstream allows itself 16 at most

CONNECT_SECONDS_MAX = 5.0  # a host that answers at all does so sooner
READ_SECONDS_MAX = 10.0  # between two pieces of an answer
DOCUMENT_SECONDS_MAX = 30.0  # for a whole document without redirects: ends a slow drip
JOURNAL_SECONDS_MAX = 60.0  # 50 000 rows are 9 to 12 MiB, made by one slow query
INDEX_SECONDS_MAX = 300.0  # 48.6 MB over a slow line
# These two are long for the sake of slow lines. A drip must not exhaust them: from
# SLOW_AFTER_SECONDS on, this many bytes must arrive for every further second.
SLOW_AFTER_SECONDS = 10.0
SLOW_BYTES_PER_SECOND = 1 * KIB  # a full page, compressed, needs twenty times that in time
# Each chunk costs 10 us however short it is. This many may be of any length (0.1 s in all); after
# that they must have this many bytes on average. A packet of a slow line has 1 400.
PIECES_FREE = 10_000
PIECE_BYTES_MIN = 512  # on average, after PIECES_FREE; a packet of a slow line has 1 400

DOCUMENT_BYTES_MAX = 64 * MIB  # the largest seen has over 50 MiB
JOURNAL_RAW_BYTES_MAX = 32 * MIB  # three times a full page
JOURNAL_DECODED_BYTES_MAX = 64 * MIB  # five times a full page of 50 000 rows
INDEX_BYTES_MAX = 256 * MIB  # 48.6 MB today, for 886 000 names
# Most have under 20 KB; it includes the description, which may be long.
CORE_METADATA_BYTES_MAX = 8 * MIB
RATIO_MAX = 100  # real documents compress 4 to 15 times
RATIO_AFTER_BYTES = 1 * MIB  # below this even the best compression does no harm
JOURNAL_RATIO_MAX = 1_100  # rows of one project repeat: gzip's own limit (1032) is the bound

# For the bodies of all documents being read. Eight of average size (60 KB) are half a MiB, so this
# matters only when several giants come at once.
BYTES_IN_FLIGHT_MAX = 64 * MIB

CONTACT_CHARACTERS_MAX = 200  # a mail address or a URL, in each request's header


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bytes of one answer as sent (`raw`) and unpacked (`decoded`), and their ratio."""

    raw_bytes_max: int = DOCUMENT_BYTES_MAX
    decoded_bytes_max: int = DOCUMENT_BYTES_MAX
    ratio_max: int = RATIO_MAX
    ratio_after_bytes: int = RATIO_AFTER_BYTES


@dataclass(frozen=True, slots=True)
class RouteLimits:
    """Bytes, and the seconds from sending the request to the last byte of its answer."""

    body: BodyLimits
    total_seconds: float
    slow_after_seconds: float = SLOW_AFTER_SECONDS
    slow_bytes_per_second: int = 0

    def too_slow(self, raw_bytes: int, seconds: float) -> bool:
        """Whether an answer is too slow, after so many bytes in so many seconds."""
        return raw_bytes < (seconds - self.slow_after_seconds) * self.slow_bytes_per_second

    @staticmethod
    def too_small(raw_bytes: int, pieces: int) -> bool:
        """Whether an answer's pieces are too small on average to be worth their cost."""
        return pieces > PIECES_FREE and raw_bytes < pieces * PIECE_BYTES_MIN


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """The client's settings. Raises UsageError for values that cannot work."""

    base_url: str
    contact: str = ""
    """Mail address or URL that upstream's operators find in the User-Agent."""
    rate: float = RATE_PER_SECOND
    """Requests per second, redirects, journal and index included; 0 = unlimited."""
    in_flight: int = IN_FLIGHT
    """Documents asked for at the same time = connections for them."""
    connect_seconds_max: float = CONNECT_SECONDS_MAX
    read_seconds_max: float = READ_SECONDS_MAX
    bytes_in_flight_max: int = BYTES_IN_FLIGHT_MAX
    document: RouteLimits = field(
        default_factory=lambda: RouteLimits(BodyLimits(), DOCUMENT_SECONDS_MAX)
    )
    core_metadata: RouteLimits = field(
        default_factory=lambda: RouteLimits(
            BodyLimits(CORE_METADATA_BYTES_MAX, CORE_METADATA_BYTES_MAX), DOCUMENT_SECONDS_MAX
        )
    )
    journal: RouteLimits = field(
        default_factory=lambda: RouteLimits(
            BodyLimits(JOURNAL_RAW_BYTES_MAX, JOURNAL_DECODED_BYTES_MAX, JOURNAL_RATIO_MAX),
            JOURNAL_SECONDS_MAX,
            slow_bytes_per_second=SLOW_BYTES_PER_SECOND,
        )
    )
    index: RouteLimits = field(
        default_factory=lambda: RouteLimits(
            BodyLimits(INDEX_BYTES_MAX, INDEX_BYTES_MAX),
            INDEX_SECONDS_MAX,
            slow_bytes_per_second=SLOW_BYTES_PER_SECOND,
        )
    )

    def __post_init__(self) -> None:
        """Refuse what cannot work, before the first request."""
        check_base_url(self.base_url)
        if not (math.isfinite(self.rate) and self.rate >= 0):
            raise UsageError(f"rate {self.rate!r} is not a number of requests per second (0 = all)")
        if self.in_flight < 1:
            raise UsageError(f"in-flight {self.in_flight!r}: at least one request must be allowed")
        if len(self.contact) > CONTACT_CHARACTERS_MAX or not _fits_a_header(self.contact):
            raise UsageError(
                f"contact {self.contact[:CONTACT_CHARACTERS_MAX]!r} cannot stand in a User-Agent",
                hint="give a mail address or a URL: --contact you@example.org",
            )

    @property
    def user_agent(self) -> str:
        """`pypistream/<version> (+contact)`."""
        suffix = f" (+{self.contact})" if self.contact else ""
        return f"pypistream/{program_version()}{suffix}"


def check_base_url(url: str) -> None:
    """Raise UsageError unless `url` is http(s)://host[:port][/prefix] and nothing else."""
    hint = "give scheme and host: --upstream http://127.0.0.1:8000"
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port  # raises ValueError for a port that is none
    except ValueError as error:
        raise UsageError(f"upstream {url!r} is not a URL: {error}", hint=hint) from None
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(f"upstream {url!r} is not an http(s) URL", hint=hint)
    if parts.query or parts.fragment or "@" in parts.netloc or not _fits_a_header(url):
        raise UsageError(
            f"upstream {url!r} has more than scheme, host, port and path prefix", hint=hint
        )


def default_upstream() -> str:
    """PyPI's own scheme and host, as distlib has them."""
    # Imported here: distlib takes 0.1 s, and `--help` must not.
    from distlib.index import DEFAULT_INDEX

    parts = urlsplit(DEFAULT_INDEX)
    return f"{parts.scheme}://{parts.netloc}"


def program_version() -> str:
    """The installed version; "0" in a checkout that is not installed."""
    try:
        return metadata.version("pypistream")
    except metadata.PackageNotFoundError:
        return "0"


def _fits_a_header(text: str) -> bool:
    return text.isascii() and text.isprintable() and not set(text) & set("()\\ ")
