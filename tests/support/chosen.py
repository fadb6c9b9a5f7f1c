"""What a long run is asked for on its command line: which parts, how much of each, which seed."""

from __future__ import annotations

import argparse
import os
import secrets
from collections.abc import Iterable
from typing import NamedTuple


class Chosen(NamedTuple):
    """`parts` by name; `much`: kills, cycles or seconds."""

    parts: list[str]
    much: int
    seed: int


def chosen(program: str, parts: Iterable[str], much: str) -> Chosen:
    """Read `PART|all MUCH`; the seed is PYPISTREAM_SEED, or drawn."""
    names = list(parts)
    parser = argparse.ArgumentParser(prog=program)
    parser.add_argument("part", choices=[*names, "all"])
    parser.add_argument("much", metavar=much, type=int)
    given = parser.parse_args()
    return Chosen(names if given.part == "all" else [given.part], given.much, own_seed())


def own_seed() -> int:
    """PYPISTREAM_SEED, or one that is drawn."""
    return int(os.environ.get("PYPISTREAM_SEED") or secrets.randbelow(2**32))
