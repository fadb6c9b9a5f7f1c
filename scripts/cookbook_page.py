"""Writes docs/cookbook.md from the recipes; `--check` says if they agree.

`python -m scripts.cookbook_page [--check]`
"""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.pages import write_or_check
from sinks.duckdb.cookbook import CHAPTERS, RECIPES, Recipe

PAGE = Path(__file__).parents[1] / "docs/cookbook.md"
HEAD = f"""\
# Cookbook

{len(RECIPES)} questions with their SQL, for `pypistream query --data DIR "..."`, or for any DuckDB
from 1.2 on with `DIR/pypi.duckdb`. Each runs in the tests. Made by `scripts/cookbook_page.py`;
what the names mean is in [the reference](duckdb-reference.md).

Times are UTC. Names of projects are normalised (PEP 503): `norm('Yorango.Mesh')` is `yorango-mesh`.
The projects named below are the demo's: put your project's name in their place.
"""


def page() -> str:
    """Chapter by chapter."""
    chapters = (
        f"\n## {title}\n" + "".join(map(_section, recipes)) for title, recipes in CHAPTERS.items()
    )
    return HEAD + "".join(chapters)


def _section(recipe: Recipe) -> str:
    note = f"\n{recipe.note}\n" if recipe.note else ""
    return f"\n### {recipe.question}\n\n```sql\n{recipe.sql};\n```\n{note}"


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    return write_or_check(PAGE, page(), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
