"""Bytes that nobody wrote, some of them against every parser: `make fuzz` goes on for minutes."""

from __future__ import annotations

import pytest

from tests.support.fuzz import fuzzed
from tests.support.parsers import PARSERS, Parser, outcome

INPUTS = 400
SECONDS_MAX = 10.0  # on a busy machine: then it was fewer


@pytest.mark.timeout(600)
@pytest.mark.parametrize("parser", PARSERS.values(), ids=lambda parser: parser.name)
def test_a_parser_reads_or_refuses(parser: Parser, seed: int) -> None:
    """Whatever the bytes are, it ends with a result or with one of its own refusals."""
    assert [outcome(parser, raw) for raw in parser.seeds] == ["read"] * len(parser.seeds)
    assert fuzzed(parser, SECONDS_MAX, seed, INPUTS).total() > 0


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("state", b'{"status":"8\xe1\xdd","event":9}'),
        ("lines", b'{"info":{},\n"x":]}'),
        ("lines", b'{"\xf6":1}'),
        ("lines", b"[" * 100_000),
        ("lines", b'{"status":"ok","event":9,"body":7,"more":[1,\n2]}'),
        ("state", b'{"status":' + b"[" * 100_000),
    ],
)
def test_what_was_found_once(name: str, raw: bytes) -> None:
    """Each of them ended a program, or would have."""
    assert outcome(PARSERS[name], raw)
