"""Cut from requirements.lock what a part of the project needs: versions and hashes as they are.

`python scripts/locked.py run` prints what the installed program needs, `build` what makes its
wheel: one lock for all, so that an image cannot hold other versions than those under test. Needs
only the stdlib: it runs where nothing is installed yet.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = ("run", "build")
_ENTRY = re.compile(r"^(?=[A-Za-z0-9])", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def roots(project: dict[str, dict[str, list[str]]], part: str) -> set[str]:
    """Names that pyproject.toml itself asks for. Raises KeyError for a part that is none."""
    asked = {
        "run": project["project"]["dependencies"],
        "build": project["build-system"]["requires"],
    }[part]
    return {normalized(requirement) for requirement in asked}


def normalized(requirement: str) -> str:
    """The name that a requirement begins with, as PEP 503 spells it."""
    match = _NAME.match(requirement)
    if match is None:
        raise ValueError(f"{requirement!r} does not begin with a name")
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def cut(lock: str, wanted: Iterable[str]) -> str:
    """Return the entries of `wanted` and of all that they need, in the order of the lock.

    Who needs an entry is what its `# via` comment says. Raises ValueError if a wanted name is not
    locked.
    """
    entries = {normalized(entry): entry for entry in _ENTRY.split(lock)[1:]}
    taken = set(wanted)
    if missing := taken - entries.keys():
        raise ValueError(f"requirements.lock lacks {', '.join(sorted(missing))}: make lock")
    needed_by = {name: _needed_by(entry) for name, entry in entries.items()}
    while more := {name for name in entries.keys() - taken if needed_by[name] & taken}:
        taken |= more
    return "".join(entry for name, entry in entries.items() if name in taken)


def _needed_by(entry: str) -> set[str]:
    """Names behind `# via`, on its line or on lines of their own; the project itself is none."""
    _, _, via = entry.partition("# via")
    names = (line.strip("# \t") for line in via.splitlines())
    return {normalized(name) for name in names if name and "pyproject.toml" not in name}


def main(arguments: list[str]) -> int:
    """Print the part; the exit code."""
    if len(arguments) != 1 or arguments[0] not in PARTS:
        print(f"usage: python scripts/locked.py {'|'.join(PARTS)}", file=sys.stderr)
        return 2
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    sys.stdout.write(cut(lock, roots(project, arguments[0])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
