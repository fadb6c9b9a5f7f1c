"""Limits how often a client may make expensive requests: so many units in any minute.

Limits are for strangers. This machine's own addresses are a proxy, which has limits of its own, or
the operator; they are counted only for requests that may take seconds.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from sinks.http.answers import problem

MINUTE = 60.0
STEP_SECONDS = 5.0  # what is asked within is one number: a client takes a dozen, however it asks
CLIENTS_REMEMBERED = 10_000  # the client that was silent longest is forgotten first
V6_PREFIX = 64  # what one customer has


class Limit(NamedTuple):
    """`name` is in the 429. `own`: this machine's addresses are counted, too."""

    name: str
    per_minute: int
    own: bool = False


class _Step:
    """What was asked from `first` on, up to `last`."""

    __slots__ = ("count", "first", "last")

    def __init__(self, first: float) -> None:
        self.first = self.last = first
        self.count = 0


class Quota:
    """Counts what each client has asked under a limit. `now`: monotonic seconds."""

    def __init__(self, limit: Limit, now: Callable[[], float]) -> None:
        self.limit = limit
        self._now = now
        self._asked: OrderedDict[str, deque[_Step]] = OrderedDict()

    def wait(self, client: str, units: int = 1) -> float:
        """Count the units and return 0.0, or return the seconds until there is room for them."""
        customer = whose(client, own=self.limit.own)
        if not customer:
            return 0.0
        now = self._now()
        steps = self._asked.setdefault(customer, deque())
        self._asked.move_to_end(customer)
        while len(self._asked) > CLIENTS_REMEMBERED:
            self._asked.popitem(last=False)
        while steps and now - steps[0].last >= MINUTE:
            steps.popleft()
        units = min(units, self.limit.per_minute)
        over = sum(step.count for step in steps) + units - self.limit.per_minute
        for step in steps:
            if over <= 0:
                break
            over -= step.count
            if over <= 0:
                return step.last + MINUTE - now
        if not steps or now - steps[-1].first >= STEP_SECONDS:
            steps.append(_Step(now))
        steps[-1].last = now
        steps[-1].count += units
        return 0.0

    def refusal(self, request: Request, units: int = 1) -> Response | None:
        """Count the units and return None, or return a 429 that names the limit."""
        wait = self.wait(client_of(request), units)
        return self.too_many(wait) if wait else None

    def too_many(self, wait: float) -> Response:
        """429, for so many seconds."""
        text = f"too much was asked from this address: the limit {self.text}"
        hint = "ask again when Retry-After says; one's own service, or a dump (/dumps/), has none"
        return problem(HTTPStatus.TOO_MANY_REQUESTS, text, hint, self.headers(wait))

    def headers(self, wait: float) -> dict[str, str]:
        """Of a 429. The policy is as in the IETF's draft of RateLimit header fields."""
        policy = f'"{self.limit.name}";q={self.limit.per_minute};w={MINUTE:.0f}'
        return {"Retry-After": str(seconds_told(wait)), "RateLimit-Policy": policy}

    @property
    def text(self) -> str:
        """The limit in words."""
        return f'"{self.limit.name}" is {self.limit.per_minute} a minute'


def seconds_told(wait: float) -> int:
    """Whole seconds for `Retry-After`, never too few."""
    return max(1, round(wait + 0.5))


def client_of(request: Request) -> str:
    """The address of who asks; "" if it is not known."""
    return request.client.host if request.client else ""


@lru_cache(CLIENTS_REMEMBERED)
def whose(client: str, *, own: bool) -> str:
    """An address; of IPv6 the network that one customer has. "" = it is not counted.

    A socket for both versions names IPv4 by an address that is mapped into IPv6: with its first 64
    bits all of IPv4 would be one customer.
    """
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback and not own:
        return ""
    if address.version == 4:  # noqa: PLR2004  IPv4
        return str(address)
    return str(ipaddress.ip_network((address, V6_PREFIX), strict=False))
