"""The house: seven packages, small modules, and nothing in it that belongs elsewhere."""

from __future__ import annotations

import ast
import re
import subprocess
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from distlib.index import DEFAULT_INDEX
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]
PACKAGES = {"pypistream", "producers", "processors", "sinks", "streams", "upstream", "schemas"}
# Python in the checkout, not in the wheel.
BESIDE = {"tests", "scripts", "benchmarks", "docs", "examples"}
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
# Named for the protocol, as the standard library's package is.
PROTOCOLS = {"upstream/xmlrpc.py"}
# In pieces, so that this file passes its own test.
HOSTS = [("pythonhosted", "org"), ("registry", "npmjs", "org"), ("deb", "debian", "org")]
PATHS = [("", "work", "main"), ("", "work", "shared"), ("", "root", "")]
PLACES = [
    urlsplit(DEFAULT_INDEX).hostname or "",
    *(".".join(pieces) for pieces in HOSTS),
    *("/".join(pieces) for pieces in PATHS),
]


@cache
def tracked() -> tuple[Path, ...]:
    """Every file of the repository; in an unpacked archive without git, what is not hidden."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        paths = [p for p in ROOT.rglob("*") if not p.relative_to(ROOT).parts[0].startswith(".")]
    return tuple(sorted(path for path in paths if path.is_file()))


def modules() -> list[Path]:
    """Every module of the seven packages."""
    return [
        path
        for path in tracked()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in PACKAGES
    ]


def packages() -> list[str]:
    """The seven and those within them, as folders; what fills a table at import is none."""
    found = {path.parent.relative_to(ROOT).as_posix() for path in modules()}
    return sorted(found - {"upstream/standin/faults"})


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and length in lines of each function of a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


def test_the_wheel_holds_exactly_the_seven_packages(tmp_path: Path) -> None:
    """Installed somewhere, it brings these names, its metadata, and the published schemas."""
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.partition("/")[0] for name in names}

    assert top - PACKAGES == {name for name in top if name.endswith(".dist-info")}
    assert top >= PACKAGES
    assert "schemas/metadata.v1.schema.json" in names
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_no_other_package_at_the_root() -> None:
    """Every Python file has its place: no `utils` appears unnoticed."""
    top = {p.relative_to(ROOT).parts[0] for p in tracked() if p.suffix == ".py"}

    assert top <= PACKAGES | BESIDE


def test_modules_have_one_subject() -> None:
    """No module has more than 400 lines."""
    long = {
        str(path.relative_to(ROOT)): count
        for path in modules()
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > MODULE_LINES_MAX
    }

    assert long == {}


def test_functions_fit_a_screen() -> None:
    """No function has more than 70 lines."""
    long = {
        f"{path.relative_to(ROOT)}:{name}": count
        for path in modules()
        for name, count in functions(path)
        if count > FUNCTION_LINES_MAX
    }

    assert long == {}


def test_no_module_is_named_as_a_library_it_imports() -> None:
    """`streams/sqlite_log.py`, not `streams/sqlite3.py`: a name means one thing."""
    clashes = {
        str(path.relative_to(ROOT))
        for path in modules()
        if re.search(
            rf"^(import|from) {path.stem}\b", path.read_text(encoding="utf-8"), re.MULTILINE
        )
        and path.stem not in PACKAGES
    }

    assert clashes - PROTOCOLS == set()


def test_no_host_of_a_registry_and_no_path_of_a_machine() -> None:
    """Synthetic data names example hosts; PyPI's own address is taken from a library."""
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # compressed or an image
        found += [f"{path.relative_to(ROOT)}: {place}" for place in PLACES if place in text]

    assert found == []


def test_the_changelog_is_kept() -> None:
    """Keep a Changelog: there is a place for what comes next, or a version."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert re.search(r"^## \[(Unreleased|\d+\.\d+\.\d+)\]", text, re.MULTILINE)


@pytest.mark.parametrize("folder", packages())
def test_each_package_says_what_it_is(folder: str) -> None:
    """Its `__init__.py` is a docstring and nothing else: importing a package costs nothing."""
    tree = ast.parse((ROOT / folder / "__init__.py").read_text(encoding="utf-8"))

    assert ast.get_docstring(tree)
    assert len(tree.body) == 1
