"""Programs that a test needs and a machine may lack."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import NoReturn

import pytest

PROBE_SECONDS_MAX = 10  # a daemon that answers later than that is of no use to a test


def needs(tool: str) -> str:
    """Path of a program. Without it the test is skipped and says so; with CI=true it fails."""
    path = shutil.which(tool)
    if path is None:
        missing(tool)
    if tool == "docker" and not _daemon_answers(path):
        missing(f"{tool}, whose daemon does not answer")
    return path


def missing(what: str) -> NoReturn:
    """Skip the test, saying what it needs; with CI=true it fails."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"needs {what}; under CI=true nothing may be missing", pytrace=False)
    pytest.skip(f"needs {what}")


def _daemon_answers(docker: str) -> bool:
    try:
        probe = subprocess.run(
            [docker, "info"], capture_output=True, timeout=PROBE_SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return probe.returncode == 0
