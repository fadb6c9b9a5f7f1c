"""A page that is made from the program: written, or only compared."""

from __future__ import annotations

from pathlib import Path


def write_or_check(page: Path, text: str, arguments: list[str]) -> int:
    """Write `text`; with `--check` among the arguments only say if the page has it (exit code)."""
    if "--check" not in arguments:
        page.write_text(text, encoding="utf-8")
        print(f"wrote {page}")
        return 0
    if page.is_file() and page.read_text(encoding="utf-8") == text:
        return 0
    print(f"{page.name} is out of date: make schemas")
    return 1
