"""Writes docs/limits.md from the limits in the code; `--check` says if it agrees with them."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from scripts.pages import write_or_check

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/limits.md"
PACKAGES = ("schemas", "streams", "upstream", "producers", "processors", "sinks", "pypistream")
LIMIT = re.compile(r"_?[A-Z][A-Z0-9_]*_(MAX|MIN|FREE|PER_ELEMENT)(_[A-Z]+)?")
KIB = 1024
TITLE = """# Limits

Every bound of the program: its value, and why it is that. Made from the code by `make schemas`:
each is a constant beside its use, with its reason beside it. What strangers send comes first.

"""
# Where what strangers wrote is read, and what is read there.
HOSTILE = {
    "processors/hostile.py": "Documents and index pages, before and as they are decoded",
    "processors/trim.py": "Documents: more than that is kept and noted as an anomaly",
    "processors/index_page.py": "Index pages",
    "processors/core_metadata.py": "Core metadata of files",
    "upstream/settings.py": "Answers of upstream",
    "upstream/client.py": "Answers of upstream, too",
    "upstream/answers.py": "Headers of answers",
    "upstream/limits.py": "When upstream is asked",
    "upstream/xmlrpc.py": "XML-RPC, of upstream and of clients",
    "schemas/topics.py": "Records",
    "schemas/records.py": "Values of records",
    "schemas/names.py": "Names",
    "schemas/compression.py": "Compressed frames",
    "sinks/dependencies.py": "Requirements",
    "sinks/http/server.py": "Connections and requests of clients",
    "sinks/http/app.py": "Requests of clients",
    "sinks/duckdb/process.py": "SQL of clients",
}


class Limit(NamedTuple):
    """A constant, and what the comment beside it says."""

    file: str
    name: str
    value: float
    reason: str


@functools.cache
def limits() -> tuple[Limit, ...]:
    """All of them, in the order of the packages."""
    paths = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return tuple(limit for path in paths if "standin" not in path.parts for limit in _of(path))


def _of(path: Path) -> Iterator[Limit]:
    text = path.read_text("utf-8")
    if not LIMIT.search(text):
        return
    file, lines = str(path.relative_to(ROOT)), text.splitlines()
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    for node in ast.parse(text).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        for each in ast.walk(ast.Tuple(targets)):
            if isinstance(each, ast.Name) and LIMIT.fullmatch(each.id):
                value = getattr(module, each.id)
                if isinstance(value, int | float):
                    yield Limit(file, each.id, value, _reason(lines, node))


def _reason(lines: list[str], node: ast.stmt) -> str:
    """The comment behind it, or the lines of comment above it."""
    written = lines[node.lineno - 1 : node.end_lineno]
    behind = " ".join(filter(None, (line.partition("  # ")[2] for line in written)))
    at = node.lineno - 1
    while at and lines[at - 1].startswith("# "):
        at -= 1
    return behind or " ".join(line[2:] for line in lines[at : node.lineno - 1])


def shown(limit: Limit) -> str:
    """Its value with its unit."""
    value = limit.value
    if "BYTES" in limit.name.split("_"):
        for unit, size in (("GiB", KIB**3), ("MiB", KIB**2), ("KiB", KIB)):
            if value >= size and value % size == 0:
                return f"{value // size:,} {unit}"
        return f"{value:,} bytes"
    for word, unit in (("SECONDS", "s"), ("MS", "ms"), ("CHARACTERS", "characters")):
        if word in limit.name.split("_"):
            return f"{value:,g} {unit}"
    return "2^63 - 1" if value == 2**63 - 1 else f"{value:,}"


def _table(found: list[Limit]) -> str:
    rows = (
        f"| `{each.name}` | {shown(each)} | {each.reason.replace('|', ',')} |\n" for each in found
    )
    return "| limit | value | why |\n| --- | ---: | --- |\n" + "".join(rows) + "\n"


def page() -> str:
    """The whole text."""
    by_file: dict[str, list[Limit]] = {}
    for limit in limits():
        by_file.setdefault(limit.file, []).append(limit)
    parts = [TITLE, "## What strangers send\n\n"]
    for file, what in HOSTILE.items():
        if file in by_file:
            parts.append(f"### {what}: `{file}`\n\n{_table(by_file.pop(file))}")
    parts.append("## Everything else\n\n")
    parts += [f"### `{file}`\n\n{_table(found)}" for file, found in by_file.items()]
    return "".join(parts).rstrip("\n") + "\n"


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page(), sys.argv[1:]))
