"""What `make bench-full` measured, as a section of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs/benchmarks.md"
INTRODUCTION = """# Benchmarks

What was measured, with machine and date. Each section is written by the command that it names, with
ARGS=--write. The other benchmarks are in `benchmarks/` (`make help`), their results in
`benchmarks/results/`.
"""
Row = tuple[str, float, float, str, bool]


def section(result: dict[str, Any], rows: Sequence[Row]) -> str:
    """Its heading says how many projects; figures, goals, and what else was seen."""
    about, rebuilt = result["about"], result["rebuild"]
    named = f"PROJECTS={result['projects']}"
    told = (
        f"`make bench-full {named}` on {about['date']}, commit {about['commit']}:",
        (
            f"{about['cores']} cores ({about['cpu']}), {about['memory_gib']} GiB, Python"
            f" {about['python']}, {about['system']}; load before {about['load_before']}."
        ),
        (
            f"The log has {result['log_mib']:g} MiB, the DuckDB file {rebuilt['file_mib']:g} MiB;"
            f" the rebuild took {rebuilt['seconds']:g} s, {rebuilt['cpu_seconds']:g} s of CPU."
        ),
    )
    table = (
        f"| `{path}` | {found:g} | {goal:g} {unit} | {'' if reached else 'missed'} |"
        for path, found, goal, unit, reached in rows
    )
    heading = f"## SQL at {result['projects']} projects"
    titles = ("| figure | found | wanted | |", "|---|---:|---:|---|")
    lines = [heading, "", *told, "", *titles, *table, ""]
    return "\n".join(lines)


def write_page(result: dict[str, Any], rows: Sequence[Row]) -> None:
    """In the place of the section with the same heading, else at the end."""
    text = PAGE.read_text() if PAGE.exists() else INTRODUCTION
    new = section(result, rows)
    heading = new.partition("\n")[0] + "\n"
    before, found, rest = text.partition(heading)
    if found:
        at = rest.find("\n## ")
        text = before + new + ("" if at < 0 else rest[at:])
    else:
        text = text.rstrip("\n") + "\n\n" + new
    PAGE.write_text(text)
