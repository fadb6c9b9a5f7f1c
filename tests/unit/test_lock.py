"""requirements.lock holds everything that pyproject.toml asks for, and nothing of this machine."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ASKED = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
NOT_IMPORTED = {"httptools", "sniffio", "pytz"}  # found and used by uvicorn, httpcore and DuckDB
PINNED = {
    canonicalize_name(name): Version(version)
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", LOCK, re.MULTILINE)
}


@pytest.mark.parametrize("line", ASKED)
def test_what_is_asked_for_is_locked(line: str) -> None:
    """Each dependency is pinned, to a version that its bound allows."""
    asked = Requirement(line)
    pinned = PINNED[canonicalize_name(asked.name)]

    assert asked.specifier.contains(pinned, prereleases=True)


@pytest.mark.parametrize("line", ASKED)
def test_every_dependency_has_a_lower_bound(line: str) -> None:
    """Without the lock, an installer must not choose a version that was never tried."""
    assert any(specifier.operator == ">=" for specifier in Requirement(line).specifier)


def test_every_pin_has_a_hash() -> None:
    """`pip install --require-hashes` accepts the file as a whole."""
    entries = re.split(r"^(?=[A-Za-z0-9])", LOCK, flags=re.MULTILINE)[1:]

    # A package may be there twice: one version for older Pythons, one for newer ones.
    assert {canonicalize_name(entry.split("==")[0]) for entry in entries} == set(PINNED)
    assert all("--hash=sha256:" in entry for entry in entries)


def test_no_address_of_an_index() -> None:
    """The file holds from any mirror: no address, no path."""
    lines = [line for line in LOCK.splitlines() if "://" in line or "index-url" in line]

    assert lines == []


def imported() -> set[str]:
    """Distributions that the seven packages import, by what is installed here."""
    modules: set[str] = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    modules |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    modules.add(node.module.partition(".")[0])
    outside = modules - sys.stdlib_module_names - set(PACKAGES)
    known = packages_distributions()
    return {canonicalize_name(known[module][0]) for module in outside}


def test_what_is_imported_is_asked_for() -> None:
    """The program installs without the dev group, and asks for nothing it does not use."""
    asked = {
        canonicalize_name(Requirement(line).name) for line in PROJECT["project"]["dependencies"]
    }

    assert imported() - asked == set()
    assert asked - imported() == NOT_IMPORTED
