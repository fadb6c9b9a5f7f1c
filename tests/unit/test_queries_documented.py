"""The page about queries says what is in the code."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from sinks.http import queries
from sinks.http.resolver import answer as resolver_answer
from sinks.http.resolver.environment import ABIS_MAX, IMPLEMENTATIONS, PLATFORMS_MAX
from sinks.http.resolver.query import EXTRAS_MAX, FILES_DEFAULT, FILES_MAX, PARAMETERS
from sinks.http.xmlrpc import calls as xmlrpc_calls
from sinks.http.xmlrpc import journal as xmlrpc_journal
from sinks.http.xmlrpc import packages as xmlrpc_packages
from tests.support.memory_library import MemoryLibrary

PAGE = (Path(__file__).parents[2] / "docs" / "queries.md").read_text(encoding="utf-8")
QUERY, CALLS = PAGE.split("## XML-RPC")


def first_cells(part: str) -> str:
    """The first cell of each row of a table, below its head."""
    rows = [line for line in part.splitlines() if line.startswith("| `")]
    return "\n".join(row.split("|")[1] for row in rows)


def test_every_parameter_is_explained() -> None:
    assert PARAMETERS == set(re.findall(r"`([a-z_]+)`", first_cells(QUERY)))
    assert all(f"`{each}`" in QUERY for each in IMPLEMENTATIONS)


def test_every_method_is_explained() -> None:
    """Those that there are, and no others."""
    methods = {*xmlrpc_calls._methods(MemoryLibrary()), "system.listMethods", "system.multicall"}

    assert methods == set(re.findall(r"`([a-z_]+(?:\.[A-Za-z]+)?)[(`]", first_cells(CALLS)))


@pytest.mark.parametrize(
    "struct",
    [
        resolver_answer.Answer,
        resolver_answer.FileAnswer,
        resolver_answer.ReleaseAnswer,
        resolver_answer.DependencyAnswer,
        resolver_answer.Pointer,
    ],
)
def test_the_example_has_every_key(struct: type[msgspec.Struct]) -> None:
    example = QUERY.split("```json")[1].split("```")[0]

    assert [] == [f for f in struct.__struct_encode_fields__ if f'"{f}":' not in example]


def spaced(number: int) -> str:
    """As the page writes thousands."""
    return f"{number:,}".replace(",", " ")


@pytest.mark.parametrize(
    "text",
    [
        f"| how many files are shown, 1 to {FILES_MAX} | {FILES_DEFAULT} |",
        f"Up to {PLATFORMS_MAX} times, the first is best",
        f"`cp313t`; up to {ABIS_MAX} times",
        f"its dependencies; up to {EXTRAS_MAX} times",
        f"At most {queries.BATCH_QUERIES_MAX} queries, {queries.BATCH_BYTES_MAX // 1024} KiB, and",
        f"{spaced(queries.BATCH_FILES_MAX)} files in all, within {queries.BATCH_SECONDS_MAX:.0f} s",
        f"action, serial], …]`, ≤ {spaced(xmlrpc_journal.ROWS_MAX)}",
        f"`[{{name, summary, version}}, …]`, ≤ {xmlrpc_packages.FOUND_MAX}",
        f"≤ {xmlrpc_calls.CALLS_MAX} calls",
        f"a call has ≤ {xmlrpc_calls.CALL_BYTES_MAX // 1024} KiB",
    ],
)
def test_the_limits_are_those_of_the_code(text: str) -> None:
    assert text in PAGE
