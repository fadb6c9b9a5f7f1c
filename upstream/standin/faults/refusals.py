"""Errors by status: limits, outages, refusals, redirects."""

from __future__ import annotations

import math
import time
from email.utils import formatdate

from upstream.standin.faults.registry import ALL, DOCUMENTS, Hit, fault_kind
from upstream.standin.http_types import Answer, text

_TOO_MANY, _UNAVAILABLE = 429, 503
_FOUND, _MOVED = 302, 301
PAGES = (*DOCUMENTS, "simple", "files")


def _with_retry_after(answer: Answer, seconds: float, *, as_date: bool) -> Answer:
    if as_date:
        date = math.ceil(time.time() + seconds)  # a date has no fractions
        answer.headers.append((b"retry-after", formatdate(date, usegmt=True).encode()))
        answer.retry_after = date - time.time()
    else:
        answer.headers.append((b"retry-after", b"%d" % math.ceil(seconds)))
        answer.retry_after = float(math.ceil(seconds))
    return answer


@fault_kind("429", ALL)
def too_many(hit: Hit) -> Answer | None:
    """429 without Retry-After."""
    del hit
    return text(_TOO_MANY, "Too Many Requests")


@fault_kind("429-retry-after", ALL, retry_after=3)
def too_many_seconds(hit: Hit) -> Answer | None:
    """429 with Retry-After in seconds (`retry_after`)."""
    answer = text(_TOO_MANY, "Too Many Requests")
    return _with_retry_after(answer, hit.param("retry_after"), as_date=False)


@fault_kind("429-retry-date", ALL, retry_after=3)
def too_many_date(hit: Hit) -> Answer | None:
    """429 with Retry-After as a date, `retry_after` seconds ahead."""
    answer = text(_TOO_MANY, "Too Many Requests")
    return _with_retry_after(answer, hit.param("retry_after"), as_date=True)


@fault_kind("429-bad-retry-after", ALL, value="soon")
def too_many_nonsense(hit: Hit) -> Answer | None:
    """429 with a Retry-After that is neither a number nor a date."""
    answer = text(_TOO_MANY, "Too Many Requests")
    answer.headers.append((b"retry-after", str(hit.param("value")).encode()))
    return answer


@fault_kind("503", ALL)
def unavailable(hit: Hit) -> Answer | None:
    """503 without Retry-After."""
    del hit
    return text(_UNAVAILABLE, "Service Unavailable")


@fault_kind("503-retry-after", ALL, retry_after=3)
def unavailable_seconds(hit: Hit) -> Answer | None:
    """503 with Retry-After in seconds (`retry_after`)."""
    answer = text(_UNAVAILABLE, "Service Unavailable")
    return _with_retry_after(answer, hit.param("retry_after"), as_date=False)


@fault_kind("500", ALL)
def broken(hit: Hit) -> Answer | None:
    """500 with a page in HTML."""
    del hit
    return text(500, "<html><body>Internal Server Error</body></html>", b"text/html")


@fault_kind("403", ALL)
def forbidden(hit: Hit) -> Answer | None:
    """403, as a banned client gets."""
    del hit
    return text(403, "Forbidden")


@fault_kind("status", ALL, status=418)
def any_status(hit: Hit) -> Answer | None:
    """Any other status (`status`)."""
    return text(int(hit.param("status")), "made to order")


def _redirect(status: int, location: str) -> Answer:
    return Answer(status, [(b"location", location.encode())])


@fault_kind("redirect-loop", ALL)
def redirect_loop(hit: Hit) -> Answer | None:
    """A redirect to itself."""
    return _redirect(_FOUND, hit.request.path)


@fault_kind("redirect-chain", PAGES, hops=4)
def redirect_chain(hit: Hit) -> Answer | None:
    """`hops` redirects on the same host before the answer."""
    hop = int(hit.request.query.get("hop", "0"))
    if hop >= hit.param("hops"):
        return None
    return _redirect(_FOUND, f"{hit.request.path}?hop={hop + 1}")


@fault_kind("redirect-host", ALL, location="http://127.0.0.2:9/")
def redirect_host(hit: Hit) -> Answer | None:
    """A redirect to another host (`location`)."""
    return _redirect(_MOVED, str(hit.param("location")))


@fault_kind("redirect-file", ALL, location="file:///etc/hostname")
def redirect_file(hit: Hit) -> Answer | None:
    """A redirect to a file."""
    return _redirect(_MOVED, str(hit.param("location")))


@fault_kind("redirect-project", DOCUMENTS)
def redirect_project(hit: Hit) -> Answer | None:
    """A redirect to another project's document."""
    names = hit.site.world.names
    others = hit.fault.random.sample(names, min(2, len(names)))
    other = next((name for name in others if name != hit.request.name), None)
    return None if other is None else _redirect(_MOVED, f"/pypi/{other}/json")


@fault_kind("redirect-nowhere", ALL)
def redirect_nowhere(hit: Hit) -> Answer | None:
    """A redirect without a Location."""
    del hit
    return Answer(_FOUND)
