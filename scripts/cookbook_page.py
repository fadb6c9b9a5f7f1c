"""Writes docs/cookbook.md from the recipes; `--check` says if they agree.

`python scripts/cookbook_page.py [--check]`
"""

from __future__ import annotations

import sys
from pathlib import Path

from sinks.cookbook import CHAPTERS, RECIPES, Recipe

PAGE = Path(__file__).parents[1] / "docs/cookbook.md"
HEAD = f"""\
# Cookbook

{len(RECIPES)} questions with their SQL, for `pypistream query --data DIR "..."`, or for any DuckDB
from 1.2 on with `DIR/pypi.duckdb`. Each runs in the tests. Made by `scripts/cookbook_page.py`;
what the names mean is in [the reference](duckdb-reference.md).

Times are UTC. Names of projects are normalised (PEP 503): `norm('Table.Lib')` is `table-lib`.
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
    if "--check" in arguments:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page():
            print(f"{PAGE.name} is out of date: python scripts/cookbook_page.py")
            return 1
        return 0
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
