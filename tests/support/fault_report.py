"""The table of a fault run: for the terminal, and as the page docs/faults.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from tests.support.fault_run import (
    CONVERGE_SECONDS_MAX,
    FAULT_SECONDS,
    IN_FLIGHT,
    PROJECTS,
    RATE,
    Ended,
)
from tests.support.fault_scenes import ENDS, LIES
from upstream.standin.faults import KINDS

HEAD = ("fault", "right after", "hits", "requests", "most in 10 s", "connections", "outcome")


def rows(found: Sequence[Ended]) -> list[tuple[str, ...]]:
    """One row per fault."""
    return [
        (
            ended.kind,
            "-" if ended.seconds is None else f"{ended.seconds:.1f} s",
            str(ended.hits),
            str(ended.requests),
            str(ended.window),
            f"{ended.documents} + {ended.control}",
            ended.outcome,
        )
        for ended in found
    ]


def table(found: Sequence[Ended]) -> list[str]:
    """Lines for a terminal."""
    lines = [HEAD, *rows(found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def page(found: Sequence[Ended], excluded: Mapping[str, str]) -> str:
    """The page in Markdown."""
    parts = [
        _introduction(found),
        _markdown(HEAD, rows(found)),
        "## What less can be expected of\n",
        *(f"- `{kind}`: {lie.reason}. Mended by {lie.by}." for kind, lie in LIES.items()),
        "",
        "After these every project changes once more, and then all must be right. The other way,",
        "by the sweep and without any change, is shown by `tests/e2e/test_sweep.py`.\n",
        *(f'- `{kind}`: the program stops and says "{text} …"; started again it comes right.'
          for kind, text in ENDS.items()),
        *(f"- `{kind}` is not played: {reason}." for kind, reason in excluded.items()),
        "",
        "## What each fault is\n",
        _markdown(
            ("fault", "is"), [(ended.kind, KINDS[ended.kind].description) for ended in found]
        ),
    ]  # fmt: skip
    return "\n".join(parts)


def _introduction(found: Sequence[Ended]) -> str:
    slowest = max((ended.seconds or 0.0 for ended in found), default=0.0)
    return f"""# Faults of upstream, one by one

Written by `make faults`; do not edit. {datetime.now(UTC).date().isoformat()},
{_machine()}.

Each fault is on alone for {FAULT_SECONDS:.0f} s (documents all the time; where it can spoil the
journal too, that for the second half), while 60 changes of every kind are made among {PROJECTS}
projects; then it is healed and nothing changes any more. *Right after*: how long until dump and
DuckDB file showed nothing but the truth, at most {CONVERGE_SECONDS_MAX:.0f} s; the slowest took
{slowest:.1f} s. No run crashed, and none sent a request before a Retry-After had passed. The
program ran with `--rate {RATE} --in-flight {IN_FLIGHT} --poll 1 --settle 1`: at most {RATE * 10}
requests in any 10 s, {IN_FLIGHT} connections for documents and 2 for journal and index.
"""


def _machine() -> str:
    system = f"{platform.system()} {platform.machine()}"
    return f"{os.cpu_count()} cores, {system}, Python {platform.python_version()}"


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    ruled = [head, ["---"] * len(head), *lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in ruled)
