"""How every fault of the stand-in is played, and what is expected where more cannot be."""

from __future__ import annotations

from dataclasses import dataclass

from upstream.standin.faults import KINDS

USED = ("json", "xmlrpc", "simple")  # routes that `run` asks for; versions and files it does not


@dataclass(frozen=True)
class Lie:
    """An answer that no client can tell from the truth. `shows`: how a wrong name then looks.

    What it changed stays until the project's next change and must be mended by that, or by what is
    named in `by`: tests/e2e/test_sweep.py shows it.
    """

    shows: str
    reason: str
    by: str


@dataclass(frozen=True)
class Scene:
    """A fault and how it is played.

    `routes` are spoilt in this order. `from_start`: it is on before the program starts, which has
    an empty directory. `ends`: the message with which the program must stop by itself.
    """

    kind: str
    routes: tuple[str, ...]
    from_start: bool = False
    ends: str = ""
    lie: Lie | None = None


ROUND = "a round of the sweep"
WHOLE = "the sweep, in one round of four: the lie came under the true ETag"
LIES = {
    "wrong-types": Lie(
        "another document",
        "a JSON object with the right name and serial is published with its anomalies flagged",
        WHOLE,
    ),
    "nul": Lie(
        "another document", "an escaped control character is a character like others", WHOLE
    ),
    "big-integer": Lie("another document", "it is valid JSON, and kept to the last digit", WHOLE),
    "other-shape": Lie(
        "another document",
        "new fields roll out without a serial: an equal serial may say more",
        ROUND,
    ),
    "header-serial": Lie(
        "serial ", "a document without a serial of its own has no other than the header's", WHOLE
    ),
    "index-lacks": Lie(
        "missing",
        "what the index leaves out is unknown until it changes: the backfill reads once",
        "`pypistream reconcile`",
    ),
}
ENDS = {
    # A serial 20 million ahead would be kept as our own, and everything below it be lost.
    "xmlrpc-serial-jump": "a jump of more than",
}
EXCLUDED: dict[str, str] = {
    kind.name: "only for routes that `run` never asks for"
    for kind in KINDS.values()
    if not set(kind.routes) & set(USED)
}


def scene_of(kind: str) -> Scene:
    """The scene of one kind of fault."""
    routes = [route for route in KINDS[kind].routes if route in USED]
    # The index is read once, when a log begins: a fault of it alone needs a log that begins.
    from_start = routes == ["simple"]
    if not from_start:
        routes = [route for route in routes if route != "simple"]
    return Scene(kind, tuple(routes), from_start, ENDS.get(kind, ""), LIES.get(kind))


def all_kinds() -> list[str]:
    """Every kind that is played."""
    return [kind for kind in KINDS if kind not in EXCLUDED]
