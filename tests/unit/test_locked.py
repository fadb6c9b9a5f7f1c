"""The image gets the locked packages that the program needs: all of them, and no others."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scripts.locked import PARTS, cut, main, normalized, roots

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SMALL = """\
# made by a tool
asked==1 \\
    --hash=sha256:aa
    # via pypistream (pyproject.toml)
below==2 ; python_version < '3.13' \\
    --hash=sha256:bb
    # via
    #   asked
    #   tool
Deep_est==3 \\
    --hash=sha256:cc
    # via below
tool==4 \\
    --hash=sha256:dd
    # via pypistream (pyproject.toml:dev)
"""


def names(text: str) -> set[str]:
    """Packages of a lock."""
    return {normalized(line) for line in re.findall(r"^[A-Za-z0-9].*==", text, re.MULTILINE)}


def needed(name: str, extras: set[str]) -> set[str]:
    """What a package installed here says it needs on this machine, and theirs, by metadata."""
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        return set()
    found = set()
    for line in lines:
        asked = Requirement(line)
        wanted = [{"extra": extra} for extra in extras or {""}]
        if asked.marker is None or any(asked.marker.evaluate(each) for each in wanted):
            found |= {normalized(asked.name)} | needed(asked.name, asked.extras)
    return found


def test_what_is_needed_is_followed_to_its_end() -> None:
    """By either form of the comment; entries stay as they are, in their order."""
    kept = SMALL[SMALL.index("asked==1") : SMALL.index("tool==4")]

    assert kept == cut(SMALL, {"asked"})


def test_what_is_not_locked_is_an_error() -> None:
    with pytest.raises(ValueError, match="lacks other: make lock"):
        cut(SMALL, {"asked", "other"})


@pytest.mark.parametrize("part", PARTS)
def test_the_part_is_what_metadata_says(part: str) -> None:
    """Each package that those installed here ask for is in it, extras included."""
    text = cut(LOCK, roots(PROJECT, part))
    asked = {
        "run": PROJECT["project"]["dependencies"],
        "build": PROJECT["build-system"]["requires"],
    }[part]
    due = set()
    for line in asked:
        requirement = Requirement(line)
        due |= {normalized(requirement.name)} | needed(requirement.name, requirement.extras)

    assert due - names(text) == set()
    others = names(text) - due  # for other platforms and Pythons
    assert all(re.search(rf"^{name}==[^;]*;", text, re.MULTILINE) for name in others)


def test_nothing_of_the_development_is_in_the_image() -> None:
    """No test tool, no linter, no build backend, unless the program needs it itself."""
    found = names(cut(LOCK, roots(PROJECT, "run")))
    tools = {normalized(line) for line in PROJECT["dependency-groups"]["dev"]}

    assert found & tools == set()
    assert len(found) < len(names(LOCK)) / 2


def test_it_runs_on_a_bare_python() -> None:
    """As the Dockerfile calls it: without this project or any package on the path."""
    script = ROOT / "scripts" / "locked.py"
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(script), "run"], capture_output=True, text=True, check=True
    )

    assert cut(LOCK, roots(PROJECT, "run")) == done.stdout
    assert main(["everything"]) == 2
