"""XML-RPC that misbehaves."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from upstream.standin.faults.registry import Hit, fault_kind
from upstream.standin.faults.transport import HANG_SECONDS_MAX, hang
from upstream.standin.http_types import Answer, Route, text
from upstream.standin.rpc import (
    RATE_LIMIT_TEXT,
    RATE_LIMITED,
    XML,
    array,
    fault,
    parse_call,
    response,
    row_xml,
    rows,
    value,
)

RPC: tuple[Route, ...] = ("xmlrpc",)
_PAGE = "changelog_since_serial"
_LAST = "changelog_last_serial"
_Row = tuple[Any, ...]


@fault_kind("xmlrpc-fault", RPC, code=1, message="RuntimeError: something broke")
def arbitrary(hit: Hit) -> Answer | None:
    """A fault with any `code` and `message`."""
    return fault(int(hit.param("code")), str(hit.param("message")))


@fault_kind("xmlrpc-rate-limit", RPC)
def rate_limit(hit: Hit) -> Answer | None:
    """Fault -32500 without a time."""
    del hit
    return fault(RATE_LIMITED, RATE_LIMIT_TEXT)


@fault_kind("xmlrpc-rate-limit-reset", RPC, reset=3)
def rate_limit_reset(hit: Hit) -> Answer | None:
    """Fault -32500 that says when the limit resets (`reset` seconds)."""
    seconds = int(hit.param("reset"))
    answer = fault(RATE_LIMITED, f"{RATE_LIMIT_TEXT} Limit may reset in {seconds} seconds.")
    answer.retry_after = float(seconds)
    return answer


@fault_kind("xmlrpc-hang", RPC, hang_seconds=HANG_SECONDS_MAX)
def rpc_hang(hit: Hit) -> Answer | None:
    """The call is taken and never answered."""
    return hang(hit)


@fault_kind("xmlrpc-bad-xml", RPC)
def bad_xml(hit: Hit) -> Answer | None:
    """XML that ends in the middle."""
    answer = hit.full()
    if answer is not None:
        answer.body = answer.body[: len(answer.body) * 2 // 3] + b"<<"
    return answer


@fault_kind("xmlrpc-control-character", RPC)
def control_character(hit: Hit) -> Answer | None:
    """A character that XML cannot carry in one name."""
    return _with_rows(hit, lambda found: [(f"\x08{found[0][0]}", *found[0][1:]), *found[1:]])


@fault_kind("xmlrpc-entities", RPC)
def entities(hit: Hit) -> Answer | None:
    """A billion laughs: entities that grow tenfold nine times."""
    del hit
    lines = "".join(
        f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">\n' if n else '<!ENTITY l0 "lol">\n'
        for n in range(10)
    )
    page = (
        f"<?xml version='1.0'?>\n<!DOCTYPE methodResponse [\n{lines}]>\n"
        "<methodResponse><params><param><value><string>&l9;</string></value></param></params>"
        "</methodResponse>"
    )
    return Answer(200, [XML], page.encode())


@fault_kind("xmlrpc-gone", RPC, status=410)
def gone(hit: Hit) -> Answer | None:
    """XML-RPC is not served any more: `status` 404, 410 or 501."""
    return text(int(hit.param("status")), "XML-RPC has been removed")


@fault_kind("xmlrpc-lagging", RPC, lag_seconds=30.0)
def lagging(hit: Hit) -> Answer | None:
    """Last serial, rows and map are `lag_seconds` old."""
    return hit.site.answer(hit.request, hit.site.world.clock() - hit.param("lag_seconds"))


@fault_kind("xmlrpc-low-serial", RPC, serial=1000)
def low_serial(hit: Hit) -> Answer | None:
    """The last serial is far below ours, and there are no rows: a restored or a wrong server."""
    if hit.request.call == _LAST:
        return value(int(hit.param("serial")))
    return rows([]) if hit.request.call == _PAGE else None


@fault_kind("xmlrpc-serial-jump", RPC, by=20_000_000)
def serial_jump(hit: Hit) -> Answer | None:
    """The last serial, and one row, are `by` above the truth."""
    poisoned = hit.site.world.journal.last_serial + int(hit.param("by"))
    if hit.request.call == _LAST:
        return value(poisoned)
    now = int(hit.site.world.clock())
    return _with_rows(
        hit, lambda found: [*found, ("poisoned-name", None, now, "create", poisoned)], empty=True
    )


@fault_kind("xmlrpc-rows-out-of-order", RPC)
def out_of_order(hit: Hit) -> Answer | None:
    """The rows of a page come in reverse."""
    return _with_rows(hit, lambda found: found[::-1] if len(found) > 1 else None)


@fault_kind("xmlrpc-repeated-rows", RPC, count_back=5)
def repeated(hit: Hit) -> Answer | None:
    """The page begins with rows at and below the serial that was asked for."""
    since = _since(hit)
    if since is None:
        return None
    journal = hit.site.world.journal
    before = journal.since(0, None, until=since)[-int(hit.param("count_back")) :]
    return rows([*before, *journal.since(since)]) if before else None


@fault_kind("xmlrpc-empty-page", RPC)
def empty_page(hit: Hit) -> Answer | None:
    """A page without rows although there are some."""
    return _with_rows(hit, lambda found: [] if found else None)


_BAD_ROWS: tuple[Callable[[int, int], _Row], ...] = (
    lambda serial, now: ("short-row", None, now, serial),
    lambda serial, now: ("long-row", None, now, "create", serial, serial),
    lambda serial, now: ("text-time", None, str(now), "create", serial),
    lambda serial, now: ("text-serial", None, now, "create", str(serial)),
    lambda serial, now: ("number-version", 1, now, "create", serial),
    lambda serial, now: (17, None, now, "create", serial),
    lambda serial, now: ("no-action", None, now, None, serial),
    lambda serial, now: ("negative-serial", None, now, "create", -serial),
)
BAD_NAMES = ("../../etc/passwd", "", "-starts-with-dash", "kelvin-\u212a", "line\nbreak", "x" * 300)


@fault_kind("xmlrpc-bad-row", RPC)
def bad_row(hit: Hit) -> Answer | None:
    """One more row in a page has the wrong shape (its serial lies in a gap)."""

    def spoil(found: list[_Row]) -> list[_Row] | None:
        shape = _BAD_ROWS[hit.fault.hits % len(_BAD_ROWS)]
        return _in_gap(hit, found, shape)

    return _with_rows(hit, spoil)


@fault_kind("xmlrpc-bad-name", RPC)
def bad_name(hit: Hit) -> Answer | None:
    """One more row in a page has a name that is none (its serial lies in a gap)."""
    name = BAD_NAMES[hit.fault.hits % len(BAD_NAMES)]
    return _with_rows(
        hit,
        lambda found: _in_gap(hit, found, lambda serial, now: (name, None, now, "create", serial)),
    )


@fault_kind("xmlrpc-deep", RPC, depth=2000)
def deep(hit: Hit) -> Answer | None:
    """Arrays nested `depth` deep."""
    inner = "<value><int>1</int></value>"
    for _ in range(int(hit.param("depth"))):
        inner = f"<value>{array(inner)}</value>"
    return Answer(200, [XML], response(array(inner)))


@fault_kind("xmlrpc-wrong-type", RPC)
def wrong_type(hit: Hit) -> Answer | None:
    """The answer is a text where a number, a list or a map is due."""
    del hit
    return value("not what you asked for")


def _since(hit: Hit) -> int | None:
    if hit.request.call != _PAGE:
        return None
    _, arguments = parse_call(hit.request.body)
    if len(arguments) != 1 or not isinstance(arguments[0], int):
        return None
    return arguments[0]


def _with_rows(
    hit: Hit, change: Callable[[list[_Row]], list[_Row] | None], *, empty: bool = False
) -> Answer | None:
    """The page asked for with its rows changed; None for other calls and pages without rows."""
    since = _since(hit)
    if since is None:
        return None
    found: list[_Row] = list(hit.site.world.journal.since(since))
    if not found and not empty:
        return None
    changed = change(found)
    return (
        None
        if changed is None
        else Answer(200, [XML], response(array("".join(map(row_xml, changed)))))
    )


def _in_gap(hit: Hit, found: list[_Row], make: Callable[[int, int], _Row]) -> list[_Row] | None:
    """Put one more row where a serial is unused, so that no true row is shadowed."""
    now = int(hit.site.world.clock())
    for place, (before, after) in enumerate(pairwise(found)):
        if after[4] - before[4] > 1:
            return [*found[: place + 1], make(before[4] + 1, now), *found[place + 1 :]]
    return None
