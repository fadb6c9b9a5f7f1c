"""Programs that a test needs and a machine may lack."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

PROBE_SECONDS_MAX = 10  # a daemon that answers later than that is of no use to a test


def needs(tool: str) -> str:
    """Path of a program. Without it the test is skipped and says so; with CI=true it fails."""
    path = shutil.which(tool)
    if path is not None and (tool != "docker" or _daemon_answers(path)):
        return path
    what = f"needs {tool}" if path is None else f"needs {tool}, whose daemon does not answer"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}; under CI=true nothing may be missing", pytrace=False)
    pytest.skip(what)


def _daemon_answers(docker: str) -> bool:
    try:
        probe = subprocess.run(
            [docker, "info"], capture_output=True, timeout=PROBE_SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return probe.returncode == 0
