"""Deltas as somebody else would read them: the standard library and zstandard, nothing of ours."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.support.published import decompressed

FILES = {"metadata": "packages.jsonl.zst", "releases": "releases.jsonl.zst",
         "state": "state.jsonl.zst"}  # fmt: skip
Tables = dict[str, dict[str, Any]]
"""By topic and name what a dump has of it."""


def manifest_of(dumps: Path) -> dict[str, Any]:
    """`deltas/manifest.json`."""
    found: dict[str, Any] = json.loads((dumps / "deltas" / "manifest.json").read_bytes())
    return found


def places_of(cuts: list[Any]) -> list[Any]:
    """A vector as a delta names it."""
    keys = ("changelog", "refetch", "metadata", "releases", "state")
    return [cut and [cut[key] for key in keys] for cut in cuts]


def dump_tables(folder: Path) -> Tables:
    """Every line of a dump's three files."""
    return {
        topic: {
            line["name"]: line
            for line in map(json.loads, decompressed((folder / file).read_bytes()).splitlines())
        }
        for topic, file in FILES.items()
    }


def delta_lines(dumps: Path, entry: dict[str, Any]) -> list[dict[str, Any]]:
    """A delta's lines; fails unless the file is what its entry says, in name order."""
    raw = (dumps / "deltas" / entry["file"]).read_bytes()
    assert (len(raw), hashlib.sha256(raw).hexdigest()) == (entry["bytes"], entry["sha256"])
    assert entry["sha256"][:16] in entry["file"]
    text = decompressed(raw)
    assert len(text) == entry["uncompressed_bytes"]
    lines = [json.loads(line) for line in text.splitlines()]
    assert len(lines) == entry["rows"]
    keys = [(line["name"], list(FILES).index(line["topic"])) for line in lines]
    assert keys == sorted(set(keys))
    return lines


def apply(tables: Tables, lines: list[dict[str, Any]]) -> None:
    """Bring `tables` from a delta's beginning to its end."""
    for line in lines:
        table = tables[line.pop("topic")]
        if line == {"name": line["name"], "deleted": True}:
            table.pop(line["name"], None)
        else:
            table[line["name"]] = line


def led_on(dumps: Path, tables: Tables, vector: list[Any]) -> int:
    """Apply every delta from `vector` to the newest; how many. Fails at a gap."""
    entries = manifest_of(dumps)["deltas"]
    for before, after in pairwise(entries):
        assert before["to"] == after["from"]
    at, used = places_of(vector), 0
    for entry in entries:
        if entry["from"] == at:
            apply(tables, delta_lines(dumps, entry))
            at, used = entry["to"], used + 1
    newest = json.loads((dumps / "manifest.json").read_bytes())["vector"]
    assert at == places_of(newest)
    return used
