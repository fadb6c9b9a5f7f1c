"""What all answers share: JSON, entity tags, encodings, problems, and security headers.

A problem is a JSON object `{"error", "hint"}`, whatever went wrong: endpoints raise the leaves of
`schemas.errors`, and `problem_of` says what each means to a client.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus

import structlog
from starlette.requests import Request
from starlette.responses import Response

from schemas.codec import encode
from schemas.compression import compress
from schemas.errors import InvalidName, NotPublished, PypistreamError, Retriable, UsageError

JSON, HTML = "application/json", "text/html"
COMPRESS_FROM_BYTES = 512  # below, a packet is a packet
ZSTD_LEVEL, GZIP_LEVEL = 3, 2  # 15 and 60 microseconds for a usual document
RETRY_SECONDS = 5  # while there is nothing to answer from
ETAG_BYTES = 8  # of a SHA-256, which processors help with: half the time of a blake2b
HEADER_VALUES_CACHED = 1_024  # clients are few kinds
_GZIP_WINDOW = 31  # zlib's window bits: 15 of window, 16 for a gzip header

SAFETY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
"""On every answer that does not say otherwise; a page says what it loads."""

log_ = structlog.get_logger("http")


def answer(
    request: Request,
    body: bytes,
    media_type: str = JSON,
    *,
    etag: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A whole answer with its entity tag (made of the body if not given), or 304; compressed."""
    tag = etag or etag_of(body)
    given = {
        "ETag": tag,
        "Cache-Control": "public, no-cache",  # may be cached, and revalidated by its tag
        "Vary": "Accept-Encoding",
        "Access-Control-Allow-Origin": "*",
        **(headers or {}),
    }
    if same := unchanged(request, given):
        return same
    encoding = encoding_for(request.headers.get("accept-encoding", ""))
    if encoding and len(body) >= COMPRESS_FROM_BYTES:
        body = encoded(body, encoding)
        given["Content-Encoding"] = encoding
    return Response(body, headers=given, media_type=media_type)


def unchanged(request: Request, headers: Mapping[str, str]) -> Response | None:
    """304 to a client that has what the `ETag` of these headers stands for; else None."""
    if not matches(request.headers.get("if-none-match", ""), headers["ETag"]):
        return None
    return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)


def json_answer(
    request: Request, value: object, *, headers: Mapping[str, str] | None = None
) -> Response:
    """The same of a value that `schemas.codec.encode` takes."""
    return answer(request, encode(value), headers=headers)


def problem(
    status: int, error: str, hint: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """What went wrong, and what to do."""
    body = encode({"error": error, "hint": hint})
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, JSON)


def not_ready(hint: str = "it is reading the log; ask again in a moment") -> Response:
    """The answer while there is nothing to answer from yet."""
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "nothing can be served yet", hint, headers)


def problem_of(error: PypistreamError) -> Response:
    """The answer that an error of ours becomes."""
    if isinstance(error, UsageError | InvalidName):
        return problem(HTTPStatus.BAD_REQUEST, str(error), error.hint)
    if isinstance(error, NotPublished):
        return problem(HTTPStatus.NOT_FOUND, str(error), error.hint)
    seconds = RETRY_SECONDS
    if isinstance(error, Retriable) and error.retry_after_seconds is not None:
        seconds = max(1, round(error.retry_after_seconds))
    log_.warning("a request could not be answered", error=str(error), hint=error.hint)
    # Clients must not learn paths of this machine.
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "the service cannot read what it needs just now",
        "ask again later; its log says more",
        {"Retry-After": str(seconds)},
    )


def etag_of(body: bytes) -> str:
    """An entity tag (RFC 9110, 8.8.3) for these bytes. Weak: the same for every encoding."""
    return f'W/"{hashlib.sha256(body).hexdigest()[: 2 * ETAG_BYTES]}"'


def matches(if_none_match: str, etag: str) -> bool:
    """Whether the client has what the tag stands for (RFC 9110, 13.1.2: compared weakly)."""
    if not if_none_match:
        return False
    if if_none_match == etag:
        return True
    opaque = etag.removeprefix("W/")
    tags = (each.strip().removeprefix("W/") for each in if_none_match.split(","))
    return any(each in ("*", opaque) for each in tags)


def encoded(body: bytes, encoding: str) -> bytes:
    """The body as `encoding_for` says."""
    if encoding == "zstd":
        return compress(body, ZSTD_LEVEL)
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return packer.compress(body) + packer.flush()


@lru_cache(HEADER_VALUES_CACHED)
def encoding_for(accept: str) -> str:
    """`zstd`, `gzip` or "" (as it is), out of Accept-Encoding (RFC 9110, 12.5.3)."""
    weights = _weights(accept)
    best, best_weight = "", 0.0
    for name in ("zstd", "gzip"):
        weight = weights.get(name, weights.get("*", 0.0) if name == "gzip" else 0.0)
        if weight > best_weight:
            best, best_weight = name, weight
    return best if best_weight >= weights.get("identity", 0.0) else ""


@lru_cache(HEADER_VALUES_CACHED)
def prefers_page(accept: str) -> bool:
    """Whether the client prefers HTML to JSON, by its Accept header (RFC 9110, 12.5.1).

    Clients that accept anything, or name nothing, get JSON.
    """
    weights = _weights(accept)
    others = weights.get("application/*", weights.get("*/*", 0.0))
    return weights.get(HTML, 0.0) > weights.get(JSON, others)


def _weights(accept: str) -> dict[str, float]:
    """What a client accepts, by name, with its preference from 0, not at all, to 1."""
    weights: dict[str, float] = {}
    for each in accept.lower().split(","):
        name, *parameters = (part.strip() for part in each.split(";"))
        weights[name] = _weight(parameters)
    return weights


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
