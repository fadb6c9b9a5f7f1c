"""A test that needs a program: skipped where it is missing, but never in CI."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tools import needs


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of one folder."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_what_is_there_is_found(programs: Path) -> None:
    """The path of the program comes back."""
    program = programs / "kcat"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)

    assert str(program) == needs("kcat")


@pytest.mark.usefixtures("programs")
def test_what_is_missing_is_named_in_the_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a developer's machine the suite goes on."""
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs kcat"):
        needs("kcat")


@pytest.mark.usefixtures("programs")
def test_ci_fails_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A skip there would hide that nothing was shown."""
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="needs kcat"):
        needs("kcat")


def test_a_docker_without_its_daemon_is_no_docker(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client alone starts no container."""
    monkeypatch.delenv("CI", raising=False)
    docker = programs / "docker"
    docker.write_text("#!/bin/sh\nexit 1\n")
    docker.chmod(0o755)
    with pytest.raises(pytest.skip.Exception, match="daemon does not answer"):
        needs("docker")
