"""`scripts/setup.sh` on machines that lack something: one line that says what to do.

The script runs in a copy of its own with a PATH that holds only what the test puts there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = ("sh", "dirname", "grep", "tail", "touch", "rm", "mkdir", "ln")
NOTICES = ("pypistream: making ", "pypistream: installing the ")
CLOSED_PORT = "http://127.0.0.1:9/simple"  # discard: nothing listens there
REAL_VENV_SECONDS = 400  # 3 s on an idle machine, a minute on a busy one with a slow disk
LOCK = "nothing==1.0 --hash=sha256:" + "0" * 64 + "\n"

OLD = """#!/bin/sh
case "$2" in *print*) echo 3.9 ;; *) exit 1 ;; esac
"""
BROKEN_SHIM = """#!/bin/sh
echo "python3.13: command not found" >&2
exit 127
"""
WITHOUT_VENV = """#!/bin/sh
case "$2" in *print*) echo 3.12 ;; *"import venv"*) exit 1 ;; esac
"""
UV = """#!/bin/sh
case "$1 $2" in
    "--version "*) echo uv 0.0 ;;
    "python find") exit 2 ;;
    "venv "*) mkdir -p .venv/bin && ln -s "{python}" .venv/bin/python ;;
    "pip install") echo "{complaint}" >&2; exit 2 ;;
esac
"""


class Machine(NamedTuple):
    """A checkout with the set-up script, and a folder of programs that is the whole PATH."""

    checkout: Path
    programs: Path

    def add(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)

    def refuse(self, **environment: str) -> str:
        """Run the set-up, which must fail; the one line it says but for notices of progress."""
        done = subprocess.run(
            ["sh", "scripts/setup.sh"],
            cwd=self.checkout,
            env={"PATH": str(self.programs), "HOME": str(self.checkout), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line for line in done.stderr.splitlines() if not line.startswith(NOTICES)]

        assert done.returncode == 1, done.stderr
        assert len(lines) == 1, done.stderr
        assert done.stdout == ""
        assert not (self.checkout / ".venv/.ready").exists()
        return lines[0]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with a shell and nothing else."""
    return made(tmp_path)


def made(root: Path) -> Machine:
    """The same, in a folder."""
    machine = Machine(root / "checkout", root / "bin")
    (machine.checkout / "scripts").mkdir(parents=True)
    machine.programs.mkdir()
    shutil.copy(ROOT / "scripts/setup.sh", machine.checkout / "scripts")
    shutil.copy(ROOT / "pyproject.toml", machine.checkout)
    (machine.checkout / "requirements.lock").write_text(LOCK)
    for name in PROGRAMS:
        found = shutil.which(name)
        assert found is not None
        (machine.programs / name).symlink_to(found)
    return machine


def test_no_python(machine: Machine) -> None:
    """There is no Python at all."""
    line = machine.refuse()

    assert "needs Python 3.11 or newer (python3 here: none)" in line
    assert "make PYTHON=" in line


def test_python_too_old(machine: Machine) -> None:
    """There is one, an old one; a shim of a version manager that does not run is passed over."""
    machine.add("python3", OLD)
    machine.add("python3.13", BROKEN_SHIM)

    assert "needs Python 3.11 or newer (python3 here: 3.9)" in machine.refuse()


def test_the_python_named_is_too_old(machine: Machine) -> None:
    """`make PYTHON=...` names an old one: it is not silently replaced by another."""
    machine.add("oldpython", OLD)
    machine.add("python3", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')

    line = machine.refuse(PYTHON="oldpython")

    assert "PYTHON=oldpython is 3.9" in line


def test_the_python_named_is_missing(machine: Machine) -> None:
    """`make PYTHON=...` names none."""
    assert "PYTHON=nowhere/python does not do" in machine.refuse(PYTHON="nowhere/python")


def test_no_venv_module(machine: Machine) -> None:
    """Debian's Python without python3-venv: the package to install is named."""
    machine.add("python3", WITHOUT_VENV)

    assert "apt install python3-venv" in machine.refuse()


@pytest.fixture(scope="module")
def without_network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Machine, str]:
    """A real venv, a real pip, and an index that does not answer: what it said."""
    machine = made(tmp_path_factory.mktemp("pip"))
    away = {"PIP_INDEX_URL": CLOSED_PORT, "PIP_RETRIES": "0"}
    return machine, machine.refuse(PYTHON=sys.executable, **away)


@pytest.mark.timeout(REAL_VENV_SECONDS)
def test_no_network_with_pip(without_network: tuple[Machine, str]) -> None:
    """What is missing, and how to have pip look elsewhere."""
    _, line = without_network

    assert "no network" in line
    assert "PIP_INDEX_URL" in line


@pytest.mark.timeout(REAL_VENV_SECONDS)
def test_a_package_was_tampered_with(without_network: tuple[Machine, str]) -> None:
    """The same venv, tried again: pip finds the package, with other contents than were locked."""
    machine, _ = without_network
    wheels = machine.checkout / "wheels"
    wheels.mkdir()
    wheel = wheels / "nothing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("nothing-1.0.dist-info/METADATA", "Name: nothing\nVersion: 1.0\n")
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() not in LOCK

    line = machine.refuse(PYTHON=sys.executable, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels))

    assert "differs from its hash" in line


@pytest.mark.parametrize(
    ("complaint", "expected"),
    [
        ("error: error sending request: dns error: failed to lookup address", "no network"),
        ("error: Hash mismatch for nothing==1.0", "differs from its hash"),
        ("error: No space left on device (os error 28)", "the disk is full"),
        ("error: something else altogether", "installing failed: error: something else altogether"),
    ],
)
def test_uv_fails(machine: Machine, complaint: str, expected: str) -> None:
    """The same lines when uv is used, whose words differ."""
    machine.add("python3", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    machine.add("uv", UV.format(python=sys.executable, complaint=complaint))

    assert expected in machine.refuse()


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml", "scripts/setup.sh"])
def test_the_set_up_runs_when_there_is_a_reason(machine: Machine, changed: str) -> None:
    """A second call starts nothing, until one of these files is newer than the last set-up."""
    shutil.copy(ROOT / "Makefile", machine.checkout)
    ready = machine.checkout / ".venv/.ready"
    ready.parent.mkdir()
    ready.touch()

    assert up_to_date(machine.checkout)
    later = ready.stat().st_mtime + 10
    os.utime(machine.checkout / changed, (later, later))
    assert not up_to_date(machine.checkout)


def up_to_date(checkout: Path) -> bool:
    """Whether make would do nothing."""
    asked = subprocess.run(["make", "--question", "venv"], cwd=checkout, check=False)
    return asked.returncode == 0
